"""What a forked run is told of its parent's record."""

from collections.abc import Awaitable, Callable

import pytest

from dominie_audit.adapters.tlog.published import Published
from dominie_audit.adapters.witnesses import Witnesses
from dominie_audit.handlers import Handlers
from dominie_audit.projection import Log
from dominie_contracts import Diverged, Invalid, RunClaims, StreamName
from dominie_contracts.action import Finished
from dominie_contracts.audit import AskRecord, FromRecord
from dominie_contracts.digests import digest_json
from dominie_contracts.spiffe import TRUST_DOMAIN
from dominie_contracts.token import AUDIENCE, Actor, Confirmation, Fork
from dominie_eventstore import MemoryEventStore
from dominie_kit import Context
from dominie_kit.context import deadline_in
from dominie_kit.handler_testing import Keys
from dominie_kit.personal.keyring import Keyring

Write = Callable[..., Awaitable[int]]
Read = Callable[[Log], Awaitable[Log]]
pytestmark = pytest.mark.anyio


def in_fork(run: str = "r-2", at: int = 10**9, tenant: str = "acme") -> Context:
    claims = RunClaims(
        iss="test",
        aud=AUDIENCE,
        sub="u-dana",
        act=Actor.of(TRUST_DOMAIN, tenant, "a-desk"),
        tenant=tenant,
        run=run,
        cnf=Confirmation(nkey="U"),
        fork=Fork(run="r-1", at=at),
        authorization_details=(),
        iat=0,
        exp=300,
        jti="j" * 8,
    )
    return Context(tenant=tenant, principal="a-desk", key="k", deadline=deadline_in(5), claims=claims)


def next_of(action: str = "b1", *, cents: int = 9000) -> AskRecord:
    return AskRecord(
        category="tool",
        action=action,
        command="tool.invoke",
        resource="refund",
        arguments=digest_json({"order": "A1", "amount_cents": cents}),
        call=f"refund({cents})",
    )


async def test_a_fork_is_told_what_its_parents_record_holds(
    audit: Handlers, log: Log, refund: None, read: Read, store: MemoryEventStore
) -> None:
    await read(log)
    found = await audit.record(next_of(), in_fork())
    done = (await store.read(StreamName("acme", "tool", "a1")))[-1]
    assert (found.stream, found.position) == (done.stream, done.position)
    assert await audit.record(next_of(), in_fork()) == found
    assert await audit.record(next_of("b2"), in_fork()) == FromRecord()
    early = await audit.record(next_of(), in_fork("r-3", at=done.position))
    assert early == FromRecord(), "at its end it was not yet done"


async def test_a_fork_that_asks_for_something_else_is_stopped(
    audit: Handlers, log: Log, refund: None, read: Read
) -> None:
    await read(log)
    with pytest.raises(Diverged) as caught:
        await audit.record(next_of(cents=1), in_fork())
    assert caught.value.extra["expected"] == ['refund(order="A1", amount_cents=9000)']


async def test_another_tenants_run_has_no_record_here(audit: Handlers, log: Log, refund: None, read: Read) -> None:
    await read(log)
    assert await audit.record(next_of(), in_fork(tenant="other")) == FromRecord()


async def test_a_run_that_is_no_fork_has_no_record(audit: Handlers) -> None:
    with pytest.raises(Invalid, match="not forked"):
        await audit.record(next_of(), Context(tenant="acme", principal="a-desk", key="k", deadline=deadline_in(5)))


async def test_where_it_was_is_read_from_the_log_after_a_restart(
    audit: Handlers,
    store: MemoryEventStore,
    log: Log,
    refund: None,
    read: Read,
    write: Write,
    published: Published,
    alone: Witnesses,
) -> None:
    await read(log)
    found = await audit.record(next_of(), in_fork())
    await write("tool", "b1", Finished(outcome="ok", duration_ms=1, served_from=found.position), run="r-2")
    await read(log)
    again = Handlers(store, log, published, alone, Keyring(Keys()), reply_bytes=900_000)
    assert await again.record(next_of("b2"), in_fork()) == FromRecord()
    assert await again.record(next_of(), in_fork()) == found
