"""A log, and what writes to it the way the services do."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from dominie_audit.adapters.tlog.keeper import Keeper
from dominie_audit.adapters.tlog.published import Own, Published
from dominie_audit.adapters.witnesses import Witnesses
from dominie_audit.handlers import Handlers
from dominie_audit.projection import Log
from dominie_contracts import Draft, Payload, StreamName
from dominie_contracts.action import Approved, Ask, Decided, Finished, Parked, Requested, Started
from dominie_contracts.guardrail import ApprovalAnswered
from dominie_contracts.registry import event_type
from dominie_eventstore import MemoryEventStore
from dominie_kit.handler_testing import Keys, term
from dominie_kit.personal.keyring import Keyring

Write = Callable[..., Awaitable[int]]
BEGAN = datetime(2026, 7, 2, 9, 30, tzinfo=UTC)
ASK = Ask(policy="large-refund", group="finance", why="refunds over $50 need a person")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store() -> MemoryEventStore:
    return MemoryEventStore()


@pytest.fixture
def log() -> Iterator[Log]:
    with Log(term=term) as found:
        yield found


@pytest.fixture
def audit(store: MemoryEventStore, log: Log, published: Published, alone: Witnesses) -> Handlers:
    return Handlers(store, log, published, alone, Keyring(Keys()), reply_bytes=900_000)


@pytest.fixture
def write(store: MemoryEventStore) -> Write:
    """Append to a stream, as an agent in a run unless told otherwise; returns the position."""
    versions: dict[StreamName, int] = {}
    count = 0

    def draft(category: str, payload: Payload, actor: str, user: str | None, run: str | None) -> Draft:
        nonlocal count
        count += 1
        return Draft(
            id=f"e-{count}",
            source="dominie/test",
            type=event_type(category, payload),
            time=BEGAN + timedelta(seconds=count),
            actor=actor,
            data=payload.model_dump_json(),
            on_behalf_of=user,
            correlation_id=run,
        )

    async def append(
        category: str,
        id_: str,
        *payloads: Payload,
        tenant: str = "acme",
        actor: str = "a-desk",
        user: str | None = "u-dana",
        run: str | None = "r-1",
    ) -> int:
        stream = StreamName(tenant, category, id_)
        drafts = [draft(category, payload, actor, user, run) for payload in payloads]
        appended = await store.append(stream, drafts, expected_version=versions.get(stream, 0))
        versions[stream] = appended.version
        return appended.position

    return append


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """A transparency log of one's own, with nothing in it."""
    return Own.open(tmp_path, "dominie/test")


@pytest.fixture
def published(own: Own) -> Published:
    """The same, as everybody reads it."""
    return own.published


@pytest.fixture
def alone(published: Published) -> Witnesses:
    """Nobody is asked to witness it."""
    return Witnesses(published, (), quorum=0, timeout_s=1, interval_s=1)


@pytest.fixture
def checkpoint(store: MemoryEventStore, own: Own) -> Callable[[], Awaitable[None]]:
    """Sign a checkpoint over all that is stored now, as audit does when it starts."""

    async def sign() -> None:
        keeper = Keeper(own, interval_s=1, max_events=1000)
        await keeper.publish(await keeper.catch_up(store, lambda: 0), store)

    return sign


@pytest.fixture
def refund(write: Write) -> None:
    """A refund of $90: asked for, approved by a person, made; 7 events of run `r-1`."""
    anyio.run(_refund, write)


@pytest.fixture
def read(store: MemoryEventStore) -> Callable[[Log], Awaitable[Log]]:
    """Bring a read model up to date."""

    async def apply(log: Log) -> Log:
        async for event in store.read_all(after=log.position):
            log.apply(event)
        return log

    return apply


async def _refund(write: Write) -> None:
    arguments = {"order": "A1", "amount_cents": 9000}
    digest = "d" * 64
    await write(
        "tool",
        "a1",
        Requested.model_validate(
            {"command": "tool.invoke", "resource": "refund", "key": "k", "arguments": arguments}
            | {"digest": digest, "deadline_ms": 30_000}
        ),
        Decided(decision="ask", policies=("large-refund",), asks=(ASK,), request={}),
        Parked(asks=(ASK,), digest=digest, command="tool.invoke", arguments={}, expires_ms=1),
    )
    answered = ApprovalAnswered(
        action="a1", category="tool", digest=digest, decision="grant", by="u-fin", groups=(), expires_ms=1, note=""
    )
    await write("approval", "a1", answered, actor="u-fin", user=None, run=None)
    await write(
        "tool",
        "a1",
        Approved(approvals=("a1",), by=("u-fin",)),
        Started(owner="tool-1", lease_ms=1, attempt=1),
        Finished(outcome="ok", duration_ms=12, cost_usd=0.25),
    )
