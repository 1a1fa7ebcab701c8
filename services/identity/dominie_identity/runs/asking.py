"""What a run token is asked for: by whom, for whom, in which run, and no more than what. Pure."""

from dataclasses import dataclass

from dominie_contracts import RunClaims
from dominie_contracts.identity import Basis, ExchangeRun, MintRunToken, Registered, RunGranted, RunOpened
from dominie_contracts.token import Ceiling, Grants, SubjectClaims
from dominie_identity.runs.authority import Authority, said


@dataclass(frozen=True, slots=True)
class Asking:
    """One question for a run token."""

    agent: Registered
    user: str
    run: str
    session: str | None = None
    request_digest: str | None = None
    plan_digest: str | None = None
    narrow: Grants | None = None
    max_cost_usd: float | None = None
    granted: RunGranted | None = None
    """What the user's own token says, where one is shown."""
    caller: RunClaims | None = None
    """Of the run that this one is to be part of."""

    @property
    def parents(self) -> tuple[str, ...]:
        """The runs that it is to be part of, the first one first."""
        return () if self.caller is None else (*self.caller.parents, self.caller.run)

    def opens(self, authority: Authority, basis: Basis, chain: tuple[str, ...], *, expires_s: int) -> RunOpened:
        """What is written if this is the first token of its run: what holds for all that follow."""
        own = () if self.max_cost_usd is None else (Ceiling(run=self.run, max_cost_usd=self.max_cost_usd),)
        return RunOpened(
            run=self.run,
            agent=self.agent.principal,
            user=self.user,
            session=self.session,
            request_digest=self.request_digest,
            plan_digest=self.plan_digest,
            grants=authority.grants,
            expires_s=expires_s,
            basis=basis,
            chain=chain,
            parents=self.parents,
            limit=self.narrow if self.caller is None else authority.grants,
            ceilings=own if self.caller is None else authority.ceilings,
        )


def for_itself(agent: Registered, command: MintRunToken, shown: SubjectClaims | None) -> Asking:
    """An agent asks for itself; `shown` is what the user signed for it."""
    return Asking(
        agent,
        command.user,
        command.run,
        session=command.session,
        request_digest=command.request_digest or (shown.request_digest if shown else None),
        plan_digest=command.plan_digest,
        narrow=command.narrow,
        max_cost_usd=command.max_cost_usd,
        granted=_granted(shown) if shown else None,
    )


def through(agent: Registered, command: ExchangeRun, caller: RunClaims) -> Asking:
    """An agent asks for another one, which acts on behalf of its run."""
    return Asking(
        agent,
        caller.sub,
        command.run,
        session=command.session,
        narrow=command.narrow,
        max_cost_usd=command.max_cost_usd,
        caller=caller,
    )


def _granted(shown: SubjectClaims) -> RunGranted:
    grants, max_cost_usd = said(shown.authorization_details, shown.run)
    return RunGranted(
        run=shown.run,
        agent=shown.may_act.sub,
        user=shown.sub,
        jti=shown.jti,
        grants=grants,
        ceilings=() if max_cost_usd is None else (Ceiling(run=shown.run, max_cost_usd=max_cost_usd),),
        until_s=shown.until_s,
    )
