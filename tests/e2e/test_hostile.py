"""Hostile connections on a real broker: whatever an agent's own code tries, it is refused, or nothing arrives.

Everything goes over raw connections, never through the sdk, which would not try any of this.
"""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio
import pytest
from nats.aio.msg import Msg

from dominie.keys import KeyPair
from dominie_contracts import Draft, StreamName, headers
from dominie_contracts.identity import Done, Revoke
from dominie_contracts.registry import event_type
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.subjects import segment_stream
from dominie_contracts.token import Grants
from dominie_contracts.tool import CATALOG, ToolRegistered, ToolSpec
from dominie_eventstore import JetStreamEventStore
from dominie_identity import build
from dominie_identity.settings import Settings
from dominie_kit import Service
from dominie_kit.bus import Inner
from dominie_kit.testing import House, Peer, assertion, connected, house, is_refused, serving

pytestmark = pytest.mark.anyio
EVENT_STREAM = segment_stream(0)
GRANTS = Grants(tools=("refund",), models=("auto",), namespaces=("user",))
LEDGER, MAILER = "w-ledger", "w-mailer"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """A house with identity; the agents a-desk and a-other, an a-desk of another tenant, two workers, a developer."""

    house: House
    identity: Service
    keys: dict[str, KeyPair]

    @property
    def url(self) -> str:
        return self.house.url

    async def count(self, subject: str) -> int:
        """How many events a subject holds."""
        info = await self.house.operator.client.jetstream().stream_info(EVENT_STREAM, subjects_filter=subject)
        return sum((info.state.subjects or {}).values())


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with house(tmp_path_factory.mktemp("house")) as found:
        settings = Settings(nats_url=found.url, keys=found.keys.path, state=found.keys.path / "state")
        await _tools(found, settings)
        async with serving(build(settings)) as identity:
            keys = {
                "dana": await found.register("u-dana", groups=("developers",)),
                "desk": await found.register("a-desk", grants=GRANTS, users=("u-dana",)),
                "other": await found.register("a-other", grants=GRANTS),
                "abroad": await found.register("a-desk", tenant="abroad", grants=GRANTS),
                "ledger": await found.register(LEDGER, grants=Grants()),
                "mailer": await found.register(MAILER, grants=Grants(tools=("*",)), sponsor="u-dana"),
                "stranger": KeyPair.generate(),
            }
            yield Scene(found, identity, keys)


async def _tools(found: House, settings: Settings) -> None:
    """`refund` belongs to one worker, `mail` to the other; as the tool service writes it."""
    inner = Inner("tool", settings)
    await inner.open()
    try:
        for name, owner in (("refund", LEDGER), ("mail", MAILER)):
            registered = ToolRegistered(spec=ToolSpec(name=name, input_schema={}), owner=owner)
            draft = Draft(
                id=name,
                source="dominie/tool",
                type=event_type(CATALOG, registered),
                time=datetime.now(UTC),
                actor=owner,
                data=registered.model_dump_json(),
            )
            stream = StreamName("acme", CATALOG, name)
            await JetStreamEventStore(inner.client).append(stream, [draft], expected_version=0)
    finally:
        await inner.close()


@pytest.fixture
async def agent(scene: Scene) -> AsyncIterator[Peer]:
    """The agent a-desk, rightly connected; what it tries is not."""
    async with connected(scene.url, scene.keys["desk"], "acme", "a-desk") as peer:
        yield peer


Show = Callable[[dict[str, KeyPair]], str]


def _signed(keys: KeyPair, **changed: object) -> str:
    return assertion(keys, "acme", "a-desk", **changed)


def _unsigned(keys: KeyPair, alg: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": alg}).encode()).decode().rstrip("=")
    return f"{header}.{_signed(keys).split('.')[1]}."


def _ago(seconds: int) -> dict[str, object]:
    return {"iat": int(time.time()) - seconds, "exp": int(time.time()) - seconds + 60}


@pytest.mark.parametrize(
    ("key", "show"),
    [
        pytest.param("stranger", lambda keys: _signed(keys["desk"]), id="stolen"),
        pytest.param("other", lambda keys: _signed(keys["desk"]), id="stolen by another agent"),
        pytest.param(None, lambda keys: _signed(keys["desk"]), id="stolen, with no key at all"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], **_ago(120)), id="expired"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], exp=int(time.time()) + 9999), id="long-lived"),
        pytest.param("stranger", lambda keys: _signed(keys["stranger"]), id="forged"),
        pytest.param("desk", lambda keys: _signed(keys["stranger"]), id="forged, with the right key"),
        pytest.param("desk", lambda keys: _unsigned(keys["desk"], "none"), id="unsigned"),
        pytest.param("desk", lambda keys: _unsigned(keys["desk"], "Ed25519"), id="signature cut off"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], aud="dominie"), id="wrong audience"),
        pytest.param("desk", lambda keys: "", id="none"),
        pytest.param("desk", lambda keys: "password", id="no assertion"),
        pytest.param("abroad", lambda keys: _signed(keys["abroad"]), id="same name in another tenant"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], tenant="abroad"), id="into another tenant"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], tenant="svc"), id="into the platform"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], sub="a-other"), id="as another agent"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], sub="u-dana"), id="as its user"),
        pytest.param("desk", lambda keys: _signed(keys["desk"], sub="operator"), id="as the operator"),
    ],
)
async def test_who_does_not_prove_it_does_not_connect(scene: Scene, key: str | None, show: Show) -> None:
    shown = show(scene.keys)
    assert await is_refused(scene.url, scene.keys[key] if key else None, "acme", "a-desk", token=shown)
    assert not await is_refused(scene.url, scene.keys["desk"], "acme", "a-desk")


