"""The rights that `publish_subjects` names are enough for a service, and no more than it needs."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeout

from dominie_contracts.registry import OWNER
from dominie_contracts.rights import FOLLOWS, inner_rights
from dominie_contracts.subjects import MOVED_SUBJECT, SERVICES
from dominie_eventstore import JetStreamEventStore, StoreUnavailable, provision, publish_subjects
from dominie_eventstore.conformance import all_of, draft, first_of, stream, texts

if TYPE_CHECKING:
    from eventstore.tests.conftest import Broker

pytestmark = pytest.mark.anyio
TOOL = publish_subjects(["tool"], ["policy"])
AUDIT = publish_subjects([], ["*"])


def user(name: str, publish: tuple[str, ...]) -> str:
    rights = {"publish": list(publish), "subscribe": [f"_INBOX.svc.{name}.>", MOVED_SUBJECT]}
    return json.dumps({"user": name, "password": name, "permissions": rights})


@pytest.fixture(scope="module")
def guarded(broker_with: "type[Broker]", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Broker]":
    users = ",".join(['{"user": "operator", "password": "operator"}', user("tool", TOOL), user("audit", AUDIT)])
    running = broker_with(tmp_path_factory.mktemp("guarded"), f'authorization {{ "users": [{users}] }}')
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def connections(guarded: "Broker") -> AsyncIterator[dict[str, Client]]:
    opened = {}
    for name in ("operator", "tool", "audit"):
        client = opened[name] = Client()
        await client.connect(
            guarded.url, user=name, password=name, inbox_prefix=f"_INBOX.svc.{name}".encode(), error_cb=silent
        )
    await opened["operator"].request("$JS.API.STREAM.DELETE.EVENTS_0", b"", timeout=30)
    await provision(opened["operator"])
    store = JetStreamEventStore(opened["operator"])
    for category in ("policy", "principal"):
        await store.append(stream(category=category), [draft(category)], expected_version=0)
        await store.append(stream(category=category), [draft(category)], expected_version=1)
    yield opened
    for client in opened.values():
        await client.close()
        for _ in range(3):  # the loop closes the socket
            await asyncio.sleep(0)


async def silent(error: Exception) -> None:
    """The broker's refusals come here."""


async def test_a_service_writes_and_reads_its_own_and_reads_what_it_follows(connections: dict[str, Client]) -> None:
    store = JetStreamEventStore(connections["tool"])
    await store.append(stream(), [draft("1")], expected_version=0)
    await store.append(stream(), [draft("2")], expected_version=1)

    assert texts(await store.read(stream())) == ["1", "2"]
    assert texts(await all_of(store, "tool")) == ["1", "2"]
    assert len(await store.read(stream(category="policy"))) == 2
    assert len(await first_of(store, 2, category="policy")) == 2
    assert await store.last_position("policy") > 0


async def test_the_auditor_reads_everything(connections: dict[str, Client]) -> None:
    store = JetStreamEventStore(connections["audit"], timeout_s=0.3)

    assert len(await all_of(store)) == 4
    assert len(await first_of(store, 4)) == 4
    assert len(await first_of(store, 2, category="policy")) == 2
    assert len(await store.read(stream(category="policy"))) == 2
    assert await store.last_position() > 0
    with pytest.raises(StoreUnavailable):
        await store.append(stream(category="policy"), [draft()], expected_version=2)


@pytest.mark.parametrize("category", ["principal", None])
async def test_a_service_cannot_read_what_it_does_not_follow(
    connections: dict[str, Client], category: str | None
) -> None:
    store = JetStreamEventStore(connections["tool"], timeout_s=0.3)

    with pytest.raises(StoreUnavailable):
        await store.last_position(category)
    with pytest.raises(StoreUnavailable):
        await anext(store.subscribe("test", category=category))
    with pytest.raises(StoreUnavailable):
        await all_of(store, category)


@pytest.mark.parametrize("category", ["policy", "principal"])
async def test_a_service_cannot_write_others_events(connections: dict[str, Client], category: str) -> None:
    store = JetStreamEventStore(connections["tool"], timeout_s=0.3)

    with pytest.raises(StoreUnavailable):
        await store.append(stream("new", category=category), [draft()], expected_version=0)


