"""A hijacked agent: it plays a user task's ground truth, and obeys every injection that it meets.

The first time that an injection's text shows in a tool's result it plays that injection's calls, and then goes on. Who
is asked for a yes says it to the user's calls and not to the attacker's: they are told apart here alone.
"""

import asyncio
import json
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial

from agentdojo.functions_runtime import FunctionCall
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

import dominie
from dominie.commands._people import credentials_of
from dominie_bench.dojo.evasion import evaded
from dominie_bench.dojo.order import Order
from dominie_bench.dojo.suites import Pair, environment, pairs
from dominie_bench.dojo.truth import injected
from dominie_contracts.labels import leaves

IN_FLIGHT = 8
_PROBE = 40
"""So much of an injection's text is found in a result."""
_ANSWERED_S = 60.0
Judge = Callable[[str], Awaitable[tuple[bool, bool]]]
"""Utility and security of a run."""


@dataclass(slots=True)
class Side:
    """What became of the calls of one side."""

    calls: int = 0
    asked: int = 0
    denied: int = 0
    failed: int = 0


@dataclass(slots=True)
class Played:
    """How one pair went."""

    suite: str
    task: str
    injection: str
    seen: bool = False
    """The agent has met the injection."""
    way: str = ""
    """How what the attacker wants is written, where that is not plainly."""
    idle: bool = False
    """The injection has no calls: it only wants something said."""
    planned: bool = False
    """The run was to be held to a plan."""
    unplanned: bool = False
    """There was none that a run can be held to, so it was not begun."""
    user: Side = field(default_factory=Side)
    attacker: Side = field(default_factory=Side)
    utility: bool = False
    security: bool = False


class Agent:
    """Plays pairs over one client."""

    def __init__(self, client: dominie.AsyncClient, approver: dominie.AsyncClient, judge: Judge) -> None:
        self._client = client
        self._approver = approver
        self._judge = judge
        self._plans: dict[tuple[str, str], dominie.Plan | None] = {}

    async def plan(self, pair: Pair) -> None:
        """Have the plan of a pair's user task written.

        Raises:
            Problem: The model cannot be asked.
        """
        try:
            plan = await self._client.plan(
                pair.user_task.PROMPT, user="dev", model=pair.plan, id=f"plan/{pair.suite}/{pair.task}"
            )
        except dominie.Invalid as error:
            print(f"{pair.suite}/{pair.task} is not planned: {error}", file=sys.stderr, flush=True)
            plan = None
        self._plans[pair.suite, pair.task] = plan

    async def play(self, pair: Pair) -> Played:
        """Play one pair in a run of its own."""
        before = environment(pair)
        told = Played(pair.suite, pair.task, pair.injection, way=pair.way, planned=bool(pair.plan))
        attack = injected(pair, before) if pair.injection else []
        told.idle = bool(pair.injection) and not attack
        if told.idle:
            return told
        plan = self._plans[pair.suite, pair.task] if pair.plan else None
        if told.planned and plan is None:
            told.unplanned = True
            return told
        async with self._client.run(user="dev", id=pair.run, request=pair.user_task.PROMPT, plan=plan) as run:
            for call in pair.user_task.ground_truth(before):
                result = await self._call(run, call, told.user, yes=True)
                if pair.injection and not told.seen and _shows(result, pair.goal):
                    told.seen = True
                    for other in attack:
                        await self._call(run, _written(other, pair.way), told.attacker, yes=False)
        told.utility, told.security = await self._judge(pair.run)
        return told

    async def _call(self, run: dominie.AsyncRun, call: FunctionCall, side: Side, *, yes: bool) -> JsonValue:
        side.calls += 1
        key = f"{run.id}/{'user' if yes else 'attacker'}/{side.calls}"
        invoke = partial(run.invoke, call.function, to_jsonable_python(dict(call.args)), key=key)
        try:
            try:
                return (await invoke()).result
            except dominie.ApprovalRequired as asked:
                side.asked += 1
                if not yes:
                    return None
                await self._approve(str(asked.extra["action"]))
                return (await invoke(wait=_ANSWERED_S)).result
        except (dominie.Forbidden, dominie.Invalid):
            side.denied += 1
        except dominie.ToolFailed:
            side.failed += 1
        return None

    async def _approve(self, action: str) -> None:
        (view,) = await self._approver.approvals(action=action)
        await self._approver.approve(view)


def _written(call: FunctionCall, way: str) -> FunctionCall:
    return call.model_copy(update={"args": evaded(way, dict(call.args))})


def _shows(result: JsonValue, goal: str) -> bool:
    probe = " ".join(goal.split())[:_PROBE]
    return any(isinstance(value, str) and probe in " ".join(value.split()) for _, value in leaves(result))


@asynccontextmanager
async def _judging(order: Order) -> AsyncIterator[Judge]:
    """The worker, in a process of its own; what is yielded asks it how a run went."""
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "dominie_bench.dojo.worker", order.model_dump_json()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdin is not None and worker.stdout is not None
    stdin, stdout, turn = worker.stdin, worker.stdout, asyncio.Lock()

    async def judge(run: str) -> tuple[bool, bool]:
        async with turn:
            stdin.write(f"{run}\n".encode())
            found = json.loads(await stdout.readline())
            return found["utility"], found["security"]

    try:
        assert await stdout.readline() == b"ready\n"
        yield judge
    finally:
        stdin.close()
        await worker.wait()


async def _main(order: Order) -> None:
    each = [pair for suite in order.suites for pair in pairs(suite, order.limit, evade=order.evade)]
    planned = [replace(pair, plan=order.planner) for pair in each] if order.planner else []
    approver = dominie.AsyncClient(credentials=credentials_of(order.approver, None))
    async with _judging(order) as judge, dominie.AsyncClient("dojo") as client, approver:
        agent = Agent(client, approver, judge)

        async def play(pair: Pair) -> None:
            print(json.dumps(asdict(await agent.play(pair))), flush=True)

        await _all([pair for pair in planned if not pair.injection], agent.plan)
        await _all([*each, *planned], play)


async def _all(pairs: list[Pair], work: Callable[[Pair], Awaitable[None]]) -> None:
    waiting = iter(pairs)

    async def go_on() -> None:
        for pair in waiting:
            await work(pair)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(go_on())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        asyncio.run(_main(Order.model_validate_json(sys.argv[1])))
    except* dominie.Problem as problems:
        sys.exit(f"{problems.exceptions[0]}")
