"""What runs were given, as one label each: of the outcomes of their actions, as these say it themselves.

Nothing is opened for it. A run that had to be let go counts as given anything.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel

from dominie_contracts import Recorded, StreamName
from dominie_contracts.action import Finished
from dominie_contracts.identity import RUN
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.provenance import NOTHING, Label, join
from dominie_contracts.runs import RunOpened
from dominie_contracts.seen import LOST, of_problem
from dominie_contracts.tool import TOOL
from dominie_eventstore import InMemory
from dominie_kit.context import Context
from dominie_kit.governed.families import Families
from dominie_kit.service import Service

_RUNS, _LOST = 20_000, 100_000


class _Problem(BaseModel):
    type: str


class _Outcome(BaseModel):
    label: Label | None = None
    problem: _Problem | None = None


class _Told(BaseModel):
    """What is needed of the event `Finished`."""

    tenant: str
    correlationid: str | None = None
    data: _Outcome


class Given(InMemory):
    """The label of all that each run was given by one category of actions."""

    def __init__(self, *, runs: int = _RUNS) -> None:
        self.position = 0
        self._most = runs
        self._runs: OrderedDict[tuple[str, str], Label] = OrderedDict()
        self._lost: OrderedDict[tuple[str, str], None] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if not event.type.endswith(f".{Finished.KIND}"):
            return
        told = _Told.model_validate_json(event.raw)
        run = told.tenant, told.correlationid or ""
        if told.correlationid is None or run in self._lost:
            return
        self._runs[run] = join((self._runs.get(run, NOTHING), _label(event, told.data)))
        self._runs.move_to_end(run)
        if len(self._runs) > self._most:
            gone, _ = self._runs.popitem(last=False)
            self._lost[gone] = None
        if len(self._lost) > _LOST:
            self._lost.popitem(last=False)

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)(runs=self._most)

    def of(self, tenant: str, run: str | None) -> Label:
        """What a run was given so far; `NOTHING` where that is so."""
        key = tenant, run or ""
        return LOST if key in self._lost else self._runs.get(key, NOTHING)


def _label(event: Recorded, outcome: _Outcome) -> Label:
    name = StreamName.parse(event.stream)
    source = f"{name.category}:{name.id}"
    if outcome.problem is not None:
        return of_problem(outcome.problem.type, source)
    if outcome.label is None:
        return Label(integrity="untrusted", sources=(source,))
    return outcome.label.model_copy(update={"sources": (source,)})


class Provenance:
    """What the runs of a family were given together, by tools, models and memory."""

    def __init__(self) -> None:
        self.given = {category: Given() for category in (TOOL, MODEL, MEMORY)}
        self.families = Families()

    def follow(self, service: Service) -> None:
        """Keep it up to date."""
        for category, each in self.given.items():
            service.follow(each, category, name=f"given_{category}", takes=(Finished,))
        service.follow(self.families, RUN, takes=(RunOpened,))

    def family(self, context: Context) -> tuple[str, ...] | None:
        """A command's run, and those that share what they were given with it; None: nobody knows which."""
        return None if context.claims is None else self.families.of(context.claims)

    def of(self, context: Context, categories: Sequence[str] = (TOOL, MODEL, MEMORY)) -> Label:
        """Of all of these runs."""
        runs = self.family(context)
        if runs is None:
            return LOST
        return join(self.given[category].of(context.tenant, run) for run in runs for category in categories)
