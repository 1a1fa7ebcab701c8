"""What people are told of ceilings: as the scheduler holds runs to them, and to whom it is told."""

import time
from typing import Any

import pytest

from dominie_contracts import BudgetExceeded
from dominie_contracts.model import OFFER
from dominie_contracts.scheduler import PERMIT, AskPermit, Ceilings, ListCeilings, ReleasePermit
from dominie_contracts.spiffe import TRUST_DOMAIN
from dominie_contracts.token import Actor, Ceiling
from dominie_kit import Context
from dominie_kit.handler_testing import Desk
from dominie_scheduler.handlers import Handlers
from dominie_scheduler.listing import CeilingHandlers
from dominie_scheduler.projection import Budgets, Offers, Slots

pytestmark = pytest.mark.anyio
HELPER = Actor.of(TRUST_DOMAIN, "acme", "a-helper", "a-desk")


class Scene:
    """The scheduler, started: it knows what the log says."""

    def __init__(self, desk: Desk) -> None:
        slots, offers, budgets = Slots(), Offers(), Budgets()
        for projection, category in ((slots, PERMIT), (offers, OFFER), (budgets, PERMIT)):
            desk.follow(projection, category)
        self.desk = desk
        self.handlers = Handlers(desk.store, desk.actions(PERMIT), slots, offers, default_slots=8, reserve_usd=0.5)
        self.listing = CeilingHandlers(budgets, slots)

    async def begin(self, permit: str, context: Context, *, lease_ms: int = 60_000) -> None:
        known = {"tenant": context.tenant, "agent": context.principal, "run": context.run, "model": "auto"}
        ask = {**known, "permit": permit, "priority": "standard", "deadline_ms": 5_000, "lease_ms": lease_ms}
        await self.handlers.permit(AskPermit.model_validate(ask), context)

    async def end(self, permit: str, usd: float | None, *, tenant: str = "acme") -> None:
        release = ReleasePermit(permit=permit, tenant=tenant, input_tokens=1, output_tokens=1, cost_usd=usd)
        await self.handlers.release(release, self.desk.context(tenant=tenant))

    async def told(
        self, who: str = "u-dev", *groups: str, tenant: str = "acme", run: str | None = None, most: int = 50
    ) -> Ceilings:
        await self.desk.caught_up()
        asked = Context(tenant=tenant, principal=who, key="k", deadline=time.monotonic() + 5, groups=groups)
        return await self.listing.ceilings(ListCeilings(run=run, most=most), asked)

    async def rows(self, who: str = "u-dev", *groups: str, **asked: Any) -> list[tuple[object, ...]]:
        """Run, agent, user, what it may spend, has spent, and how many calls are under way."""
        found = (await self.told(who, *groups or ("developers",), **asked)).ceilings
        return [(each.run, each.agent, each.user, each.may_usd, each.spent_usd, each.under_way) for each in found]


def run(desk: Desk, name: str, usd: float, *, user: str = "u-dana", tenant: str = "acme") -> Context:
    return desk.context(run=name, user=user, tenant=tenant, ceilings=(Ceiling(run=name, max_cost_usd=usd),))


def part(desk: Desk, *, root: float = 9) -> Context:
    """Of a-helper, in a run of a-desk's."""
    mine = (Ceiling(run="root", max_cost_usd=root), Ceiling(run="part", max_cost_usd=3))
    context = desk.context(run="part", agent="a-helper", ceilings=mine)
    assert context.claims is not None
    context.claims = context.claims.model_copy(update={"parents": ("root",), "act": HELPER})
    return context


async def test_what_a_part_spends_is_its_runs_too_whosever_it_is(desk: Desk) -> None:
    scene = Scene(desk)
    await scene.begin("p1", run(desk, "root", 9))
    await scene.begin("p2", part(desk))
    assert await scene.rows() == [("part", "a-helper", "u-dana", 3, 0, 1), ("root", "a-desk", "u-dana", 9, 0, 2)]
    await scene.end("p1", 2)
    await scene.end("p2", 0.5)
    expected = [("part", "a-helper", "u-dana", 3, 0.5, 0), ("root", "a-desk", "u-dana", 9, 2.5, 0)]
    assert await scene.rows() == await Scene(desk).rows() == expected


async def test_what_is_told_is_what_a_run_is_held_to(desk: Desk) -> None:
    scene = Scene(desk)
    await scene.begin("p1", run(desk, "root", 2))
    await scene.end("p1", 2)
    with pytest.raises(BudgetExceeded):
        await scene.begin("p2", run(desk, "root", 2))
    await scene.begin("p2", part(desk, root=4))  # it was raised
    assert ("root", "a-desk", "u-dana", 4, 2, 1) in await scene.rows()


async def test_what_nobody_knows_is_not_made_up(desk: Desk) -> None:
    """A call without a price may have cost anything; one whose holder is gone is under way no more."""
    scene = Scene(desk)
    await scene.begin("p1", run(desk, "dear", 2))
    await scene.end("p1", None)
    with pytest.raises(BudgetExceeded, match="nobody knows"):
        await scene.begin("p3", run(desk, "dear", 2))
    await scene.begin("p2", run(desk, "gone", 2), lease_ms=0)
    assert await scene.rows() == [("gone", "a-desk", "u-dana", 2, 0, 0), ("dear", "a-desk", "u-dana", 2, None, 0)]


async def test_people_see_the_runs_that_act_for_them_and_nobody_another_tenants(desk: Desk) -> None:
    scene = Scene(desk)
    for number, (user, tenant) in enumerate((("u-dana", "acme"), ("u-erin", "acme"), ("u-dana", "globex"))):
        await scene.begin(f"p{number}", run(desk, f"r{number}", 1, user=user, tenant=tenant))
    seen = {
        who: [row[0] for row in await scene.rows(who, *groups)]
        for who, groups in (("u-dana", ("finance",)), ("u-eve", ("operators",)), ("u-aud", ("auditors",)))
    }
    assert seen == {"u-dana": ["r0"], "u-eve": [], "u-aud": ["r1", "r0"]}
    assert [row[0] for row in await scene.rows(tenant="globex")] == ["r2"]


async def test_the_latest_come_first_and_the_rest_is_counted(desk: Desk) -> None:
    scene = Scene(desk)
    for number in range(5):
        await scene.begin(f"p{number}", run(desk, f"r{number}", 1))
        await scene.end(f"p{number}", 0)
    await scene.begin("again", run(desk, "r1", 1))
    await scene.begin("none", desk.context(run="r9"))  # it has no ceiling
    told = await scene.told("u-dev", "developers", most=2)
    assert ([each.run for each in told.ceilings], told.more) == (["r1", "r4"], 3)
    assert [row[0] for row in await scene.rows(run="r3")] == ["r3"]
