"""What of the limits is used, for whoever may know."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from dominie_contracts import Invalid, StreamName
from dominie_contracts.action import Limit
from dominie_contracts.guardrail import Limits, LimitUse, ListLimits
from dominie_contracts.rights import AUDITORS, DEVELOPERS
from dominie_eventstore import EventStore
from dominie_guardrail.limits.aggregate import Use, uses, uses_in
from dominie_guardrail.limits.ledger import Ledger
from dominie_kit import Context
from dominie_kit.governed.limiting import user_scope
from dominie_kit.personal.sealing import PersonKey


class LimitHandlers:
    """Answers `limits`."""

    def __init__(
        self,
        store: EventStore,
        ledger: Ledger,
        limits: Callable[[str], Sequence[Limit]],
        person: Callable[[str, str], Awaitable[PersonKey]],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._limits = limits
        self._person = person

    async def limits(self, command: ListLimits, context: Context) -> Limits:
        """Those in force, with what is used of each now; that of which least is left comes first."""
        limits = [each for each in self._limits(context.tenant) if command.policy in (None, each.policy)]
        if command.policy is not None and not limits:
            raise Invalid(f"no policy {command.policy!r} in force sets a limit; `dominie limits list` shows which do")
        if {DEVELOPERS, AUDITORS} & set(context.groups):
            names: Mapping[str, str] = {}
            found = await self._ledger.look(context.tenant, lambda sums, now: uses(sums, limits, now))
        else:
            names = await self._own(context)
            found = await self._ledger.look(context.tenant, lambda sums, now: uses_in(sums, limits, now, names))
        found.sort(key=lambda use: use.rank)
        shown = found[: command.most]
        views = [_view(use, await self._whom(use, names, context.tenant)) for use in shown]
        return Limits(limits=tuple(views), more=len(found) - len(shown))

    async def _own(self, context: Context) -> Mapping[str, str]:
        """The scopes that are the caller's own, and whose they are: an agent's, and the user's that it acts for."""
        if context.principal.startswith("u-"):
            return {user_scope(await self._person(context.tenant, context.principal)): context.principal}
        user = {user_scope(context.person): context.user} if context.person and context.user else {}
        return {f"agent {context.principal}": context.principal, **user}

    async def _whom(self, use: Use, names: Mapping[str, str], tenant: str) -> str:
        """Whose a use is; a user's scope is a digest, so that the trail of an action has to say."""
        kind, _, name = use.scope.partition(" ")
        if use.scope in names:
            return names[use.scope]
        if kind != "user" or use.latest is None:
            return name if kind == "agent" else tenant if kind == "tenant" else ""
        trail = await self._store.read(StreamName(tenant, *use.latest))
        return next((event.envelope.on_behalf_of for event in trail if event.envelope.on_behalf_of), name[:12])


def _view(use: Use, whom: str) -> LimitUse:
    limit = use.limit
    return LimitUse(
        policy=limit.policy,
        counts=limit.counts,
        most=limit.most,
        per=limit.per,
        within=limit.within,
        why=limit.why,
        whom=whom,
        window=use.window,
        used=use.used,
        reserved=use.reserved,
        left=use.left,
        resets_s=use.resets_s,
    )
