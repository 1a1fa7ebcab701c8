"""A real broker: it holds the rights that the contracts name, and a restart changes nothing for its clients."""

import asyncio
import json
import os
import select
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from dominie.keys import KeyPair
from dominie.returning import Returning
from dominie_contracts.subjects import SERVICES, segment_stream, service_inbox_prefix
from dominie_kit.errors import BrokerFailed
from dominie_kit.house.broker import EmbeddedBroker, connect_operator
from dominie_kit.house.broker_config import server_config
from dominie_kit.keys.folder import KeyFolder

pytestmark = pytest.mark.anyio
API = "$JS.API"
EVENT_STREAM = segment_stream(0)
WAIT_S = 20.0


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


@pytest.fixture(scope="module")
async def stream(broker: EmbeddedBroker, keys: KeyFolder) -> None:
    operator = await connect_operator(broker.url, keys)
    settings = StreamConfig(name=EVENT_STREAM, subjects=["evt.0.>"], allow_direct=True, deny_delete=True)
    await operator.jetstream().add_stream(settings)
    await operator.close()


@dataclass
class Connection:
    """A connection, and what the broker refused on it."""

    client: Client
    refused: list[str] = field(default_factory=list)

    async def may_publish(self, subject: str, body: bytes = b"{}") -> bool:
        before = len(self.refused)
        await self.client.publish(subject, body)
        await self.client.flush()
        return len(self.refused) == before

    async def may_subscribe(self, subject: str) -> bool:
        before = len(self.refused)
        await self.client.subscribe(subject)
        await self.client.flush()
        return len(self.refused) == before


@asynccontextmanager
async def connected(broker: EmbeddedBroker, key: KeyPair, inbox: str = "_INBOX") -> AsyncIterator[Connection]:
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    client = Returning()
    await client.connect(
        broker.url, nkeys_seed_str=key.seed, inbox_prefix=inbox.encode(), error_cb=note, allow_reconnect=False
    )
    try:
        yield Connection(client, refused)
    finally:
        await client.close()


@pytest.fixture
async def edge(broker: EmbeddedBroker, keys: KeyFolder, stream: None) -> AsyncIterator[Connection]:
    async with connected(broker, keys.service("tool").edge) as connection:
        yield connection


@pytest.fixture
async def inner(broker: EmbeddedBroker, keys: KeyFolder, stream: None) -> AsyncIterator[Connection]:
    async with connected(broker, keys.service("tool").inner, f"{service_inbox_prefix('tool')}.inner") as connection:
        yield connection


@pytest.mark.parametrize("subject", ["_INBOX.acme.a-1.x", "_INBOX.svc.operator.x", "out.acme.a-1.run"])
async def test_an_edge_answers_into_inboxes_and_streams_out(edge: Connection, subject: str) -> None:
    assert await edge.may_publish(subject)


@pytest.mark.parametrize(
    "subject",
    [
        "evt.0.acme.tool.1",
        "evt.0.acme.approval.1",
        "call.acme.refund",
        "ret.acme.refund.1",
        "cmd.acme.a-1.tool.invoke.refund",
        "svc.guardrail.publish",
        "hb.guardrail",
        f"{API}.STREAM.DELETE.{EVENT_STREAM}",
        f"{API}.CONSUMER.CREATE.{EVENT_STREAM}.mine.evt.>",
        "$SYS.REQ.SERVER.PING",
        "anything",
    ],
)
async def test_an_edge_can_publish_nowhere_else(edge: Connection, subject: str) -> None:
    assert not await edge.may_publish(subject)


@pytest.mark.parametrize(
    "subject", [">", "evt.>", "_INBOX.>", "cmd.>", "cmd.*.*.model.>", "svc.guardrail.>", "$SYS.>", "out.>"]
)
async def test_an_edge_hears_its_own_commands_alone(edge: Connection, subject: str) -> None:
    assert await edge.may_subscribe("cmd.*.*.tool.>")
    assert await edge.may_subscribe("svc.tool.>")
    assert not await edge.may_subscribe(subject)


async def test_an_inner_connection_writes_its_own_categories(inner: Connection) -> None:
    assert await inner.may_publish("evt.0.acme.tool.1")
    assert await inner.may_publish("call.acme.refund")


@pytest.mark.parametrize(
    "subject",
    [
        "evt.0.acme.approval.1",
        "evt.0.svc.policy.main",
        "evt.0.acme.principal.a-1",
        "_INBOX.acme.a-1.x",
        "out.acme.a-1.run",
        "svc.identity.exchange",
        "hb.guardrail",
        f"{API}.STREAM.DELETE.{EVENT_STREAM}",
        f"{API}.STREAM.PURGE.{EVENT_STREAM}",
        f"{API}.STREAM.UPDATE.{EVENT_STREAM}",
        f"{API}.STREAM.MSG.GET.{EVENT_STREAM}",
        f"{API}.STREAM.MSG.DELETE.{EVENT_STREAM}",
        f"{API}.STREAM.CREATE.OTHER",
        f"{API}.DIRECT.GET.{EVENT_STREAM}",
        f"{API}.DIRECT.GET.{EVENT_STREAM}.evt.0.acme.judge.1",
        f"{API}.CONSUMER.CREATE.{EVENT_STREAM}",
        f"{API}.CONSUMER.CREATE.{EVENT_STREAM}.mine",
        f"{API}.CONSUMER.CREATE.{EVENT_STREAM}.mine.evt.>",
        f"{API}.CONSUMER.CREATE.{EVENT_STREAM}.mine.evt.*.*.judge.*",
        f"{API}.CONSUMER.DURABLE.CREATE.{EVENT_STREAM}.mine",
    ],
)
async def test_an_inner_connection_can_publish_nowhere_else(inner: Connection, subject: str) -> None:
    assert not await inner.may_publish(subject)


