"""Given a log, when a person asks, then this answer."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from dominie.merkle import is_included, leaf_hash
from dominie.notes import Checkpoint
from dominie.proofs import check_extension, check_inclusion
from dominie_audit.adapters.tlog.published import Published
from dominie_audit.adapters.witnesses import Witnesses
from dominie_audit.handlers import Handlers
from dominie_audit.projection import Log
from dominie_contracts import Conflict, Forbidden, Invalid, Recorded, StreamName, Unavailable
from dominie_contracts.action import Finished
from dominie_contracts.audit import Entries, Export, GetCheckpoint, Leaves, ListRuns, Prove, Search, Trail, VerifyLog
from dominie_contracts.guardrail import PoliciesPublished
from dominie_contracts.memory import Remembered
from dominie_contracts.runs import RunOpened
from dominie_contracts.token import Grants
from dominie_eventstore import MemoryEventStore, StoreUnavailable
from dominie_kit import Context
from dominie_kit.context import deadline_in
from dominie_kit.handler_testing import Keys
from dominie_kit.personal.keyring import Keyring

Write = Callable[..., Awaitable[int]]
Read = Callable[[Log], Awaitable[Log]]
Sign = Callable[[], Awaitable[None]]
BEGAN = datetime(2026, 7, 2, 9, 30, tzinfo=UTC)
pytestmark = pytest.mark.anyio


def person(tenant: str = "acme", groups: tuple[str, ...] = ("auditors",)) -> Context:
    return Context(tenant=tenant, principal="u-ada", key="k", deadline=deadline_in(5), groups=groups)


def kinds(found: Entries) -> list[str]:
    return [entry.type.removesuffix(".v1") for entry in found.entries]


async def test_a_trail_holds_every_event_of_its_run(audit: Handlers, log: Log, refund: None, read: Read) -> None:
    await read(log)
    found = await audit.trail(Trail(run="r-1"), person())
    assert [entry.summary for entry in found.entries] == [
        'refund(order="A1", amount_cents=9000) asked',
        "ask: finance — refunds over $50 need a person [large-refund]",
        "waits for finance until 1970-01-01 00:00 UTC",
        "granted by u-fin",
        "approved by u-fin",
        "started on tool-1 (service, lease 0 s)",
        "finished in 12.0 ms, $0.2500",
    ]
    assert not found.truncated


async def test_a_trail_that_is_too_long_for_a_reply_goes_on_in_the_next(
    store: MemoryEventStore, log: Log, published: Published, alone: Witnesses, refund: None, read: Read
) -> None:
    await read(log)
    audit, seen, after = Handlers(store, log, published, alone, Keyring(Keys()), reply_bytes=1_000), [], 0
    while (found := await audit.trail(Trail(run="r-1", after=after), person())).truncated:
        seen += kinds(found)
        after = found.entries[-1].position
    assert len(seen + kinds(found)) == 7
    assert seen[0] == "tool.requested"


async def test_a_trail_waits_for_what_its_reader_has_seen(audit: Handlers, log: Log, refund: None, read: Read) -> None:
    async def caught_up(position: int, timeout_s: float) -> None:
        await read(log)

    asker = person()
    asker.after, asker.caught_up = 1, caught_up
    assert len((await audit.trail(Trail(run="r-1"), asker)).entries) == 7


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Search(tool="refund", decision="ask"), ["tool.decided"]),
        (Search(agent="u-fin"), ["approval.answered"]),
        (Search(user="u-dana", limit=2), ["tool.started", "tool.finished"]),
        (Search(run="r-1", tool="refund", agent="u-fin"), ["approval.answered"]),
        (Search(decision="deny"), []),
        (Search(action="a", type="tool.started"), ["tool.started"]),
        (Search(action="a1", type="tool.started"), ["tool.started"]),
        (Search(action="a2"), []),
        (Search(policy="large-refund"), ["tool.decided"]),
        (Search(policy="large-refund", decision="allow"), []),
        (Search(policy="small-refund"), []),
        (Search(type="tool.started.v1"), ["tool.started"]),
        (Search(type="tool.start"), []),
        (Search(type="approval"), ["approval.answered"]),
        (Search(type="tool", limit=2), ["tool.started", "tool.finished"]),
        (Search(cost_over=0.24, cost_under=0.26), ["tool.finished"]),
        (Search(cost_over=0.25), []),
        (Search(cost_under=0.25), []),
        (Search(text="A1 9000"), ["tool.requested"]),
        (Search(text="a1 paid"), []),
        (Search(text="PERSON need"), ["tool.decided"]),
        (Search(text="amount_cents"), []),
        (Search(since=BEGAN + timedelta(seconds=6)), ["tool.started", "tool.finished"]),
        (Search(until=BEGAN + timedelta(seconds=2)), ["tool.requested"]),
        (Search(limit=2, earliest=True), ["tool.requested", "tool.decided"]),
    ],
)
async def test_a_search_finds_what_fits_all_that_is_given(
    audit: Handlers, log: Log, refund: None, read: Read, asked: Search, found: list[str]
) -> None:
    await read(log)
    assert kinds(await audit.search(asked, person())) == found


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Search(decision="ask", cost_over=0.2), ["tool.decided", "tool.finished"]),
        (Search(decision="ask", cost_over=0.2, type="tool.parked"), ["tool.parked"]),
        (Search(decision="ask", type="tool.requested"), ["tool.requested"]),
        (Search(decision="ask", cost_over=0.3), []),
        (Search(text="A1", policy="large-refund", user="u-dana"), ["tool.requested", "tool.decided"]),
        (Search(text="B2", policy="large-refund"), []),
    ],
)
async def test_what_is_on_different_events_of_an_action_is_found_together(
    audit: Handlers, log: Log, refund: None, read: Read, write: Write, asked: Search, found: list[str]
) -> None:
    await write("memory", "m1", Remembered(id="m1", namespace="user", subject="u-dana", text="B2"), run="r-2")
    await read(log)
    assert kinds(await audit.search(asked, person())) == found


async def test_a_text_without_words_is_refused(audit: Handlers) -> None:
    with pytest.raises(Invalid, match="no word"):
        await audit.search(Search(text='"*" ?'), person())


async def test_pages_of_a_search_are_all_of_it_once_both_ways(
    audit: Handlers, log: Log, refund: None, read: Read
) -> None:
    await read(log)
    whole = [entry.position for entry in (await audit.search(Search(), person())).entries]
    back, before = list[int](), None
    while len(back) < 7:
        page = await audit.search(Search(before=before, limit=3), person())
        back = [entry.position for entry in page.entries] + back
        before = back[0]
    on, after = list[int](), 0
    while len(on) < 7:
        page = await audit.search(Search(after=after, limit=3, earliest=True), person())
        on += [entry.position for entry in page.entries]
        after = on[-1]
    assert back == on == whole
    assert not page.truncated


async def test_a_search_says_that_there_is_more(audit: Handlers, log: Log, refund: None, read: Read) -> None:
    await read(log)
    assert (await audit.search(Search(limit=6), person())).truncated
    assert not (await audit.search(Search(limit=7), person())).truncated


async def test_runs_come_latest_first_with_how_they_stand_and_what_they_cost(
    audit: Handlers, log: Log, refund: None, write: Write, read: Read
) -> None:
    opened = RunOpened(
        run="r-2", agent="a-desk", user="u-dana", session=None, request_digest=None, grants=Grants(), expires_s=1
    )
    await write("run", "r-2", opened, run=None)
    await read(log)
    found = (await audit.runs(ListRuns(), person())).runs
    assert [(run.run, run.status, run.events, run.cost_usd) for run in found] == [
        ("r-2", "running", 1, 0.0),
        ("r-1", "finished", 7, 0.25),
    ]


async def test_a_judges_cost_is_not_counted_twice(audit: Handlers, log: Log, write: Write, read: Read) -> None:
    for category in ("model", "judge"):
        await write(category, category, Finished(outcome="ok", duration_ms=1, cost_usd=0.5))
    await read(log)
    assert (await audit.runs(ListRuns(), person())).runs[0].cost_usd == 0.5


async def test_nobody_sees_another_tenants_events(audit: Handlers, log: Log, refund: None, read: Read) -> None:
    await read(log)
    stranger = person(tenant="globex")
    assert (await audit.trail(Trail(run="r-1"), stranger)).entries == ()
    assert (await audit.search(Search(), stranger)).entries == ()
    assert (await audit.search(Search(text="A1"), stranger)).entries == ()
    assert (await audit.search(Search(policy="large-refund", cost_over=0.0), stranger)).entries == ()
    assert (await audit.runs(ListRuns(), stranger)).runs == ()


async def test_everybody_sees_what_is_the_platforms(audit: Handlers, log: Log, write: Write, read: Read) -> None:
    published = PoliciesPublished(digest="d" * 64, files=(), by="operator")
    await write("policy", "main", published, tenant="svc", actor="operator", user=None, run=None)
    await read(log)
    assert kinds(await audit.search(Search(), person(tenant="globex"))) == ["policy.published"]


@pytest.mark.parametrize(("groups", "run", "sees"), [(("finance",), "r-1", True), (("sales",), "r-1", False)])
async def test_who_is_asked_sees_the_run_that_asks(
    audit: Handlers, log: Log, refund: None, write: Write, read: Read, groups: tuple[str, ...], run: str, sees: bool
) -> None:
    await write("memory", "m1", Remembered(id="1", namespace="user", subject="u-dana", text="tea"), run="r-2")
    await read(log)
    if sees:
        assert len((await audit.trail(Trail(run=run), person(groups=groups))).entries) == 7
    for other in ("r-2", *(() if sees else (run,))):
        with pytest.raises(Forbidden, match="u-ada is neither"):
            await audit.trail(Trail(run=other), person(groups=groups))
    with pytest.raises(Forbidden):
        await audit.trail(Trail(run=run), person(tenant="globex", groups=groups))


@pytest.mark.parametrize("groups", [(), ("finance",)])
async def test_only_developers_and_auditors_may_look(audit: Handlers, groups: tuple[str, ...]) -> None:
    asker = person(groups=groups)
    for asked in (
        audit.trail(Trail(run="r"), asker),
        audit.search(Search(), asker),
        audit.runs(ListRuns(), asker),
        audit.verify(VerifyLog(), asker),
        audit.checkpoint(GetCheckpoint(), asker),
        audit.prove(Prove(position=256), asker),
        audit.export(Export(), asker),
    ):
        with pytest.raises(Forbidden, match="u-ada is neither"):
            await asked


async def test_a_log_that_holds(audit: Handlers, refund: None) -> None:
    report = await audit.verify(VerifyLog(), person())
    assert (report.ok, report.events, report.streams, report.broken_at) == (True, 7, 2, None)


class Away(MemoryEventStore):
    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        for event in await self.read(StreamName("acme", "tool", "a1")):
            yield event
        raise StoreUnavailable("the log is away")


async def test_a_log_that_cannot_be_read_is_unavailable(log: Log, published: Published, alone: Witnesses) -> None:
    with pytest.raises(Unavailable, match="the log is away"):
        await Handlers(Away(), log, published, alone, Keyring(Keys()), reply_bytes=1_000).verify(VerifyLog(), person())


async def test_every_event_is_proven(
    audit: Handlers, store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    events = [event async for event in store.read_all()]
    for index, event in enumerate(events):
        proof = await audit.prove(Prove(position=event.position), person())
        found = check_inclusion(proof.model_dump_json(), published.key)
        assert (found.raw, found.index, found.checkpoint.size) == (event.raw, index, 7)


async def test_a_checkpoint_is_shown_to_extend_an_older_one(
    audit: Handlers, published: Published, refund: None, checkpoint: Sign, write: Write
) -> None:
    await checkpoint()
    old = await audit.checkpoint(GetCheckpoint(), person())
    await write("policy", "main", PoliciesPublished(digest="d" * 64, files=(), by="operator"))
    await checkpoint()
    new = await audit.checkpoint(GetCheckpoint(extends=7), person())
    assert check_extension(Checkpoint.open(old.checkpoint, published.key), new, published.key).size == 8
    assert (await audit.checkpoint(GetCheckpoint(extends=9), person())).proof == ()


async def test_what_is_not_there_is_not_proven(audit: Handlers, refund: None, checkpoint: Sign, write: Write) -> None:
    with pytest.raises(Unavailable, match="no checkpoint"):
        await audit.prove(Prove(position=256), person())
    await checkpoint()
    for position, asker in ((1, person()), (10**18, person()), (256, person("globex"))):
        with pytest.raises(Invalid, match="no event of yours"):
            await audit.prove(Prove(position=position), asker)
    newer = await write("policy", "main", PoliciesPublished(digest="d" * 64, files=(), by="operator"))
    with pytest.raises(Unavailable, match="newer"):
        await audit.prove(Prove(position=newer), person())


async def test_an_event_that_was_changed_is_not_proven(
    store: MemoryEventStore, log: Log, published: Published, alone: Witnesses, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    (first, *_) = [event async for event in store.read_all()]
    store._all[0] = Recorded(first.position, first.raw + b" ")
    with pytest.raises(Conflict, match="not the one that was recorded"):
        await Handlers(store, log, published, alone, Keyring(Keys()), reply_bytes=1_000).prove(
            Prove(position=first.position), person()
        )


async def test_a_tile_that_is_gone_is_unavailable(
    audit: Handlers, published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    for path in (published.tiles.folder / "position").rglob("7"):
        path.unlink()
    with pytest.raises(Unavailable, match="restart audit"):
        await audit.prove(Prove(position=256), person())


async def test_an_export_is_what_is_stored_with_proofs_to_one_checkpoint_in_any_pages(
    store: MemoryEventStore,
    log: Log,
    published: Published,
    alone: Witnesses,
    refund: None,
    checkpoint: Sign,
    write: Write,
    read: Read,
) -> None:
    await read(log)
    await checkpoint()
    audit = Handlers(store, log, published, alone, Keyring(Keys()), reply_bytes=1_500)
    first = found = await audit.export(Export(proofs=True), person())
    assert first.checkpoint is not None and first.truncated
    top = Checkpoint.open(first.checkpoint.checkpoint, published.key)
    leaves = list(first.leaves)
    for number in range(300):
        await write("memory", f"m{number}", Finished(outcome="ok", duration_ms=1))
    await read(log)
    await checkpoint()
    while found.truncated:
        found = await audit.export(Export(proofs=True, size=7, after=leaves[-1].position), person())
        assert found.checkpoint is None
        leaves += found.leaves
    stored = [event async for event in store.read_all()][:7]
    assert [leaf.position for leaf in leaves] == [event.position for event in stored]
    for index, (leaf, event) in enumerate(zip(leaves, stored, strict=True)):
        assert (leaf.index, base64.b64decode(leaf.raw)) == (index, event.raw)
        proof = [base64.b64decode(each) for each in leaf.proof]
        assert is_included(leaf_hash(event.raw), leaf.index, 7, proof, top.root)


async def test_an_export_is_of_what_was_selected_and_without_proofs_unless_asked(
    audit: Handlers, log: Log, refund: None, checkpoint: Sign, read: Read
) -> None:
    await read(log)
    await checkpoint()
    found = await audit.export(Export(decision="ask"), person())
    assert [(leaf.index, leaf.proof) for leaf in found.leaves] == [(1, ())]
    assert not found.truncated
    assert (await audit.export(Export(), person("globex"))).leaves == ()
    with pytest.raises(Invalid, match="has 7 events, not 8"):
        await audit.export(Export(size=8), person())


async def test_an_export_waits_for_a_checkpoint_over_all_that_was_read(
    audit: Handlers, log: Log, refund: None, checkpoint: Sign, read: Read, write: Write
) -> None:
    await checkpoint()
    await write("memory", "m1", Finished(outcome="ok", duration_ms=1))
    await read(log)
    found = list[Leaves]()

    async def ask() -> None:
        found.append(await audit.export(Export(type="memory"), person()))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await checkpoint()
    assert [leaf.index for leaf in found[0].leaves] == [7]


async def test_a_row_that_was_changed_is_not_exported(
    audit: Handlers, log: Log, refund: None, checkpoint: Sign, read: Read
) -> None:
    await read(log)
    await checkpoint()
    log.db.execute("UPDATE events SET raw = CAST(raw || ' ' AS BLOB) WHERE position = 257")
    with pytest.raises(Conflict, match="at position 257 is not the one that was recorded"):
        await audit.export(Export(), person())
