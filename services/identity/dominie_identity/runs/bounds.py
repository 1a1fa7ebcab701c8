"""Why an agent may act for a user in a run, and what that allows: asked anew for each run token."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from dominie_contracts import Conflict, Forbidden, Invalid, RunClaims
from dominie_contracts.identity import Registered
from dominie_contracts.runs import Basis, RunGranted
from dominie_contracts.subjects import check_principal
from dominie_contracts.token import Ceiling, Grants
from dominie_identity.aggregate import acts_for, service_user
from dominie_identity.projection import Principals
from dominie_identity.runs.aggregate import Run
from dominie_identity.runs.asking import Asking
from dominie_identity.runs.authority import Authority

Found = tuple[Authority, Basis]


class Bounds:
    """Looks at what stands: registrations, delegations, what users signed, and the runs that a run is part of."""

    def __init__(self, principals: Principals, load: Callable[[str, str], Awaitable[Run]], *, local: bool) -> None:
        self._principals = principals
        self._load = load
        self._local = local

    async def of(self, asking: Asking, run: Run, *, now_s: int) -> Found:
        """The most that the run may do now, and why.

        Raises:
            Forbidden: Nobody lets it, or no more.
            Conflict: A user's token was shown for a part of another run.
            Invalid: The user is no person.
        """
        self._check(asking)
        authority, basis = await self._found(asking, run, now_s)
        authority = authority.within(asking.agent.grants)
        if run.opened is None:
            return authority, basis
        authority = authority.below(run.opened.limit, run.opened.ceilings).widened(asking.run, run.widened)
        return authority.within(asking.agent.grants), basis

    def _check(self, asking: Asking) -> None:
        tenant, agent, user = asking.agent.tenant, asking.agent.principal, asking.user
        for principal in (agent, user):
            if (suspended := self._principals.suspension(tenant, principal)) is not None:
                raise Forbidden(suspended.words)
        if not agent.startswith("a-"):
            raise Forbidden(f"only an agent acts for a user, not {agent}")
        if not check_principal(user).startswith("u-"):
            raise Invalid(f"{user!r} is no person (u-NAME)")
        if self._principals.is_revoked(tenant, user):
            raise Forbidden(f"{user} has been revoked")
        if self._principals.has_ended(tenant, agent, asking.run):
            raise Forbidden(f"run {asking.run!r} was ended; begin another")

    async def _found(self, asking: Asking, run: Run, now_s: int) -> Found:
        part = run.opened is not None and bool(run.opened.parents)
        if asking.granted is not None and asking.granted.jti not in run.shown:
            if part:
                raise Conflict(f"run {asking.run!r} is part of another one; the user's token is for that one")
            return _granted(asking.granted, now_s)
        if run.granted is not None:
            return _granted(run.granted, now_s)
        if asking.caller is not None:
            return await self._handed(asking.agent.tenant, asking.caller, asking.narrow, now_s), "exchange"
        if part:
            return await self._through(asking.agent.tenant, run, now_s), "exchange"
        return self._let(asking.agent, asking, now_s)

    async def _handed(self, tenant: str, caller: RunClaims, narrow: Grants | None, now_s: int) -> Authority:
        """What a run hands on: all that its token says and that it still may, however often it is handed on.

        What people allowed it alone only where that is named.
        """
        run, agent = await self._load(tenant, caller.run), self._principals.find(tenant, caller.agent)
        if agent is None:
            raise Forbidden(f"{caller.agent} stands no more")
        stands, _ = await self.of(Asking(agent, caller.sub, caller.run), run, now_s=now_s)
        authority = replace(stands.below(caller.grants, caller.ceilings), shared=stands.ceilings)
        return authority if narrow is not None else authority.without(run.widened)

    async def _through(self, tenant: str, run: Run, now_s: int) -> Authority:
        """What the run that this one is part of may do now."""
        assert run.opened is not None
        parent = await self._load(tenant, run.opened.parents[-1])
        agent = self._principals.find(tenant, parent.opened.agent) if parent.opened else None
        if agent is None or parent.opened is None:
            raise Forbidden(f"run {run.opened.run!r} is part of one whose agent stands no more")
        authority, _ = await self.of(Asking(agent, parent.opened.user, parent.opened.run), parent, now_s=now_s)
        return authority

    def _let(self, agent: Registered, asking: Asking, now_s: int) -> Found:
        """What lets it act that is not bound to a run: a person's own word, or what others say until there is one."""
        user = asking.user
        if user == service_user(agent.principal):
            return Authority(agent.grants), "service"
        delegated = self._principals.delegation(agent.tenant, user, agent.principal, now_s=now_s)
        if delegated is not None:
            usd = delegated.max_cost_usd
            ceilings = () if usd is None else (Ceiling(run=asking.run, max_cost_usd=usd),)
            return Authority(delegated.grants, ceilings, until_s=delegated.expires_s), "delegation"
        if acts_for(agent, user, local=False) and not self._principals.has_spoken(agent.tenant, user, agent.principal):
            return Authority(agent.grants), "registration"
        if self._local:
            return Authority(agent.grants), "asserted"
        raise Forbidden(f"{user} has not let {agent.principal} act for them: `dominie delegate {agent.principal[2:]}`")


def _granted(granted: RunGranted, now_s: int) -> Found:
    if granted.until_s <= now_s:
        raise Forbidden(f"{granted.user} let {granted.agent} act in run {granted.run!r} for a time, and it is over")
    return Authority(granted.grants, granted.ceilings, until_s=granted.until_s), "subject-token"