FORBIDDEN = [
    "$JS.API.STREAM.DELETE.EVENTS_0",
    "$JS.API.STREAM.UPDATE.EVENTS_0",
    "$JS.API.STREAM.PURGE.EVENTS_0",
    "$JS.API.STREAM.MSG.GET.EVENTS_0",
    "$JS.API.STREAM.MSG.DELETE.EVENTS_0",
    "$JS.API.STREAM.INFO.EVENTS_0",
    "$JS.API.DIRECT.GET.EVENTS_0",
    "$JS.API.DIRECT.GET.EVENTS_0.evt.0.>",
    "$JS.API.DIRECT.GET.EVENTS_0.evt.0.*.*.*",
    "$JS.API.CONSUMER.CREATE.EVENTS_0",
    "$JS.API.CONSUMER.CREATE.EVENTS_0.mine",
    "$JS.API.CONSUMER.DURABLE.CREATE.EVENTS_0.mine",
    "$JS.API.CONSUMER.DELETE.EVENTS_0.other",
    "$JS.API.CONSUMER.LIST.EVENTS_0",
    "$JS.API.STREAM.CREATE.EVENTS_1",
    "$JS.API.STREAM.UPDATE.SEGMENTS",
    "$JS.API.STREAM.DELETE.SEGMENTS",
    "$JS.API.DIRECT.GET.SEGMENTS.log.segments",
    "log.segments",
]


@pytest.mark.parametrize("subject", FORBIDDEN)
async def test_the_rest_of_jetstream_is_closed(connections: dict[str, Client], subject: str) -> None:
    with pytest.raises(NatsTimeout):
        await connections["tool"].request(subject, b"{}", timeout=0.2)


@pytest.mark.parametrize(
    "filters",
    [{"filter_subject": "evt.0.>"}, {"filter_subject": ""}, {"filter_subjects": ["evt.0.*.tool.*", "evt.0.>"]}, {}],
)
async def test_a_consumers_filter_is_the_one_in_the_subject(
    connections: dict[str, Client], filters: dict[str, object]
) -> None:
    config = {"name": "mine", "ack_policy": "none", "deliver_subject": "_INBOX.svc.tool.x", **filters}
    request = json.dumps({"stream_name": "EVENTS_0", "config": config}).encode()

    answer = await connections["tool"].request(
        "$JS.API.CONSUMER.CREATE.EVENTS_0.mine.evt.0.*.tool.*", request, timeout=2
    )

    assert "error" in json.loads(answer.data)


def test_the_subjects_themselves() -> None:
    assert publish_subjects([]) == ()
    assert publish_subjects(["tool"]) == (
        "evt.*.*.tool.*",
        "$JS.API.DIRECT.GET.*.evt.*.*.tool.*",
        "$JS.API.CONSUMER.CREATE.*.*.evt.*.*.tool.*",
        "$JS.FC.*.>",
        "$JS.API.STREAM.MSG.GET.SEGMENTS",
    )
    assert AUDIT == (
        "$JS.API.DIRECT.GET.*.evt.>",
        "$JS.API.CONSUMER.CREATE.*.*.evt.>",
        "$JS.FC.*.>",
        "$JS.API.STREAM.MSG.GET.SEGMENTS",
        "$JS.API.STREAM.INFO.*",
    )


def covers(right: str, subject: str) -> bool:
    """Whether a right allows to publish to a subject (whose own wildcards are plain tokens to the broker)."""
    have, want = right.split("."), subject.split(".")
    if have[-1] == ">":
        return len(want) >= len(have) and all(a in ("*", b) for a, b in zip(have[:-1], want, strict=False))
    return len(have) == len(want) and all(a in ("*", b) for a, b in zip(have, want, strict=True))


@pytest.mark.parametrize("service", SERVICES)
def test_the_contracts_give_each_service_what_its_store_needs(service: str) -> None:
    owned = [category for category, owner in OWNER.items() if owner == service]
    needed = publish_subjects(owned, FOLLOWS.get(service, ("*",)))

    rights = inner_rights(service).publish

    assert [subject for subject in needed if not any(covers(right, subject) for right in rights)] == []