async def test_a_run_token_is_no_assertion(scene: Scene, agent: Peer) -> None:
    minted = await agent.ask(MintRunToken(user="u-dana", run="r-assertion"), RunToken)
    assert await is_refused(scene.url, scene.keys["desk"], "acme", "a-desk", token=minted.token)


async def test_who_is_revoked_does_not_connect(scene: Scene) -> None:
    keys = await scene.house.register("a-bad")
    assert not await is_refused(scene.url, keys, "acme", "a-bad")
    await scene.house.operator.ask(Revoke(principal="a-bad", tenant="acme"), Done)
    assert await is_refused(scene.url, keys, "acme", "a-bad")


@pytest.mark.parametrize(
    "subject",
    [
        "cmd.acme.a-desk.identity.token",
        "cmd.acme.a-desk.tool.invoke.refund",
        "cmd.acme.a-desk.model.chat.auto",
        "cmd.acme.a-desk.memory.recall.user",
    ],
)
async def test_an_agent_may_ask_what_it_was_granted(agent: Peer, subject: str) -> None:
    assert await agent.may_publish(subject)


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param("cmd.acme.a-other.tool.invoke.refund", id="as another agent"),
        pytest.param("cmd.abroad.a-desk.tool.invoke.refund", id="as its namesake in another tenant"),
        pytest.param("cmd.acme.u-dana.guardrail.approve", id="as its user"),
        pytest.param("cmd.acme.a-desk.tool.invoke.mail", id="a tool it was not granted"),
        pytest.param("cmd.acme.a-desk.tool.invoke", id="a tool it does not name"),
        pytest.param("cmd.acme.a-desk.tool.invoke.refund.mail", id="two tools"),
        pytest.param("cmd.acme.a-desk.tool.invoke.*", id="any tool"),
        pytest.param("cmd.acme.a-desk.model.chat.dear", id="a model it was not granted"),
        pytest.param("cmd.acme.a-desk.memory.recall.shared", id="a namespace it was not granted"),
        pytest.param("cmd.acme.a-desk.identity.register", id="register a principal"),
        pytest.param("cmd.acme.a-desk.guardrail.approve", id="approve"),
        pytest.param("cmd.acme.a-desk.audit.search", id="search the log"),
        pytest.param("svc.identity.exchange", id="as the gateway"),
        pytest.param("svc.identity.register", id="as the operator"),
        pytest.param("svc.scheduler.permit", id="a permit for itself"),
        pytest.param("evt.0.acme.tool.1", id="write an event"),
        pytest.param("evt.0.acme.principal.a-desk", id="write its own registration"),
        pytest.param("call.acme.refund", id="call a worker directly"),
        pytest.param("ret.acme.refund.x.1", id="answer for a worker"),
        pytest.param("out.acme.a-desk.run", id="stream to itself"),
        pytest.param("out.acme.a-other.run", id="stream to another agent"),
        pytest.param("_INBOX.acme.a-other.x", id="answer another agent"),
        pytest.param("_INBOX.svc.tool.inner.x", id="answer a service"),
        pytest.param("hb.guardrail", id="guardrail's heartbeat"),
        pytest.param(f"$JS.API.STREAM.DELETE.{EVENT_STREAM}", id="delete the stream"),
        pytest.param(f"$JS.API.STREAM.PURGE.{EVENT_STREAM}", id="purge the stream"),
        pytest.param(f"$JS.API.STREAM.MSG.DELETE.{EVENT_STREAM}", id="delete an event"),
        pytest.param(f"$JS.API.STREAM.MSG.GET.{EVENT_STREAM}", id="read an event"),
        pytest.param(f"$JS.API.DIRECT.GET.{EVENT_STREAM}", id="read any event"),
        pytest.param(f"$JS.API.CONSUMER.CREATE.{EVENT_STREAM}.mine.evt.>", id="read the stream"),
        pytest.param("$JS.API.INFO", id="ask JetStream"),
        pytest.param("$SYS.REQ.SERVER.PING", id="ask the server"),
        pytest.param("$SYS.REQ.USER.AUTH", id="ask for admission"),
        pytest.param("$SYS.REQ.USER.INFO", id="ask about itself"),
    ],
)
async def test_an_agent_can_publish_nothing_else(agent: Peer, subject: str) -> None:
    assert not await agent.may_publish(subject)


