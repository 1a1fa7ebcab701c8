"""What a run token is asked for: by whom, for whom, in which run, and no more than what. Pure."""

from dataclasses import dataclass

from dominie_contracts import Invalid, RunClaims
from dominie_contracts.digests import digest_bytes
from dominie_contracts.identity import Registered
from dominie_contracts.plans import Plan
from dominie_contracts.runs import Basis, ExchangeRun, MintRunToken, RunGranted, RunOpened
from dominie_contracts.token import Ceiling, Grants, RequestFrom, SubjectClaims
from dominie_identity.runs.authority import Authority, said

_ID_CHARS = 32


@dataclass(frozen=True, slots=True)
class Asking:
    """One question for a run token."""

    agent: Registered
    user: str
    run: str
    session: str | None = None
    request_digest: str | None = None
    request: str | None = None
    request_from: RequestFrom | None = None
    plan_digest: str | None = None
    narrow: Grants | None = None
    max_cost_usd: float | None = None
    plan: Plan | None = None
    granted: RunGranted | None = None
    """What the user's own token says, where one is shown."""
    caller: RunClaims | None = None
    """Of the run that this one is to be part of."""

    @property
    def parents(self) -> tuple[str, ...]:
        """The runs that it is to be part of, the first one first."""
        return () if self.caller is None else (*self.caller.parents, self.caller.run)

    @property
    def _plan_run(self) -> str | None:
        """Whose plan it follows: its parts follow that of the first one together."""
        caller = self.caller
        return None if caller is None or caller.plan_digest is None else caller.plan_run or caller.run

    def opens(self, authority: Authority, basis: Basis, chain: tuple[str, ...], *, expires_s: int) -> RunOpened:
        """What is written if this is the first token of its run: what holds for all that follow."""
        own = () if self.max_cost_usd is None else (Ceiling(run=self.run, max_cost_usd=self.max_cost_usd),)
        return RunOpened(
            run=self.run,
            agent=self.agent.principal,
            user=self.user,
            session=self.session,
            request_digest=self.request_digest,
            request=self.request,
            request_from=self.request_from,
            plan_digest=self.plan_digest,
            plan=None if self.plan is None else self.plan.model_dump(mode="json"),
            plan_run=self._plan_run,
            grants=authority.grants,
            expires_s=expires_s,
            basis=basis,
            chain=chain,
            parents=self.parents,
            limit=self.narrow if self.caller is None else authority.grants,
            ceilings=own if self.caller is None else authority.own,
        )


def for_itself(agent: Registered, command: MintRunToken, shown: SubjectClaims | None, *, local: bool) -> Asking:
    """An agent asks for itself; `shown` is what the user signed for it. In `local` development its word is enough.

    Raises:
        Invalid: It names two plans, or two requests.
    """
    words = None if command.request is None else digest_bytes(command.request.encode())
    requests = {digest for digest in (words, command.request_digest, shown and shown.request_digest) if digest}
    if len(requests) > 1:
        raise Invalid("the user signed for another request: the digests that are given differ")
    plan = command.plan or (shown.plan if shown else None)
    digests = {digest for digest in (command.plan_digest, plan and plan.digest, _digest_of(shown)) if digest}
    if len(digests) > 1:
        raise Invalid("a run has one plan: the digests of those that are given differ")
    return Asking(
        agent,
        command.user,
        command.run,
        session=command.session,
        request_digest=next(iter(requests), None),
        request=command.request,
        request_from=_request_from(shown, local=local) if requests else None,
        plan_digest=next(iter(digests), None),
        plan=plan,
        narrow=command.narrow,
        max_cost_usd=command.max_cost_usd,
        granted=_granted(shown) if shown else None,
    )


def through(agent: Registered, command: ExchangeRun, caller: RunClaims) -> Asking:
    """An agent asks for another one, which acts on behalf of its run.

    The part's id is made from both names: who hands on takes no run that another agent has, or is to have.
    """
    return Asking(
        agent,
        caller.sub,
        digest_bytes(f"{caller.run}\0{command.run}".encode())[:_ID_CHARS],
        session=command.session,
        narrow=command.narrow,
        max_cost_usd=command.max_cost_usd,
        plan_digest=caller.plan_digest,
        caller=caller,
    )


def _request_from(shown: SubjectClaims | None, *, local: bool) -> RequestFrom:
    """Whoever opens a run gives its text, so without the user's signature it may be what the agent read somewhere."""
    return "user" if local or (shown is not None and shown.request_digest) else "agent"


def _digest_of(shown: SubjectClaims | None) -> str | None:
    return shown.plan.digest if shown and shown.plan else None


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
