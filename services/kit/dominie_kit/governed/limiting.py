"""A share of every limit is reserved before an action begins, with guardrail, which keeps the sums."""

from collections.abc import Mapping

from pydantic import JsonValue

from dominie_contracts import BudgetExceeded, Forbidden, Problem, QuotaExceeded
from dominie_contracts.action import Decided, Limit
from dominie_contracts.guardrail import Reservation, Reserve, Share
from dominie_kit.governed.past import Calls
from dominie_kit.governed.work import Action
from dominie_kit.personal.sealing import PersonKey


class Limiting:
    """Asks guardrail, which keeps the sums, for a share of each limit."""

    def __init__(self, services: Calls) -> None:
        self._services = services

    async def refusal(self, action: Action, decided: Decided | None) -> Problem | None:
        """Why an action that is allowed may not begin; None: its shares are reserved, or it needs none.

        Raises:
            Unavailable: Guardrail is away.
        """
        if decided is None or not decided.limits or decided.observed:
            return None
        shares = list[Share]()
        for limit in decided.limits:
            amount, scope = _amount(limit, decided.request), _scope(limit, action)
            if amount is None or scope is None:
                return Forbidden(
                    f"{limit.policy}: there is no {limit.counts} of {limit.per} to count", action=action.id
                )
            share = Share(policy=limit.policy, scope=scope, within=limit.within, amount=amount, most=limit.most)
            shares.append(share)
        command = Reserve(action=action.id, category=action.stream.category, shares=tuple(shares))
        found = await self._services.call(action.context, command, Reservation, key=f"limit-{action.id}")
        return None if found.granted else _used_up(action, decided, found)


def _amount(limit: Limit, request: Mapping[str, JsonValue]) -> int | None:
    if limit.counts == "calls":
        return 1
    context = request.get("context")
    found = context.get("amount") if isinstance(context, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _scope(limit: Limit, action: Action) -> str | None:
    context = action.context
    if limit.per == "user":
        return user_scope(context.person) if context.person and context.user else None
    return "tenant" if limit.per == "tenant" else f"agent {context.principal}"


def user_scope(person: PersonKey) -> str:
    """Whose limit a user's is: without their key it names nobody."""
    return f"user {person.digest('limit')[:32]}"


def _used_up(action: Action, decided: Decided, found: Reservation) -> Problem:
    limit = next(each for each in decided.limits if each.policy == found.policy)
    text = f"{limit.why}: {found.used} of {limit.most} a {limit.within} are used by this {limit.per}"
    kind = BudgetExceeded if limit.counts == "amount" else QuotaExceeded
    return kind(
        text, action=action.id, policies=[limit.policy], used=found.used, most=limit.most, resets_s=found.resets_s
    )
