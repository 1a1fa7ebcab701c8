"""What the log says of a run's deeds: the amounts of its tool calls that came true.

A call's amount is the one that its decision was asked about: the tool service sums it from the arguments with the
role `amount`, by the tool's schema of that moment, and it is on the record even for a tool that nobody registered.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from dominie_contracts import Recorded
from dominie_contracts.action import Decided, Finished
from dominie_contracts.registry import parse_event

MAX_RUNS = 10_000
"""The runs that were active last. One that was forgotten has done nothing: its promises are held, not believed."""


@dataclass(slots=True)
class Deed:
    """One tool call that moves an amount, in minor units."""

    amount: int
    done: bool = False


class Deeds:
    """A projection of the category `tool`."""

    def __init__(self, *, max_runs: int = MAX_RUNS) -> None:
        self.position = 0
        self._max_runs = max_runs
        self._runs: OrderedDict[tuple[str, str], dict[str, Deed]] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        envelope = event.envelope
        run = (envelope.tenant, envelope.correlation_id or "")
        match parse_event(envelope.type, envelope.data):
            case Decided() as decided:
                amount = _amount(decided.request.get("context"))
                if amount:
                    self._deeds(run).setdefault(envelope.stream, Deed(amount)).amount = amount
            case Finished() as finished:
                deed = self._runs.get(run, {}).get(envelope.stream)
                if deed is not None:
                    deed.done = finished.outcome == "ok"
            case _:
                pass

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position = 0
        self._runs.clear()

    def done(self, tenant: str, run: str) -> tuple[int, ...]:
        """The amounts of a run's calls that came true, in minor units, in order."""
        return tuple(deed.amount for deed in self._runs.get((tenant, run), {}).values() if deed.done)

    def _deeds(self, run: tuple[str, str]) -> dict[str, Deed]:
        deeds = self._runs.setdefault(run, {})
        self._runs.move_to_end(run)
        if len(self._runs) > self._max_runs:
            self._runs.popitem(last=False)
        return deeds


def _amount(context: JsonValue) -> int:
    """The amount a call moves; what only reads moves none."""
    asked: Mapping[str, JsonValue] = context if isinstance(context, dict) else {}
    amount = asked.get("amount")
    return amount if isinstance(amount, int) and asked.get("effect") != "read" else 0
