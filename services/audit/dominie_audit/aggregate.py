"""What an auditor sees: who may look, an event as an entry, a run in a line. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import AwareDatetime, TypeAdapter

from dominie_contracts import Forbidden, Recorded
from dominie_contracts.action import Parked
from dominie_contracts.approvals import USER
from dominie_contracts.audit import Entries, Entry, RunView
from dominie_contracts.line import Step, run_status
from dominie_contracts.registry import parse_event
from dominie_contracts.rights import AUDITORS, DEVELOPERS, PRIVACY
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.summary import summarise

_TIME: TypeAdapter[AwareDatetime] = TypeAdapter(AwareDatetime)


@dataclass(frozen=True, slots=True)
class Row:
    """One event as the read model keeps it."""

    position: int
    stream: str
    version: int
    type: str
    time: str
    agent: str
    user: str | None
    run: str | None
    event: Recorded

    @property
    def raw(self) -> bytes:
        """The event as it is stored."""
        return self.event.raw

    @property
    def entry(self) -> Entry:
        """The event in words."""
        data = self.event.envelope.data
        return Entry(
            position=self.position,
            stream=self.stream,
            version=self.version,
            type=self.type,
            time=self.time,
            agent=self.agent,
            user=self.user,
            run=self.run,
            summary=summarise(self.type, data, at=_TIME.validate_python(self.time)),
            data=data,
        )


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as the read model keeps it."""

    run: str
    agent: str
    user: str | None
    started: str
    last: str
    events: int
    cost_usd: float


def tenants_seen(tenant: str) -> tuple[str, str]:
    """Whose events a caller of this tenant sees: their own, and the platform's (policies, models)."""
    return tenant, PLATFORM


def check_reader(principal: str, groups: Sequence[str]) -> None:
    """Let developers and auditors in.

    Raises:
        Forbidden: The caller is neither.
    """
    if not {DEVELOPERS, AUDITORS} & set(groups):
        raise Forbidden(f"{principal} is neither in {DEVELOPERS!r} nor in {AUDITORS!r}: ask the operator for a group")


def asks_of(event: Recorded, principal: str, groups: Sequence[str]) -> bool:
    """Whether an event asks this person for a yes: one of their groups, or them, in whose name it would be."""
    if not event.type.endswith(f".{Parked.KIND}"):
        return False
    parked = parse_event(event.type, event.envelope.data)
    if not isinstance(parked, Parked):
        return False
    own = event.envelope.on_behalf_of == principal
    return any(own if ask.group == USER else ask.group in groups for ask in parked.asks)


def check_eraser(principal: str, groups: Sequence[str]) -> None:
    """Let those in who may erase people.

    Raises:
        Forbidden: The caller may not.
    """
    if PRIVACY not in groups:
        raise Forbidden(f"{principal} is not in {PRIVACY!r}: ask the operator for the group")


def entries(rows: Sequence[Row], *, more: bool, max_bytes: int) -> Entries:
    """Rows as a reply, as many as fit into it; at least one."""
    found: list[Entry] = []
    left = max_bytes
    for row in rows:
        entry = row.entry
        left -= len(entry.model_dump_json().encode())
        if left < 0 and found:
            more = True
            break
        found.append(entry)
    return Entries(entries=tuple(found), truncated=more)


def view(row: RunRow, steps: Iterable[Step]) -> RunView:
    """A run in a line, with how it stands."""
    return RunView(
        run=row.run,
        agent=row.agent,
        user=row.user,
        started=row.started,
        last=row.last,
        events=row.events,
        cost_usd=row.cost_usd,
        status=run_status(steps),
    )