@pytest.mark.parametrize(
    "subject",
    [
        ">",
        "*",
        "*.>",
        "_INBOX.>",
        "_INBOX.acme.>",
        "_INBOX.acme.a-other.>",
        "_INBOX.abroad.a-desk.>",
        "_INBOX.svc.>",
        "_INBOX.svc.gateway.inner.>",
        "out.>",
        "out.acme.*.*",
        "out.acme.a-other.*",
        "cmd.>",
        "cmd.acme.a-desk.>",
        "cmd.*.*.identity.>",
        "svc.>",
        "svc.identity.exchange",
        "evt.>",
        "evt.0.acme.tool.*",
        "call.>",
        "call.acme.refund",
        "ret.>",
        "hb.*",
        "$SYS.>",
        "$SYS.REQ.USER.AUTH",
        "$JS.>",
        "$JS.EVENT.ADVISORY.>",
        "$KV.>",
    ],
)
async def test_an_agent_hears_nothing_of_others(agent: Peer, subject: str) -> None:
    assert not await agent.may_subscribe(subject)
    assert await agent.may_subscribe("_INBOX.acme.a-desk.mine.*")
    assert await agent.may_subscribe("out.acme.a-desk.*")


@pytest.mark.parametrize(
    ("target", "listener"),
    [
        pytest.param("evt.0.acme.principal.a-desk", None, id="its own registration"),
        pytest.param("evt.0.acme.tool.forged", None, id="another service's event"),
        pytest.param("call.acme.refund", ("ledger", LEDGER), id="a tool's worker"),
        pytest.param("_INBOX.acme.a-other.x", ("other", "a-other"), id="another agent's inbox"),
        pytest.param("_INBOX.acme.u-dana.x", ("dana", "u-dana"), id="its user's inbox"),
        pytest.param("_INBOX.acme.a-desk_.x", None, id="an inbox that begins alike"),
    ],
)
async def test_a_reply_subject_that_is_not_its_inbox_gets_nothing(
    scene: Scene, agent: Peer, target: str, listener: tuple[str, str] | None
) -> None:
    held = await scene.count(target) if target.startswith("evt.") else 0
    key, principal = listener or ("other", "a-other")
    async with connected(scene.url, scene.keys[key], "acme", principal) as other:
        heard: list[Msg] = []

        async def hear(message: Msg) -> None:
            heard.append(message)

        if listener:
            await other.client.subscribe(target, cb=hear)
            await other.client.flush()
        await _ask_into(scene, agent, target)
        await other.client.flush()
        assert (heard, other.refused) == ([], [])
    if target.startswith("evt."):
        assert await scene.count(target) == held


async def _ask_into(scene: Scene, agent: Peer, target: str) -> None:
    """Ask something right, but have it answered elsewhere; returns when identity has dropped it."""
    before = scene.identity.edge.refused
    right = MintRunToken(user="u-dana", run="r-reply")
    sent = {headers.KEY: "a-key", "Nats-Msg-Id": "forged"}
    await agent.may_publish("cmd.acme.a-desk.identity.token", right.model_dump_json().encode(), reply=target, sent=sent)
    with anyio.fail_after(20):
        while scene.identity.edge.refused == before:
            await agent.ask(right, RunToken)


async def test_a_worker_takes_its_own_tools_calls_alone(scene: Scene) -> None:
    async with connected(scene.url, scene.keys["ledger"], "acme", LEDGER) as worker:
        assert await worker.may_subscribe("call.acme.refund")
        assert await worker.may_publish("ret.acme.refund.instance.1")
        for subject in ("call.acme.mail", "call.acme.*", "call.abroad.refund", "cmd.*.*.tool.>"):
            assert not await worker.may_subscribe(subject)
        for subject in ("ret.acme.mail.instance.1", f"cmd.acme.{LEDGER}.tool.invoke.refund", "call.acme.refund"):
            assert not await worker.may_publish(subject)


async def test_a_person_cannot_act_as_their_agent(scene: Scene) -> None:
    async with connected(scene.url, scene.keys["dana"], "acme", "u-dana") as person:
        assert await person.may_publish("cmd.acme.u-dana.identity.list")
        for subject in ("cmd.acme.a-desk.identity.token", "cmd.acme.u-dana.identity.token", "evt.0.acme.tool.1"):
            assert not await person.may_publish(subject)
