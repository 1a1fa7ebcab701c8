"""What runs may spend together: ten parts of a run that may spend $50 spend $50, whichever begin at once."""

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie_contracts import BudgetExceeded, DeadlineExceeded
from dominie_contracts.model import OFFER, OFFERS, ModelsOffered, Offer
from dominie_contracts.scheduler import PERMIT, AskPermit, ReleasePermit
from dominie_contracts.token import Ceiling
from dominie_kit.handler_testing import Desk
from dominie_scheduler.handlers import Handlers
from dominie_scheduler.projection import Offers, Slots

pytestmark = pytest.mark.anyio
RESERVE_USD = 2.0


def ask(permit: str, *, deadline_ms: int = 5_000) -> AskPermit:
    known = {"tenant": "acme", "agent": "a-desk", "run": "r", "model": "auto", "priority": "standard"}
    return AskPermit.model_validate({**known, "permit": permit, "deadline_ms": deadline_ms, "lease_ms": 60_000})


def ended(permit: str, usd: float | None, *, tokens: int | None = 1) -> ReleasePermit:
    return ReleasePermit(permit=permit, tenant="acme", input_tokens=tokens, output_tokens=tokens, cost_usd=usd)


def under(usd: float, run: str = "root") -> Ceiling:
    return Ceiling(run=run, max_cost_usd=usd)


async def started(desk: Desk, *, slots: int = 16) -> Handlers:
    """The scheduler, started: what was spent is what the log says."""
    if not [event async for event in desk.store.read_all(category=OFFER)]:
        await desk.append(OFFER, OFFERS, ModelsOffered(models=(Offer(name="auto", provider="test", slots=slots),)))
    held, offers = Slots(), Offers()
    desk.follow(held, PERMIT)
    desk.follow(offers, OFFER)
    await desk.caught_up()
    return Handlers(desk.store, desk.actions(PERMIT), held, offers, default_slots=slots, reserve_usd=RESERVE_USD)


async def call(handlers: Handlers, desk: Desk, permit: str, usd: float, *ceilings: Ceiling) -> bool:
    """One call, from permit to release; whether the budget allowed it."""
    try:
        await handlers.permit(ask(permit), desk.context(ceilings=ceilings))
    except BudgetExceeded:
        return False
    for _ in range(20):  # others begin meanwhile, if they may
        await anyio.lowlevel.checkpoint()
    await handlers.release(ended(permit, usd), desk.context())
    return True


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, RESERVE_USD), max_size=10) | st.lists(st.floats(1, RESERVE_USD), min_size=20, max_size=40))
def test_ten_parts_spend_together_what_their_run_may(costs: list[float]) -> None:
    async def run() -> None:
        desk = Desk("scheduler")
        handlers, spent = await started(desk), 0.0
        work = iter(enumerate(costs))

        async def part(name: str) -> None:
            nonlocal spent
            for number, usd in work:
                if await call(handlers, desk, f"p{number}", usd, under(20), under(15, name)):
                    spent += usd

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(part, f"part-{number}")
        assert spent < 20 + RESERVE_USD
        if sum(costs) < 15:
            assert spent == pytest.approx(sum(costs))

    anyio.run(run)


async def test_a_ceiling_is_reached_and_says_of_which_run(desk: Desk) -> None:
    handlers = await started(desk)
    assert await call(handlers, desk, "p1", 5, under(5), under(9, "part"))
    with pytest.raises(BudgetExceeded, match="'root'") as caught:
        await handlers.permit(ask("p2"), desk.context(ceilings=(under(5), under(9, "part"))))
    assert caught.value.extra == {"run": "root"}
    assert await call(handlers, desk, "p3", 1, under(9, "part"))
    assert await call(handlers, desk, "p4", 1)


async def test_what_was_spent_is_still_spent_after_a_restart(desk: Desk) -> None:
    await call(await started(desk), desk, "p1", 5, under(5))
    assert not await call(await started(desk), desk, "p2", 0, under(5))


async def test_a_call_waits_for_those_under_way_that_may_take_the_rest(desk: Desk) -> None:
    handlers = await started(desk)
    await handlers.permit(ask("p1"), desk.context(ceilings=(under(3),)))
    with pytest.raises(DeadlineExceeded):
        await handlers.permit(ask("p2", deadline_ms=1), desk.context(ceilings=(under(3),)))
    assert await call(handlers, desk, "other", 1, under(3, "another"))
    await handlers.release(ended("p1", 0.5), desk.context())
    assert await call(handlers, desk, "p3", 1, under(3))


@pytest.mark.parametrize(
    ("release", "goes_on"),
    [
        (ended("p1", None, tokens=None), True),
        (ended("p1", None), False),
        (ended("p1", 0.0), True),
    ],
    ids=["it failed", "nobody knows its price", "it was free"],
)
async def test_what_a_call_without_a_price_comes_to(desk: Desk, release: ReleasePermit, goes_on: bool) -> None:
    handlers = await started(desk)
    await handlers.permit(ask("p1"), desk.context(ceilings=(under(3),)))
    await handlers.release(release, desk.context())
    assert await call(handlers, desk, "p2", 0, under(3)) is goes_on


async def test_of_another_tenant_the_same_run_is_another(desk: Desk) -> None:
    handlers = await started(desk)
    await call(handlers, desk, "p1", 5, under(5))
    elsewhere = ask("p2").model_copy(update={"tenant": "other"})
    await handlers.permit(elsewhere, desk.context(tenant="other", ceilings=(under(5),)))


async def test_nothing_may_be_spent_where_the_ceiling_is_nothing(desk: Desk) -> None:
    assert not await call(await started(desk), desk, "p1", 0, under(0))
