"""What calls may have together is never exceeded, however they come; what failed or vanished is free again."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Draft, Payload, Recorded, StreamName
from dominie_contracts.action import Finished, Limit, Parked, Requested, Started, Unknown, fold
from dominie_contracts.guardrail import LIMIT, Reservation, Reserve, Share, SharesReserved, SharesSettled
from dominie_contracts.tool import TOOL
from dominie_eventstore import Appended, EventStore, StoreUnavailable
from dominie_guardrail.limits.aggregate import Sums, reserve, settled, uses, uses_in, verdict
from dominie_guardrail.limits.ledger import Ledger
from dominie_kit.handler_testing import Desk

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 30, 23, 59, 30, tzinfo=UTC)
MOST, VANISH_MS, RENEW_MS = 1000, 60_000, 30_000
REQUESTED = Requested(command="tool.invoke", key="k", arguments={}, digest="d", deadline_ms=1)
BOOKED_MS, LEASE_MS = int(NOW.timestamp() * 1000), 5000
STARTED = Started(owner="tool-1", lease_ms=BOOKED_MS + LEASE_MS, attempt=1)
RENEWED = STARTED.model_copy(update={"lease_ms": BOOKED_MS + 2 * LEASE_MS, "renewed": True})
DONE = Finished(outcome="ok", duration_ms=1)
FAILED = Finished(outcome="error", duration_ms=1)


def wants(number: int, amount: int = 100, *, scope: str = "tenant", most: int = MOST, within: str = "day") -> Reserve:
    share = {"policy": "spend", "scope": scope, "within": within, "amount": amount, "most": most}
    return Reserve(action=f"{number:032x}", category=TOOL, shares=(Share.model_validate(share),))


def page(sums: Sums, *commands: Reserve, now: datetime = NOW) -> list[bool]:
    answers, bookings = reserve(sums, commands, now, renew_ms=RENEW_MS)
    if bookings:
        sums.apply(SharesReserved(bookings=tuple(bookings)))
    return [answer.granted for answer in answers]


def test_the_last_share_that_fits_is_the_last() -> None:
    sums = Sums()
    assert page(sums, *(wants(number, 300) for number in range(4))) == [True, True, True, False]
    assert page(sums, wants(5, 101), wants(6, 100), wants(7, 1), wants(8, 0)) == [False, True, False, True]


def test_what_has_its_share_has_it_once() -> None:
    sums = Sums()
    assert page(sums, wants(1, 900), wants(1, 900)) == [True, True]
    assert page(sums, wants(1, 900), wants(2, 200)) == [True, False]


@pytest.mark.parametrize("first", [0, 1])
def test_what_asks_for_more_under_the_same_key_takes_more(first: int) -> None:
    sums = Sums()
    assert page(sums, *(wants(number, first) for number in range(40))) == [True] * 40
    again = page(sums, *(wants(number, MOST) for number in range(40)))
    assert sum(again) == (0 if first else 1)
    assert sums.used == {("spend", "tenant", "2026-11-30"): 40 if first else MOST}


def test_what_asks_for_less_gives_nothing_back() -> None:
    sums = Sums()
    assert page(sums, wants(1, 900), wants(1, 0), wants(2, 101), wants(1, 900), wants(1, 1001)) == [
        True,
        True,
        False,
        True,
        False,
    ]
    sums.apply(SharesSettled(kept=(), released=(f"{1:032x}",)))
    assert page(sums, wants(3, MOST)) == [True]


def test_a_limit_that_is_new_holds_for_what_asks_again() -> None:
    sums = Sums()
    assert page(sums, wants(1, 900), wants(9, MOST, scope="user x")) == [True, True]
    share = wants(1, 100, scope="user x").shares[0]
    both = wants(1, 900).model_copy(update={"shares": (*wants(1, 900).shares, share)})
    assert page(sums, both) == [False]
    sums.apply(SharesSettled(kept=(), released=(f"{9:032x}",)))
    assert page(sums, both, wants(2, 901, scope="user x")) == [True, False]


def test_what_has_used_its_share_and_asks_for_more_takes_the_rest() -> None:
    sums = Sums()
    page(sums, wants(1, 600))
    sums.apply(SharesSettled(kept=(f"{1:032x}",), released=()))
    assert page(sums, wants(1, 1001), wants(1, 900), wants(1, 900), wants(2, 101)) == [False, True, True, False]
    sums.apply(SharesSettled(kept=(), released=(f"{1:032x}",)))  # the rest is free again, and what was used is not
    assert page(sums, wants(2, 401), wants(2, 400)) == [False, True]


def test_what_was_booked_a_while_ago_is_booked_anew_before_it_vanishes() -> None:
    sums, first = Sums(), NOW - timedelta(minutes=1)
    booked, all_of_it = list[int](), wants(1, MOST, within="month")
    for after_ms in (0, RENEW_MS - 1, RENEW_MS):
        assert page(sums, all_of_it, now=first + timedelta(milliseconds=after_ms)) == [True]
        booked.append(sums.open[all_of_it.action].at_ms - int(first.timestamp() * 1000))
    assert booked == [0, 0, RENEW_MS]
    assert sums.used == {("spend", "tenant", "2026-11"): MOST}


def test_what_has_used_its_share_takes_no_other() -> None:
    sums = Sums()
    page(sums, wants(1, 600))
    sums.apply(SharesSettled(kept=(f"{1:032x}",), released=()))
    assert page(sums, wants(1, 600), wants(2, 401), wants(2, 400)) == [True, False, True]


def test_each_scope_and_each_window_has_its_own() -> None:
    sums = Sums()
    assert page(sums, wants(1, MOST), wants(2, MOST, scope="agent a-desk")) == [True, True]
    assert page(sums, wants(3, MOST, within="hour"), wants(4, MOST, within="month")) == [True, True]
    assert page(sums, wants(5, 1), now=NOW - timedelta(hours=23)) == [False]
    assert page(sums, wants(6, 1), now=NOW - timedelta(days=1)) == [True]


def test_all_of_its_shares_or_none() -> None:
    sums = Sums()
    both = Reserve(action="f" * 32, category=TOOL, shares=(wants(0, 10).shares[0], wants(0, 2000, scope="x").shares[0]))
    assert page(sums, both, wants(1, MOST)) == [False, True]


@pytest.mark.parametrize(("within", "seconds"), [("hour", 30), ("day", 30), ("month", 30)])
def test_it_says_how_much_is_used_and_when_it_begins_anew(within: str, seconds: int) -> None:
    sums = Sums()
    page(sums, wants(1, 700, within=within))
    (answer,), _ = reserve(sums, [wants(2, 301, within=within)], NOW, renew_ms=RENEW_MS)
    assert answer == Reservation(granted=False, policy="spend", used=700, resets_s=seconds)


@pytest.mark.parametrize(
    ("trail", "age_ms", "used"),
    [
        ([], 0, None),
        ([], VANISH_MS, False),
        ([REQUESTED], VANISH_MS, False),
        ([REQUESTED, STARTED], VANISH_MS, None),
        ([REQUESTED, STARTED], LEASE_MS + VANISH_MS, True),
        ([REQUESTED, STARTED, RENEWED], LEASE_MS + VANISH_MS, None),
        ([REQUESTED, STARTED, DONE], 0, True),
        ([REQUESTED, STARTED, FAILED], 0, False),
        ([REQUESTED, STARTED, Unknown(why="lost")], 0, True),
        ([REQUESTED, Parked(asks=(), digest="d", command="c", arguments={}, expires_ms=1)], VANISH_MS, False),
        ([REQUESTED, STARTED, STARTED.model_copy(update={"given_back": True})], VANISH_MS, False),
    ],
)
def test_what_becomes_of_a_share(trail: list[Payload], age_ms: int, used: bool | None) -> None:
    assert verdict(fold(trail), booked_ms=BOOKED_MS, now_ms=BOOKED_MS + age_ms, vanish_ms=VANISH_MS) is used


def limit(name: str = "spend", *, most: int = MOST, within: str = "day", per: str = "tenant") -> Limit:
    return Limit.model_validate(
        {"policy": name, "counts": "amount", "most": most, "per": per, "within": within, "why": "so"}
    )


def test_what_is_used_and_what_is_under_way_add_up() -> None:
    sums = Sums()
    page(sums, wants(1, 300), wants(2, 200), wants(3, 100))
    sums.apply(SharesSettled(kept=(f"{1:032x}",), released=(f"{2:032x}",)))
    (use,) = uses(sums, [limit()], NOW)
    assert (use.used, use.reserved, use.left, use.scope) == (300, 100, 600, "tenant")
    assert use.latest == (TOOL, f"{3:032x}") and use.resets_s == 30


def test_only_what_counts_now_is_told_and_a_lowered_limit_leaves_nothing() -> None:
    sums = Sums()
    page(sums, wants(1, 900), now=NOW - timedelta(days=1))
    page(sums, wants(2, 500))
    (use,) = uses(sums, [limit(most=400)], NOW)
    assert (use.used, use.reserved, use.left) == (0, 500, 0)
    (other,) = uses(sums, [limit("other")], NOW)
    assert (other.scope, other.left) == ("", MOST)
    (per_agent,) = uses(sums, [limit(per="agent")], NOW)  # the policy was another one then
    assert (per_agent.scope, per_agent.used) == ("", 0)
    assert [each.scope for each in uses_in(sums, [limit(per="agent")], NOW, ["agent a-desk", "tenant"])] == [
        "agent a-desk"
    ]


PAGES = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 600), st.sampled_from(["a", "b"])), max_size=5), max_size=6
)


@given(PAGES, st.lists(st.sampled_from([True, False, None]), max_size=10))
def test_no_more_than_the_limit_is_ever_granted(
    pages: list[list[tuple[int, int, str]]], ends: list[bool | None]
) -> None:
    sums, begun, kept = Sums(), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for wanted in pages:
        commands = [wants(number, amount, scope=scope) for number, amount, scope in wanted]
        for command, yes in zip(commands, page(sums, *commands), strict=True):
            if yes:  # the largest amount that it was granted may be what is done
                name = command.action, command.shares[0].scope
                begun[name] = max(begun[name], command.shares[0].amount)
        for scope in "ab":
            assert sum(amount for (_, owner), amount in begun.items() if owner == scope) <= MOST
        event = settled(zip(list(sums.open), ends, strict=False))
        if event is not None:
            sums.apply(event)
            kept |= Counter({name: amount for name, amount in begun.items() if name[0] in event.kept})
            begun = kept | Counter({name: amount for name, amount in begun.items() if name[0] not in event.released})


@pytest.fixture
def desk() -> Desk:
    return Desk("guardrail")


class Slow:
    """A log whose appends take their turn, or do not come through, and whose reads may take long."""

    def __init__(self, store: EventStore) -> None:
        self.away = False
        self.unread = set[StreamName]()
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self._store = store

    async def read(self, stream: StreamName, *, after_version: int = 0) -> Sequence[Recorded]:
        if stream in self.unread:
            raise StoreUnavailable("no")
        found = await self._store.read(stream, after_version=after_version)
        if stream.category == TOOL and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found

    async def append(self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int) -> Appended:
        await checkpoint()
        if self.away:
            raise StoreUnavailable("no")
        return await self._store.append(stream, drafts, expected_version=expected_version)


def ledger(desk: Desk, vanish_s: float = 60.0, *, store: Slow | None = None) -> Ledger:
    return Ledger(store or Slow(desk.store), desk.actions(LIMIT), vanish_s=vanish_s, now=lambda: NOW)


async def ask(book: Ledger, desk: Desk, commands: Sequence[Reserve]) -> list[bool]:
    found = dict[str, bool]()

    async def one(command: Reserve) -> None:
        found[command.action] = (await book.reserve(command, desk.context())).granted

    async with anyio.create_task_group() as group:
        for command in commands:
            group.start_soon(one, command)
    return [found[command.action] for command in commands]


async def test_those_who_ask_at_once_are_on_one_page(desk: Desk) -> None:
    assert sum(await ask(ledger(desk), desk, [wants(number) for number in range(40)])) == 10
    assert len(await desk.types(LIMIT)) <= 2


async def test_a_page_that_does_not_fit_the_log_is_written_in_parts(desk: Desk) -> None:
    book, (share,) = ledger(desk), wants(0, 1, most=150).shares
    shares = tuple(share.model_copy(update={"policy": f"{number:0200}"}) for number in range(32))
    commands = [wants(number).model_copy(update={"shares": shares}) for number in range(200)]
    assert sum(await ask(book, desk, commands)) == 150


async def test_two_instances_grant_no_more_than_one(desk: Desk) -> None:
    first, second = ledger(desk), ledger(desk)
    found = list[bool]()

    async def half(book: Ledger, numbers: range) -> None:
        for number in numbers:
            found.append((await book.reserve(wants(number), desk.context())).granted)

    async with anyio.create_task_group() as group:
        group.start_soon(half, first, range(15))
        group.start_soon(half, second, range(15, 30))
    assert sum(found) == 10
    assert not (await ledger(desk).reserve(wants(99), desk.context())).granted


async def test_what_failed_is_free_again_and_what_was_done_is_not(desk: Desk) -> None:
    book = ledger(desk)
    assert await ask(book, desk, [wants(1, 500), wants(2, 500), wants(3, 1)]) == [True, True, False]
    await desk.append(TOOL, f"{1:032x}", REQUESTED, STARTED, FAILED)
    await desk.append(TOOL, f"{2:032x}", REQUESTED, STARTED, DONE)
    for _ in range(2):
        await book.sweep()
    assert await ask(book, desk, [wants(4, 500), wants(5, 1)]) == [True, False]
    assert (await desk.types(LIMIT)).count("settled.v1") == 1


async def test_what_vanished_runs_out_also_after_a_restart(desk: Desk) -> None:
    book = ledger(desk, vanish_s=0.0)
    assert await ask(book, desk, [wants(1, MOST)]) == [True]
    assert await ask(book, desk, [wants(2, 1)]) == [False]
    await book.sweep()
    assert await ask(book, desk, [wants(3, MOST)]) == [True]
    assert await ask(ledger(desk, vanish_s=0.0), desk, [wants(4, MOST)]) == [True]  # it looks before it refuses


async def test_what_takes_long_keeps_nobody_from_being_looked_at(desk: Desk) -> None:
    book, many = ledger(desk), 600
    assert all(await ask(book, desk, [wants(number, 1, most=many) for number in range(many)]))
    for number in range(many - 1):
        await desk.append(TOOL, f"{number:032x}", REQUESTED, STARTED)
    await desk.append(TOOL, f"{many - 1:032x}", REQUESTED, STARTED, FAILED)
    await book.sweep()
    assert await ask(book, desk, [wants(many, 1, most=many), wants(many + 1, 1, most=many)]) == [True, False]


async def test_what_took_more_while_its_trail_was_read_has_it(desk: Desk) -> None:
    slow = Slow(desk.store)
    book = ledger(desk, vanish_s=0.0, store=slow)
    assert await ask(book, desk, [wants(1, 1)]) == [True]
    slow.meanwhile = lambda: book.reserve(wants(1, MOST), desk.context())
    await book.sweep()
    assert await ask(book, desk, [wants(2, 1)]) == [False]


async def test_a_trail_that_cannot_be_read_keeps_no_other_from_being_looked_at(desk: Desk) -> None:
    slow = Slow(desk.store)
    book = ledger(desk, store=slow)
    assert await ask(book, desk, [wants(1, 1), wants(2, MOST - 1)]) == [True, True]
    await desk.append(TOOL, f"{2:032x}", REQUESTED, STARTED, FAILED)
    slow.unread = {StreamName("acme", TOOL, f"{1:032x}")}
    await book.sweep()
    assert await ask(book, desk, [wants(3, MOST), wants(4, MOST - 1)]) == [False, True]


async def test_a_tenant_whose_sums_cannot_be_read_keeps_no_other_from_being_looked_at(desk: Desk) -> None:
    slow, other = Slow(desk.store), desk.context(tenant="other")
    book = ledger(desk, store=slow)
    slow.unread = {StreamName("acme", LIMIT, "2026-11")}
    with pytest.raises(StoreUnavailable):
        await book.reserve(wants(1, MOST), desk.context())
    await book.reserve(wants(2, MOST), other)
    await desk.append(TOOL, f"{2:032x}", REQUESTED, STARTED, FAILED, tenant="other")
    await book.sweep()
    assert (await book.reserve(wants(3, MOST), other)).granted


async def test_a_reservation_that_nobody_can_write_is_none(desk: Desk) -> None:
    slow = Slow(desk.store)
    book = ledger(desk, store=slow)
    slow.away = True
    with pytest.raises(StoreUnavailable):
        await book.reserve(wants(1, MOST), desk.context())
    slow.away = False
    assert await ask(book, desk, [wants(2, MOST)]) == [True]