async def _create_consumer(inner: Connection, filters: dict[str, object]) -> bool:
    subject = f"{API}.CONSUMER.CREATE.{EVENT_STREAM}.mine.evt.*.*.tool.*"
    request = {"stream_name": EVENT_STREAM, "config": {"name": "mine", "ack_policy": "none", **filters}}
    reply = await inner.client.request(subject, json.dumps(request).encode(), timeout=WAIT_S)
    return "error" not in json.loads(reply.data)


@pytest.mark.parametrize("wider", [{"filter_subject": "evt.>"}, {"filter_subjects": ["evt.>"]}, {}])
async def test_a_consumer_cannot_be_wider_than_its_subject_says(inner: Connection, wider: dict[str, object]) -> None:
    assert not await _create_consumer(inner, wider)
    assert await _create_consumer(inner, {"filter_subject": "evt.*.*.tool.*"})


@pytest.mark.parametrize(
    "body",
    [
        {"seq": 1},
        {"multi_last": ["evt.>"]},
        {"next_by_subj": "evt.>", "seq": 1},
        {"last_by_subj": "evt.0.acme.memory.1"},
    ],
)
async def test_a_direct_read_cannot_leave_its_subject(
    broker: EmbeddedBroker, keys: KeyFolder, inner: Connection, body: dict[str, object]
) -> None:
    async with connected(broker, keys.service("memory").inner, f"{service_inbox_prefix('memory')}.inner") as memory:
        await memory.client.jetstream().publish("evt.0.acme.memory.1", b"a secret")
    await inner.client.jetstream().publish("evt.0.acme.tool.1", b"its own")
    subject = f"{API}.DIRECT.GET.{EVENT_STREAM}.evt.0.acme.tool.1"
    reply = await inner.client.request(subject, json.dumps(body).encode(), timeout=WAIT_S)
    assert b"secret" not in reply.data


async def test_the_operator_deletes_nothing_by_mistake(broker: EmbeddedBroker, keys: KeyFolder, stream: None) -> None:
    operator = await connect_operator(broker.url, keys)
    with pytest.raises(APIError):
        await operator.jetstream().delete_msg(EVENT_STREAM, 1)
    await operator.close()


async def test_a_stranger_is_refused(broker: EmbeddedBroker) -> None:
    for key in (KeyPair.generate().seed, None):
        client = Client()
        with pytest.raises((Error, OSError)):
            await client.connect(broker.url, nkeys_seed_str=key, allow_reconnect=False, error_cb=_ignore)
        await client.close()


async def test_the_wrong_operator_is_told_what_is_wrong(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with pytest.raises(BrokerFailed, match="takes the operator's key"):
        await connect_operator(broker.url, KeyFolder(tmp_path).create())


async def test_no_broker_is_said_at_once(keys: KeyFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(BrokerFailed, match="No broker at"):
        await connect_operator(f"nats://127.0.0.1:{port}", keys)


async def _ignore(_: Exception) -> None:
    """Expected."""


def test_a_restart_after_death_keeps_the_port_and_the_streams(keys: KeyFolder, tmp_path: Path) -> None:
    async def streams(url: str) -> list[str | None]:
        operator = await connect_operator(url, keys)
        try:
            await operator.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
            return [info.config.name for info in await operator.jetstream().streams_info()]
        finally:
            await operator.close()

    with EmbeddedBroker(keys, tmp_path) as broker:
        url = broker.url
        asyncio.run(streams(url))
        os.kill(broker.pid, signal.SIGKILL)
        assert select.select([broker.death], [], [], WAIT_S)[0]
        assert asyncio.run(streams(broker.start().url)) == ["KEPT"]
        assert broker.url == url


def test_nothing_is_left_after_a_stop(keys: KeyFolder, tmp_path: Path) -> None:
    with EmbeddedBroker(keys, tmp_path) as broker:
        pid = broker.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_broker_that_cannot_start_says_why(keys: KeyFolder, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BrokerFailed, match="address already in use"):
        EmbeddedBroker(keys, tmp_path, port=taken.getsockname()[1]).start()


def test_the_configuration_holds_no_secret(keys: KeyFolder, tmp_path: Path) -> None:
    text = server_config(keys.roster(), store=tmp_path, extra=["# the end"])
    seeds = (keys.operator, keys.identity.signer, keys.service("tool").edge)
    assert not any(key.seed in text for key in seeds)
    assert all(keys.service(name).inner.public in text for name in SERVICES)
    assert text.endswith("# the end\n")
