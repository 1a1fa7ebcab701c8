"""What runs may spend and have spent, for whoever may know."""

import math

from dominie_contracts.rights import AUDITORS, DEVELOPERS
from dominie_contracts.scheduler import Ceilings, CeilingUse, ListCeilings
from dominie_kit import Context
from dominie_kit.bus import now_ms
from dominie_scheduler.aggregate import State
from dominie_scheduler.projection import Budget, Budgets, Slots


class CeilingHandlers:
    """Answers `ceilings`."""

    def __init__(self, budgets: Budgets, slots: Slots) -> None:
        self._budgets = budgets
        self._slots = slots

    async def ceilings(self, command: ListCeilings, context: Context) -> Ceilings:
        """Those of the tenant for developers and auditors; for other people those of runs that act for them."""
        user = None if {DEVELOPERS, AUDITORS} & set(context.groups) else context.principal
        found = self._budgets.of(context.tenant, user=user, run=command.run or "")
        shown = tuple(_use(key, budget, self._slots.state, now_ms()) for key, budget in found[: command.most])
        return Ceilings(ceilings=shown, more=len(found) - len(shown))


def _use(key: str, budget: Budget, state: State, at_ms: int) -> CeilingUse:
    spent_usd = state.spent.get(key, 0.0)
    return CeilingUse(
        run=budget.charge.run,
        agent=budget.charge.agent,
        user=budget.user,
        may_usd=budget.charge.may_usd,
        spent_usd=spent_usd if math.isfinite(spent_usd) else None,
        under_way=sum(key in held.charged and held.lease_until_ms > at_ms for _, held in state.holders),
    )
