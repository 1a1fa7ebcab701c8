"""AgentDojo's tools behind a tool worker, and its ground truth played by an agent, over the bus.

    python -m dominie_bench.dojo SUITE     prints one JSON object; runs where agentdojo is installed

One program, two identities: the worker `w-dojo` owns the suite's environment, the agent `a-dojo` knows the ground
truth. Nothing passes between them but through Dominie.
"""

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

from agentdojo.functions_runtime import Function, FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.task_suite.task_suite import TaskSuite
from agentdojo.types import text_content_block_from_string
from pydantic_core import to_jsonable_python

import dominie
from dominie._config import find
from dominie._register import make_link
from dominie._worker import Worker
from dominie_contracts.tool import Effect

VERSION = "v1.2.1"
_READS = ("get_", "read_", "search_", "list_", "check_")


class Bank:
    """A suite's environment: the worker's own state, made anew for each task."""

    def __init__(self, suite: TaskSuite[Any]) -> None:
        self.environment: Any = None
        self._runtime = FunctionsRuntime(suite.tools)
        self.tools = [self._tool(function) for function in suite.tools]

    def _tool(self, function: Function) -> dominie.Tool[..., Any]:
        def call(**arguments: Any) -> Any:
            result, error = self._runtime.run_function(self.environment, function.name, arguments)
            if error is not None:
                raise ValueError(error)
            return to_jsonable_python(result)

        effect: Effect = "read" if function.name.startswith(_READS) else "external"
        name, description = str(function.name), str(function.description)
        decorate: Callable[[Callable[..., Any]], dominie.Tool[..., Any]]
        decorate = dominie.tool(name=name, description=description, effect=effect, timeout_s=20)
        return decorate(_with_signature(call, function))


def _with_signature(call: Callable[..., Any], function: Function) -> Callable[..., Any]:
    parameters, annotations = [], {}
    for name, field in function.parameters.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.default
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=field.annotation))
        annotations[name] = field.annotation
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    call.__annotations__ = annotations
    call.__name__ = function.name
    return call


async def play(name: str) -> dict[str, Any]:
    """Play every user task's ground truth; which passed AgentDojo's own check, and the runs."""
    suite = get_suites(VERSION)[name]
    bank = Bank(suite)
    link, stop, ready = make_link(find("w", "dojo")), asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(Worker(link, bank.tools).run(stop, ready.set))
        await ready.wait()
        async with dominie.AsyncClient("dojo") as client:
            played = [await _play(client, suite, bank, id_) for id_ in suite.user_tasks]
        stop.set()
    await link.close()
    return {"suite": name, "tasks": played}


async def _play(client: dominie.AsyncClient, suite: TaskSuite[Any], bank: Bank, id_: str) -> dict[str, Any]:
    task = suite.user_tasks[id_]
    bank.environment = task.init_environment(suite.load_and_inject_default_environment({}))
    before = bank.environment.model_copy(deep=True)
    calls: list[FunctionCall] = task.ground_truth(before)
    async with client.run(user="dev", session=id_) as run:
        for call in calls:
            await _call(run, call)
        output = [text_content_block_from_string(task.GROUND_TRUTH_OUTPUT)]
        passed = suite._check_task_result(task, output, before, bank.environment, calls)
        return {"task": id_, "run": run.id, "calls": len(calls), "passed": bool(passed)}


async def _call(run: dominie.AsyncRun, call: FunctionCall) -> None:
    try:
        await run.invoke(call.function, to_jsonable_python(dict(call.args)))
    except dominie.ToolFailed as failed:
        print(f"{call.function}: {failed}", file=sys.stderr)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(sys.argv[1]))))
