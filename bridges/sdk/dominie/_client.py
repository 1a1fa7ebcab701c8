"""The client: one principal's link to the house, and the runs made over it."""

import uuid
from types import TracebackType
from typing import Literal, Self, TypeVar

from dominie._again import Again
from dominie._ask import Question, ask
from dominie._config import Identity, as_user, find
from dominie._credentials import Credentials
from dominie._link import Link
from dominie._local import LocalOutcomes
from dominie._planning import plan_of
from dominie._register import make_link
from dominie._run import AsyncRun
from dominie.answers import sign_answer
from dominie_contracts import Command, Diverged, Invalid, Message
from dominie_contracts.action import Ask
from dominie_contracts.guardrail import Answered, Approvals, ApprovalView, Approve, ListApprovals
from dominie_contracts.plans import Plan
from dominie_contracts.runs import MintRunToken

R = TypeVar("R", bound=Message)
TIMEOUT_S = 60.0


class AsyncClient:
    """An agent's client; it connects when it is first used, and `async with` (or `aclose`) closes it.

    Without arguments it is configured by `DOMINIE_*` in the environment, else by the nearest `.dominie` upwards
    from the working folder, where it registers itself under its script's name.

    Args:
        agent: Its name, where it is not the script's.
        credentials: Who it is, where nothing is to be looked up.
        timeout_s: How long a command may take that says nothing else.
    """

    def __init__(
        self, agent: str | None = None, *, credentials: Credentials | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.timeout_s = timeout_s
        self._identity = find("a", agent) if credentials is None else Identity(credentials)
        self._outcomes = LocalOutcomes()
        self._again = Again.find()
        self._opened = False
        self._link: Link | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def credentials(self) -> Credentials:
        """Who this is."""
        return self._identity.credentials

    @property
    def agent(self) -> str:
        """This principal: `a-NAME`."""
        return self.credentials.principal

    @property
    def tenant(self) -> str:
        """The tenant it belongs to."""
        return self.credentials.tenant

    async def open(self) -> None:
        """Connect now rather than at the first command.

        Raises:
            Unauthenticated: The broker refuses who this is.
            Unavailable: No connection in time.
        """
        await self._started().ready(self.timeout_s)

    async def aclose(self) -> None:
        """Close the connection; using the client again opens another."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def run(
        self,
        user: str | None = None,
        *,
        session: str | None = None,
        id: str | None = None,
        request: str | None = None,
        plan: Plan | None = None,
        max_cost_usd: float | None = None,
        subject_token: str | None = None,
        timeout_s: float | None = None,
    ) -> AsyncRun:
        """Begin a run, or take one up again.

        Args:
            user: On whose behalf, as `"dana"`; None: the developer, or `DOMINIE_USER`.
            session: The conversation that it belongs to.
            id: The run's id; a restarted agent that gives the same one repeats nothing. None: a new one.
            request: What the user asked, word for word: the run is bound to it, and if they signed for it (or locally),
                what stands there is the user's.
            plan: Which tools, how often, with which arguments fixed; the run is held to it.
            max_cost_usd: What the run may spend on models, with all that is handed on.
            subject_token: What the user signed for this run (`dominie agent token`).
            timeout_s: How long each step may take that says nothing else.

        Raises:
            Invalid: Nobody is named to act for.
            Diverged: Under `dominie fork`, it is another run than the one that is made again.
        """
        whom = as_user(user) if user else self.credentials.user
        if whom is None:
            raise Invalid("on whose behalf? give run(user=…) or set DOMINIE_USER")
        mint = MintRunToken(
            user=whom,
            run=self._run_id(id),
            session=session,
            request=request,
            plan=plan,
            max_cost_usd=max_cost_usd,
            subject_token=subject_token,
        )
        return AsyncRun(
            self._started(), self._outcomes, mint, timeout_s=self.timeout_s if timeout_s is None else timeout_s
        )

    async def plan(
        self,
        request: str,
        user: str | None = None,
        *,
        model: str = "auto",
        id: str | None = None,
        max_cost_usd: float | None = None,
        subject_token: str | None = None,
        timeout_s: float | None = None,
    ) -> Plan:
        """Have a model write the plan for a request: from the request and the tools alone, never from data.

        It is planned in a run of its own, which is on the record; then `run(request=…, plan=…)` is held to it.

        Args:
            request: What the user asked.
            user: On whose behalf, as in `run`.
            model: One that the tenant offers.
            id: The planning run's id; a restarted agent that gives the same one gets the same plan. None: a new one.
            max_cost_usd: What planning may cost.
            subject_token: What the user signed for the planning run.
            timeout_s: How long each step of it may take.

        Raises:
            Invalid: There is nothing to plan for, or what the model wrote is no plan of tools that the run may call.
            Diverged: Under `dominie fork`: planning is a run of its own, and one run is made again.
            Problem: Refused, or no answer in time.
        """
        if self._again is not None:
            raise Diverged(f"the program has a run planned; only {self._again.of!r} is made again: give it its plan")
        planning = self.run(
            user,
            id=id,
            request=request,
            max_cost_usd=max_cost_usd,
            subject_token=subject_token,
            timeout_s=timeout_s,
        )
        async with planning as run:
            return await plan_of(run, request, model)

    async def ask(
        self,
        command: Command,
        reply: type[R],
        *,
        resource: str | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> R:
        """Send one command that needs no run (as a person or a tool worker does); its reply.

        Raises:
            Problem: Refused, or no answer in time.
        """
        question = Question(
            command=command,
            key=key or uuid.uuid4().hex,
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            resource=resource,
        )
        found, _ = await ask(self._started(), question, reply)
        return found

    async def approvals(self, *, everything: bool = False, action: str = "") -> tuple[ApprovalView, ...]:
        """What waits for people, as far as it concerns this person; the newest, as many as fit into one answer.

        Args:
            everything: What no longer waits, too.
            action: Only what has this id, or one that begins so. One alone comes with all its arguments.
        """
        command = ListApprovals(status="all" if everything else "pending", action=action)
        return (await self.ask(command, Approvals)).approvals

    async def approve(self, approval: ApprovalView, *, note: str = "") -> tuple[Ask, ...]:
        """Say yes to exactly this action, as it was shown, with this person's own key; who else has to say yes.

        Raises:
            Forbidden: This person may not.
            Invalid: Its arguments were left out of a list, so that nobody has seen them.
            Unauthenticated: The key was opened too long ago.
            Conflict: It was answered already, has expired, or is not what was shown.
        """
        return await self._answer(approval, "grant", note)

    async def deny(self, approval: ApprovalView, *, note: str = "") -> None:
        """Say no; raises as `approve`."""
        await self._answer(approval, "deny", note)

    async def _answer(self, approval: ApprovalView, decision: Literal["grant", "deny"], note: str) -> tuple[Ask, ...]:
        if not approval.whole:
            raise Invalid(f"its arguments were too large for a list: see approvals(action={approval.action!r}) first")
        shown, asks = (approval.action, approval.digest), [ask.key for ask in approval.asks]
        proof = sign_answer(self.credentials, *shown, asks, decision)
        command = Approve(action=shown[0], digest=shown[1], decision=decision, note=note, proof=proof)
        return (await self.ask(command, Answered)).left

    def _run_id(self, id: str | None) -> str:
        if self._again is None:
            return id or uuid.uuid4().hex
        found = self._again.instead_of(id, first=not self._opened)
        self._opened = True
        return found

    def _started(self) -> Link:
        if self._link is None or self._link.ended:
            self._link = make_link(self._identity)
        return self._link
