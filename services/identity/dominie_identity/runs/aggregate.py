"""Whom a run belongs to, what it was narrowed to, and until when it gets tokens. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from dominie_contracts.identity import Registered
from dominie_contracts.problems import Conflict, Forbidden, Invalid
from dominie_contracts.rights import DEVELOPERS, OPERATOR, OPERATORS
from dominie_contracts.runs import EndRun, RunEnded, RunGranted, RunOpened, RunRenewed, RunWidened
from dominie_contracts.token import Fork
from dominie_identity.aggregate import Caller, PrincipalEvent, State

RunEvent = RunOpened | RunRenewed | RunGranted | RunWidened


@dataclass(frozen=True, slots=True)
class Run:
    """One run: it belongs to one agent and one user."""

    opened: RunOpened | None = None
    granted: RunGranted | None = None
    """What the user's own token said last."""
    shown: tuple[str, ...] = ()
    """The ids of the user's tokens that were shown."""
    widened: tuple[RunWidened, ...] = ()
    version: int = 0


def decide_run(run: Run, wanted: RunOpened, granted: RunGranted | None = None, *, now_s: int) -> list[RunEvent]:
    """What is written when a run token is minted: `opened` for the first, `renewed` for each further one.

    Raises:
        Conflict: The run is another agent's or user's, part of another run, or was opened for another request.
        Forbidden: It was forked, and has ended.
        Invalid: It is opened with a plan that nobody has.
    """
    grants: list[RunEvent] = [] if granted is None or granted.jti in run.shown else [granted]
    opened = run.opened
    if opened is None:
        _check_plan(wanted)
        return [wanted, *grants]
    if (opened.agent, opened.user) != (wanted.agent, wanted.user):
        raise Conflict(f"run {wanted.run!r} belongs to another agent or user; use another run id")
    if wanted.parents not in ((), opened.parents):  # its own agent names none when it goes on
        raise Conflict(f"run {wanted.run!r} is not part of that run; use another run id")
    for bound in ("request_digest", "plan_digest"):
        if getattr(wanted, bound) not in (None, getattr(opened, bound)):
            raise Conflict(f"run {wanted.run!r} was opened with another {bound}; use another run id")
    if opened.fork is not None and now_s >= opened.expires_s:
        raise Forbidden(f"run {wanted.run!r} was forked, and its time is over; fork again")
    renewed = RunRenewed(run=wanted.run, agent=wanted.agent, user=wanted.user, expires_s=wanted.expires_s)
    return [*grants, renewed]


def decide_widened(run: Run, wanted: RunWidened) -> list[RunEvent]:
    """What is written when people have said yes to more: once for each action that asked."""
    return [] if any(each.action == wanted.action for each in run.widened) else [wanted]


def _check_plan(wanted: RunOpened) -> None:
    """A run is bound to a plan that can be read: its own, or that of the run which it is part of."""
    if wanted.plan_digest is not None and wanted.plan is None and wanted.plan_run is None:
        raise Invalid("a run is opened with its plan, not with the digest of one alone")


def decide_fork(
    parent: Run, fork: Fork, agent: Registered | None, caller: Caller, *, run: str, expires_s: int, local: bool = False
) -> RunOpened:
    """What is written when a run is forked: another run of the same agent for the same user, until a time.

    What it goes on with is real. So outside local development whoever forks under proposed policies needs the same
    group as whoever proposes them: they may have been proposed for something else.

    Raises:
        Invalid: There is no such run.
        Forbidden: The caller does not answer for its agent, or may not choose policies; or that may not act any more.
    """
    needed = (DEVELOPERS,) if local or fork.policies is None else (DEVELOPERS, OPERATORS)
    if missing := [group for group in needed if group not in caller.groups]:
        raise Forbidden(f"{caller.principal} is not in the group {missing[0]!r}")
    if parent.opened is None:
        raise Invalid(f"no run {fork.run!r} is on record; `dominie ps` shows the latest", run=fork.run)
    if agent is None:
        raise Forbidden(f"{parent.opened.agent} is not registered any more, or was revoked")
    if agent.sponsor != caller.principal:
        raise Forbidden(f"{agent.principal} is not yours: its sponsor is {agent.sponsor or OPERATOR}")
    line = parent.opened.fork
    if line is not None and parent.opened.plan_digest is not None:
        raise Invalid("a run with a plan is forked once: what its fork took of the plan is not counted further")
    fork = fork.model_copy(update={"root": line.root if line else fork.run})
    changed = {"run": run, "grants": agent.grants, "expires_s": expires_s, "fork": fork}
    if parent.opened.plan_digest is not None:
        changed["plan_run"] = parent.opened.plan_run or parent.opened.run
    return parent.opened.model_copy(update=changed)


def evolve_run(run: Run, event: RunEvent) -> Run:
    """The run after one more event."""
    run = replace(run, version=run.version + 1)
    match event:
        case RunOpened():
            return replace(run, opened=event)
        case RunGranted():
            return replace(run, granted=event, shown=(*run.shown, event.jti))
        case RunWidened():
            return replace(run, widened=(*run.widened, event))
        case RunRenewed():
            return run
        case _:
            assert_never(event)


def decide_end_run(state: State, opened: RunOpened | None, command: EndRun, caller: Caller) -> list[PrincipalEvent]:
    """What is written, in its agent's stream, when a run is ended; nothing where it was.

    Raises:
        Forbidden: The caller is neither its user nor its agent's sponsor, or there is no such run.
    """
    sponsor = state.registered.sponsor if state.registered else None
    if opened is None or caller.principal not in (opened.user, sponsor):
        raise Forbidden(f"only its user and its agent's sponsor end a run, and no run {command.run!r} is yours")
    ended = RunEnded(
        tenant=caller.tenant, principal=opened.agent, run=command.run, by=caller.principal, reason=command.reason[:500]
    )
    return [] if command.run in state.ended else [ended]
