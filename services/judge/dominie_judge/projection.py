"""What the log says of a run's deeds: the amounts of its tool calls that came true.

A call's amount is the one that its decision was asked about: the tool service sums it from the arguments with the
role `amount`, by the tool's schema of that moment, and it is on the record even for a tool that nobody registered.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import JsonValue

from dominie_contracts import Recorded, StreamName
from dominie_contracts.action import Decided, Finished
from dominie_contracts.registry import parse_event
from dominie_contracts.tool import TOOL
from dominie_eventstore import EventStore, InMemory

MAX_RUNS = 10_000
"""The runs that were active last. One that was forgotten has done nothing: its promises are held, not believed."""


class Deeds(InMemory):
    """A projection of the notes on calls that move an amount; how each went is read from its own trail."""

    def __init__(self, store: EventStore, *, max_runs: int = MAX_RUNS) -> None:
        self.position = 0
        self._store = store
        self._max_runs = max_runs
        self._runs: OrderedDict[tuple[str, str], list[str]] = OrderedDict()
        """The calls of each, in the order of their notes."""

    def apply(self, event: Recorded) -> None:
        """Take in a note."""
        self.position = event.position
        run = (event.envelope.tenant, event.envelope.correlation_id or "")
        self._runs.setdefault(run, []).append(StreamName.parse(event.stream).id)
        self._runs.move_to_end(run)
        if len(self._runs) > self._max_runs:
            self._runs.popitem(last=False)

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)(self._store, max_runs=self._max_runs)

    async def done(self, tenant: str, run: str) -> tuple[int, ...]:
        """The amounts of a run's calls that came true, in minor units, in order.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        calls = self._runs.get((tenant, run), ())
        trails = await asyncio.gather(*(self._store.read(StreamName(tenant, TOOL, call)) for call in calls))
        return tuple(amount for amount in map(_deed, trails) if amount)


def _deed(trail: Iterable[Recorded]) -> int:
    """The amount that a call moved, as it was last decided on; 0 if it moved none."""
    amount, done = 0, False
    for event in trail:
        match parse_event(event.type, event.envelope.data):
            case Decided() as decided:
                amount = _amount(decided.request.get("context"))
            case Finished() as finished:
                done = finished.outcome == "ok"
            case _:
                pass
    return amount if done else 0


def _amount(context: JsonValue) -> int:
    """The amount a call moves; what only reads moves none."""
    asked: Mapping[str, JsonValue] = context if isinstance(context, dict) else {}
    amount = asked.get("amount")
    return amount if isinstance(amount, int) and asked.get("effect") != "read" else 0
