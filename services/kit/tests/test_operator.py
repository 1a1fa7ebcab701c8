"""What the operator does over the bus: asks for status, registers people; with stand-ins that answer as services do."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from nats.aio.msg import Msg

from dominie.returning import Returning
from dominie_contracts import Forbidden, Message, Unavailable, headers
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.operations import ServiceStatus
from dominie_contracts.subjects import SERVICES
from dominie_kit.errors import BrokerFailed
from dominie_kit.house.broker import EmbeddedBroker
from dominie_kit.house.operator import operator
from dominie_kit.house.state import ClientFile, Running, StateFolder, Up
from dominie_kit.house.status import ask_status
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.keys.people import register_people

pytestmark = pytest.mark.anyio
Answer = Callable[[Msg], Message | Forbidden | Unavailable]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return KeyFolder(tmp_path_factory.mktemp("keys")).create()


@pytest.fixture(scope="module")
def broker(keys: KeyFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(keys, tmp_path_factory.mktemp("broker")) as running:
        yield running


@asynccontextmanager
async def stand_in(broker: EmbeddedBroker, service: str, answer: Answer) -> AsyncIterator[None]:
    """Something that answers on a service's edge."""

    async def reply(message: Msg) -> None:
        said = answer(message)
        if isinstance(said, Message):
            await message.respond(said.model_dump_json().encode())
        else:
            body = said.details.model_dump_json().encode()
            await client.publish(message.reply, body, headers={headers.PROBLEM: said.type})

    client = Returning()
    await client.connect(broker.url, nkeys_seed_str=broker.keys.service(service).edge.seed)
    await client.subscribe(f"svc.{service}.>", cb=reply)
    await client.flush()
    try:
        yield
    finally:
        await client.close()


def said(service: str) -> ServiceStatus:
    return ServiceStatus(
        service=service,
        instance=f"{service}-1",
        version="1.2.3",
        pid=os.getpid(),
        started="2026-01-01T00:00:00+00:00",
        ready=True,
        rss_mb=12.5,
        in_flight=1,
        handled=7,
        refused=2,
    )


async def test_services_are_asked_and_those_that_are_silent_are_away(broker: EmbeddedBroker, keys: KeyFolder) -> None:
    async with stand_in(broker, "tool", lambda _: said("tool")):
        status = await ask_status(broker.url, keys)
    tool, model = status.parts["tool"], status.parts["model"]
    assert (tool.health, tool.version, tool.handled, tool.rss_mb) == ("ready", "1.2.3", 7, 12.5)
    assert tool.uptime_s is not None and tool.uptime_s > 0
    assert model.health == "away"
    assert set(status.parts) == set(SERVICES)
    assert not status.healthy


async def test_what_runs_here_is_measured_too(broker: EmbeddedBroker, keys: KeyFolder) -> None:
    up = Up(
        pid=os.getpid(),
        nats_url=broker.url,
        gateway_url=None,
        keys=keys.path,
        started="",
        broker=Running(pid=broker.pid, ready=True),
        services={"tool": Running(pid=os.getpid(), restarts=3, ready=True)},
    )
    async with stand_in(broker, "tool", lambda _: said("tool")):
        status = await ask_status(broker.url, keys, up=up)
    assert set(status.parts) == {"tool", "broker", "supervisor"}
    assert status.healthy
    assert status.parts["tool"].restarts == 3
    assert status.parts["broker"].rss_mb
    assert status.rss_mb >= status.parts["broker"].rss_mb + (status.parts["tool"].rss_mb or 0)


async def test_a_dead_broker_is_shown_where_something_else_runs(keys: KeyFolder) -> None:
    nowhere = "nats://127.0.0.1:1"
    up = Up(
        pid=os.getpid(),
        nats_url=nowhere,
        gateway_url=None,
        keys=keys.path,
        started="",
        broker=Running(pid=0),
        services={},
    )
    status = await ask_status(nowhere, keys, up=up)
    assert status.parts["broker"].health == "away"
    with pytest.raises(BrokerFailed):
        await ask_status(nowhere, keys)


async def test_people_are_registered_once_identity_is_there(
    broker: EmbeddedBroker, keys: KeyFolder, tmp_path: Path
) -> None:
    state = StateFolder(tmp_path)
    state.create()
    state.write(ClientFile(nats_url=broker.url, gateway_url=None, rights_s=300, keys=keys.path))
    asked: list[Register] = []
    sent: list[dict[str, str]] = []

    def answer(message: Msg) -> Message | Forbidden | Unavailable:
        asked.append(Register.model_validate_json(message.data))
        sent.append(dict(message.headers or {}))
        if len(asked) == 1:
            return Unavailable("not yet", retry_after_s=0.1)
        assert message.reply.startswith("_INBOX.svc.operator.")
        view = asked[-1].model_dump() | {"tenant": "local", "revoked": False}
        return PrincipalView.model_validate(view)

    async with stand_in(broker, "identity", answer):
        with anyio.fail_after(30):
            await register_people(broker.url, state)
    assert [one.principal for one in asked] == ["u-dev", "u-dev", "u-finance", "u-privacy"]
    assert asked[1].nkey == state.developer().public
    assert set(asked[1].groups) == {"developers", "auditors"}
    assert asked[2].nkey == keys.person("u-finance").public
    assert set(asked[2].groups) == {"finance", "owners"}
    assert all(int(one[headers.DEADLINE]) > 0 for one in sent)
    assert len({one[headers.KEY] for one in sent}) == len(sent)
    assert not list(state.path.glob("people"))


async def test_a_problem_is_raised_as_what_it_is(broker: EmbeddedBroker, keys: KeyFolder) -> None:
    command = Register(principal="u-dev", nkey="U")
    async with stand_in(broker, "identity", lambda _: Forbidden("not you")), operator(broker.url, keys) as asking:
        with pytest.raises(Forbidden, match="not you"):
            await asking.ask(command, PrincipalView)


async def test_silence_is_said(broker: EmbeddedBroker, keys: KeyFolder) -> None:
    async with operator(broker.url, keys) as asking:
        with pytest.raises(Unavailable, match="identity does not answer"):
            await asking.ask(Register(principal="u-dev", nkey="U"), PrincipalView)
