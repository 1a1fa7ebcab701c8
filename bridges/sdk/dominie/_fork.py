"""Makes a run again: its record up to an event, then live, under another policy or model."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dominie._again import FORK, Again
from dominie._exec import TIMEOUT_S, supervise, surroundings
from dominie._project import Project
from dominie._sync import Client
from dominie._trail import whole_trail
from dominie_contracts import Diverged, Invalid, Message
from dominie_contracts.action import Finished, Requested
from dominie_contracts.audit import Entry
from dominie_contracts.guardrail import PolicyFile, Proposed, ProposePolicies
from dominie_contracts.model import ListModels, Models
from dominie_contracts.problems import PROBLEM_BASE, ProblemDetails
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import Forked, ForkRun
from dominie_contracts.token import Fork


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to make again, and how."""

    run: str
    at: int
    """The event from which on it is made anew, as `dominie replay` numbers them; one more than the last: none is."""
    policies: Path | None = None
    model: str | None = None


class Made(Message):
    """What came of it."""

    run: str
    """The parent."""
    at: int
    fork: str
    policies: str | None
    """The digest of the proposed policies."""
    model: str | None
    exit_code: int
    """The program's."""
    served: int
    """Actions that were taken from the record."""
    live: int
    opened: bool
    """Whether the program has opened the run at all."""
    diverged: ProblemDetails | None


def make_again(wanted: Wanted, command: Sequence[str], *, quiet: bool) -> Made:
    """Fork a run and run its program in the fork; with `quiet`, what that prints goes to standard error.

    Raises:
        Problem: There is no such run or event, or it may not be forked so.
    """
    project = Project.find()
    with Client(credentials=project.developer_credentials(), timeout_s=TIMEOUT_S) as developer:
        fork = _fork(developer, wanted)
        forked = developer.ask(ForkRun(fork=fork), Forked)
    if not project.seed_path(forked.agent).exists():
        raise Invalid(f"the key of {forked.agent} is not in this project, so nothing here can run as it")
    code = supervise(
        command,
        _environment(project, forked),
        folder=project.folder,
        principal=forked.agent,
        stdout=sys.stderr.fileno() if quiet else None,
    )
    with Client(credentials=project.developer_credentials(), timeout_s=TIMEOUT_S) as developer:
        entries = whole_trail(developer, forked.run)
    return _made(wanted, fork, forked.run, code, entries)


def _fork(developer: Client, wanted: Wanted) -> Fork:
    entries = whole_trail(developer, wanted.run)
    if not 1 <= wanted.at <= len(entries) + 1:
        raise Invalid(
            f"the run {wanted.run!r} has {len(entries)} events; fork it at 1 to {len(entries) + 1}, not {wanted.at}",
            events=len(entries),
        )
    if wanted.model is not None:
        offered = [offer.name for offer in developer.ask(ListModels(), Models).models]
        if wanted.model not in offered:
            raise Invalid(f"no model {wanted.model!r} is offered; there are: {', '.join(offered)}", models=offered)
    at = entries[wanted.at - 1].position if wanted.at <= len(entries) else entries[-1].position + 1
    fork = Fork(run=wanted.run, at=at, model=wanted.model)
    if wanted.policies is None:
        return fork
    proposed = developer.ask(ProposePolicies(files=_read(wanted.policies)), Proposed)
    return fork.model_copy(update={"policies": proposed.digest, "policies_at": proposed.position})


def _read(folder: Path) -> tuple[PolicyFile, ...]:
    try:
        files = tuple(PolicyFile(name=path.name, text=path.read_text()) for path in sorted(folder.glob("*.cedar")))
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{str(folder)!r} cannot be read: {error}") from error
    if not files:
        raise Invalid(f"{str(folder)!r} holds no policies: name a folder with files that end in .cedar")
    return files


def _environment(project: Project, forked: Forked) -> dict[str, str]:
    """As of every program that is run as an agent, but with no API key: what goes by HTTP is not made again."""
    given = surroundings(project, forked.agent, forked.user, None)
    if project.gateway_url is not None:
        given |= {"OPENAI_BASE_URL": f"{project.gateway_url}/v1", "OPENAI_API_KEY": "a-fork-has-none"}
    return given | {FORK: Again(of=forked.root, run=forked.run).model_dump_json()}


def _made(wanted: Wanted, fork: Fork, run: str, code: int, entries: Iterable[Entry]) -> Made:
    served, live, opened, diverged = 0, set[str](), False, None
    for entry in entries:
        if entry.type.startswith("run."):
            opened = opened or entry.type.startswith("run.renewed")
            continue
        payload = parse_event(entry.type, entry.data)
        if isinstance(payload, Requested):
            live.add(entry.stream)
        if not isinstance(payload, Finished):
            continue
        stopped = payload.problem is not None and payload.problem.type == PROBLEM_BASE + Diverged.type
        if stopped or payload.served_from is not None:
            live.discard(entry.stream)
        served += payload.served_from is not None
        diverged = diverged or (payload.problem if stopped else None)
    return Made(
        run=wanted.run,
        at=wanted.at,
        fork=run,
        policies=fork.policies,
        model=fork.model,
        exit_code=code,
        served=served,
        live=len(live),
        opened=opened,
        diverged=diverged,
    )
