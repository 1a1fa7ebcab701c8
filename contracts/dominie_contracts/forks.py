"""What the record of a run holds next for a run that was forked from it. Pure.

Order is that of causes: an action may be asked for once everything has been asked for that had ended, in the record,
before it was requested. So steps that were taken in parallel may come in any order, and nothing else may.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dominie_contracts.action import Finished, Requested
from dominie_contracts.audit import AskRecord, Entry
from dominie_contracts.digests import digest_json, is_nested
from dominie_contracts.endorsing import ENDORSEMENT
from dominie_contracts.problems import PROBLEM_BASE, Diverged
from dominie_contracts.registry import parse_event
from dominie_contracts.subjects import StreamName
from dominie_contracts.summary import signature

Asked = tuple[str, str | None, str]
"""Command, resource, and the digest of the arguments."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Past:
    """An action that had ended: where its events are, and what it asked for."""

    stream: str
    asked: Asked
    call: str
    requested: int
    finished: int
    nested: bool
    """Another action made it: it is served where that one runs again, and not waited for."""


@dataclass(slots=True)
class Fork:
    """How far a fork has come."""

    left: list[Past]
    """What was not yet asked for, in the order of the record."""
    given: dict[str, Past] = field(default_factory=dict)
    """What each of the fork's own actions was served from."""
    stopped: str | None = None

    def next(self, ask: AskRecord) -> Past | None:
        """What to serve; None where the record is used up.

        Raises:
            Diverged: The record holds something else next, or did before.
        """
        if ask.action in self.given:
            return self.given[ask.action]
        if self.stopped is not None:
            raise Diverged(f"this fork has stopped: {self.stopped}", asked=ask.call, expected=[])
        found = self._find((ask.command, ask.resource, ask.arguments))
        if found is not None:
            self.left.remove(found)
            self.given[ask.action] = found
            return found
        if any(not past.nested for past in self.left):
            raise self._diverged(ask.call)
        return None

    def _find(self, asked: Asked) -> Past | None:
        fitting = [past for past in self._next() if past.asked == asked]
        nested = [past for past in self.left if past.nested and past.asked == asked]
        return next(iter((*fitting, *nested)), None)

    def _next(self) -> list[Past]:
        waiting = [past for past in self.left if not past.nested]
        first_end = min((past.finished for past in waiting), default=0)
        return [past for past in waiting if past.requested < first_end]

    def _diverged(self, call: str) -> Diverged:
        expected = [past.call for past in self._next()]
        words = " or ".join(expected[:_SHOWN]) + (" or …" if len(expected) > _SHOWN else "")
        self.stopped = f"it asked for {call} where the record holds {words}"
        return Diverged(
            f"the program asked for {call}, and the record holds {words}",
            asked=call,
            expected=expected,
            positions=[past.requested for past in self._next()],
        )


def record(entries: Iterable[Entry], *, before: int) -> list[Past]:
    """The actions of a run that had ended before a position, in the order in which they were asked for.

    What people say of its data is none of the program's, which does not ask for it again.
    """
    requests: dict[str, tuple[int, Requested]] = {}
    found: list[Past] = []
    for entry in entries:
        payload = parse_event(entry.type, entry.data) if entry.position < before else None
        if isinstance(payload, Requested) and StreamName.parse(entry.stream).category != ENDORSEMENT:
            requests[entry.stream] = entry.position, payload
        elif isinstance(payload, Finished) and entry.stream in requests:
            found.append(_past(entry, *requests[entry.stream]))
    return sorted(found, key=lambda past: past.requested)


def resume(past: list[Past], entries: Iterable[Entry]) -> Fork:
    """How far a fork has come, from its own events so far."""
    fork = Fork(list(past))
    by_position = {each.finished: each for each in past}
    for entry in entries:
        payload = parse_event(entry.type, entry.data)
        if not isinstance(payload, Finished):
            continue
        served = by_position.get(payload.served_from or 0)
        if served is not None and served in fork.left:
            fork.left.remove(served)
            fork.given[StreamName.parse(entry.stream).id] = served
        elif payload.problem is not None and payload.problem.type == PROBLEM_BASE + Diverged.type:
            fork.stopped = payload.problem.detail
    return fork


def _past(entry: Entry, position: int, asked: Requested) -> Past:
    return Past(
        stream=entry.stream,
        asked=(asked.command, asked.resource, digest_json(asked.arguments)),
        call=signature(asked.command, asked.resource, asked.arguments),
        requested=position,
        finished=entry.position,
        nested=is_nested(asked.key),
    )
