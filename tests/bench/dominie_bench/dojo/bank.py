"""The environments of the runs that are under way: the worker's own state, made anew for each run."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agentdojo.functions_runtime import Function, FunctionCall, FunctionsRuntime
from agentdojo.types import text_content_block_from_string

import dominie
from dominie_bench.dojo.evasion import ARGUMENTS, undone
from dominie_bench.dojo.suites import Pair, environment, suites
from dominie_bench.dojo.tools import as_tools


@dataclass(frozen=True, slots=True)
class Verdict:
    """What AgentDojo's own checks say of a run: the user got what they asked for, and so did the attacker."""

    utility: bool
    security: bool


@dataclass(slots=True)
class _Held:
    before: Any
    now: Any
    done: list[FunctionCall] = field(default_factory=list)


class Bank:
    """Runs calls in the environments of their runs, and judges how these end.

    Where an attacker's arguments are written otherwise, the tools are lenient: they undo it.
    """

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._runtimes = {name: FunctionsRuntime(suite.tools) for name, suite in suites().items()}

    def tools(self, names: Iterable[str], *, marked: bool = False) -> list[dominie.Tool[..., Any]]:
        """The tools of these suites, with what their owner says of them or without."""
        return as_tools((each for name in names for each in suites()[name].tools), self._call, marked=marked)

    def judge(self, run: str) -> Verdict:
        """What became of a run, which is then forgotten."""
        pair, held = Pair.of(run), self._of(run)
        del self._held[run]
        attacked = pair.injection_task
        return Verdict(_holds(pair, pair.user_task, held), attacked is not None and _holds(pair, attacked, held))

    def _call(self, run: str, function: Function, arguments: dict[str, Any]) -> Any:
        held, pair = self._of(run), Pair.of(run)
        if pair.way in ARGUMENTS:
            arguments = undone(arguments)
        held.done.append(FunctionCall(function=function.name, args=arguments))
        result, error = self._runtimes[pair.suite].run_function(held.now, function.name, arguments)
        if error is not None:
            raise ValueError(error)
        return result

    def _of(self, run: str) -> _Held:
        if run not in self._held:
            before = environment(Pair.of(run))
            self._held[run] = _Held(before, before.model_copy(deep=True))
        return self._held[run]


def _holds(pair: Pair, task: Any, held: _Held) -> bool:
    """Whether a task was done. Some checks change what they look at, so each has copies of its own."""
    output = [text_content_block_from_string(pair.user_task.GROUND_TRUTH_OUTPUT)]
    before, now = held.before.model_copy(deep=True), held.now.model_copy(deep=True)
    return bool(suites()[pair.suite]._check_task_result(task, output, before, now, held.done))
