"""A suite's ground truth, played by an agent over the bus with nobody attacking.

One program, two identities: the worker `w-dojo` owns the tasks' environments, the agent `a-dojo` knows the ground
truth. Nothing passes between them but through Dominie.
"""

import asyncio
import sys
from typing import Any

from agentdojo.functions_runtime import FunctionCall
from pydantic_core import to_jsonable_python

import dominie
from dominie._config import find
from dominie._register import make_link
from dominie._worker import Worker
from dominie_bench.dojo.bank import Bank
from dominie_bench.dojo.suites import Pair, environment, suites


async def play(name: str) -> dict[str, Any]:
    """Play every user task's ground truth; which passed AgentDojo's own check, and the runs."""
    bank = Bank()
    link, stop, ready = make_link(find("w", "dojo")), asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(Worker(link, bank.tools([name])).run(stop, ready.set))
        await ready.wait()
        async with dominie.AsyncClient("dojo") as client:
            played = [await _play(client, bank, Pair(name, task)) for task in suites()[name].user_tasks]
        stop.set()
    await link.close()
    return {"suite": name, "tasks": played}


async def _play(client: dominie.AsyncClient, bank: Bank, pair: Pair) -> dict[str, Any]:
    calls: list[FunctionCall] = pair.user_task.ground_truth(environment(pair))
    async with client.run(user="dev", session=pair.task, id=pair.run) as run:
        for call in calls:
            await _call(run, call)
    return {"task": pair.task, "run": run.id, "calls": len(calls), "passed": bank.judge(pair.run).utility}


async def _call(run: dominie.AsyncRun, call: FunctionCall) -> None:
    try:
        await run.invoke(call.function, to_jsonable_python(dict(call.args)))
    except dominie.ToolFailed as failed:
        print(f"{call.function}: {failed}", file=sys.stderr)
