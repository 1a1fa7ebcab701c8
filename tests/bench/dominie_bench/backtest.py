"""`dominie bench backtest`: a log of decisions made again, under the same policies and under others, beside live runs.

Every call is made twice for real, once under each set; in between a back-test says how the second time will go.
"""

import asyncio
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import uvloop

import dominie
from dominie._project import Project
from dominie_bench.children import child
from dominie_contracts.action import Decision
from dominie_contracts.guardrail import PolicyFile
from dominie_kit.house.system import System
from dominie_kit.policy.backtest import Backtest, Report
from dominie_kit.policy.folder import read_policies
from dominie_kit.policy.history import decisions
from dominie_kit.policy.policies import Policies

_SERVICES = ("identity", "guardrail", "tool", "audit")
_IN_FLIGHT, _PER_RUN = 16, 200
_READY_S = 30.0
_BEFORE = """
@id("granted")
permit (principal, action, resource);

@id("large")
@ask("finance")
forbid (principal, action == Action::"tool.invoke", resource == Tool::"pay")
when { context has amount && context.amount > 5000 };

@id("stranger")
forbid (principal, action == Action::"tool.invoke", resource == Tool::"pay")
when { context.untrusted.contains("recipient") };
"""
_AFTER = """
@id("granted")
permit (principal, action, resource);

@id("large")
@ask("finance")
forbid (principal, action == Action::"pay", resource)
when { context.amount > 2000 };

@id("huge")
forbid (principal, action == Action::"pay", resource)
when { context.amount > 9000 };

@id("noted")
@ask("audit")
forbid (principal, action == Action::"pay", resource)
when { context.arguments has note && context.arguments.note like "*gift*" };
"""


class _Call(NamedTuple):
    to: str
    cents: int
    note: str


class _Went(NamedTuple):
    action: str
    decision: Decision


def run(calls: int, say: Callable[[str], None]) -> dict[str, object]:
    """Fill a log, make its decisions again under both sets, and then live under the other one."""
    with tempfile.TemporaryDirectory(prefix="dominie-backtest-") as folder:
        project = Path(folder) / "project"
        project.mkdir()
        before, after = (_folder(Path(folder) / name, text) for name, text in (("a", _BEFORE), ("b", _AFTER)))
        worker = child(sys.executable, "-m", "dominie_bench.paying", cwd=project)
        with System(project, services=_SERVICES, keys=Path(folder) / "keys", policies=before), worker:
            os.chdir(project)
            made = _calls(calls)
            say(f"{calls} calls under the first policies")
            first = uvloop.run(_live(made, say))
            same, took_s = _again(before)
            say(f"{same.decisions} decisions made again in {took_s:.1f} s; now under the others")
            other, _ = _again(after)
            _publish(project, after)
            say(f"{calls} calls under the other policies")
            second = uvloop.run(_live(made, say))
    return {
        "decisions": same.decisions,
        "same_set_changes": same.changed,
        "changed_set_changes": other.changed,
        "changed_set_mismatches": _mismatches(first, other, second),
        "undecidable": same.undecidable + other.undecidable,
        "rate_per_s": round(same.decisions / took_s, 1),
    }


def _mismatches(first: list[_Went], predicted: Report, second: list[_Went]) -> int:
    """How many calls went otherwise than the back-test had said."""
    changes: Mapping[str, Decision] = {change.action: change.now for change in predicted.changes}
    return sum(changes.get(was.action, was.decision) != now.decision for was, now in zip(first, second, strict=True))


def _again(directory: Path) -> tuple[Report, float]:
    begun = time.perf_counter()
    test = Backtest(Policies("candidate", read_policies(directory)))
    with dominie.Client(credentials=Project.find().developer_credentials()) as client:
        for entry in decisions(client, None, None):
            test.take(entry)
    return test.report, time.perf_counter() - begun


def _calls(count: int) -> list[_Call]:
    chance = random.Random(7)
    return [
        _Call(
            to=chance.choice(("c-1", "c-2", "c-3", "stranger")),
            cents=chance.randrange(10_000),
            note=chance.choice(("", "a gift", "as agreed")),
        )
        for _ in range(count)
    ]


async def _live(calls: list[_Call], say: Callable[[str], None]) -> list[_Went]:
    """Make the calls, so many in a run, which has looked the customers up; how each was decided, in their order."""
    found: list[_Went | None] = [None] * len(calls)
    starts = iter(range(0, len(calls), _PER_RUN))
    async with dominie.AsyncClient("bench") as client:
        await _until_served(client)

        async def work() -> None:
            for start in starts:
                async with client.run(user="dev") as run:
                    await run.invoke("customers", {})
                    for at, call in itertools.islice(enumerate(calls), start, start + _PER_RUN):
                        found[at] = await _one(run, call)

        async with asyncio.TaskGroup() as group:
            for _ in range(_IN_FLIGHT):
                group.create_task(work())
    return [went for went in found if went is not None]


async def _one(run: dominie.AsyncRun, call: _Call) -> _Went:
    try:
        done = await run.invoke("pay", {"to": call.to, "cents": call.cents, "note": call.note})
        return _Went(done.action, "allow")
    except dominie.ApprovalRequired as asked:
        return _Went(str(asked.extra["action"]), "ask")
    except dominie.Forbidden as denied:
        return _Went(str(denied.extra["action"]), "deny")


async def _until_served(client: dominie.AsyncClient) -> None:
    async with asyncio.timeout(_READY_S), client.run(user="dev") as run:
        while True:
            try:
                await run.invoke("customers", {})
                return
            except (dominie.Unavailable, dominie.Invalid, dominie.Forbidden):
                await asyncio.sleep(0.1)


def _folder(path: Path, text: str) -> Path:
    path.mkdir()
    file = PolicyFile(name="bench.cedar", text=text)
    (path / file.name).write_text(file.text)
    return path


def _publish(project: Path, directory: Path) -> None:
    command = Path(sys.executable).with_name("dominie")
    subprocess.run(
        [str(command), "policy", "publish", str(directory), "--wait", "--json"],
        cwd=project,
        check=True,
        stdout=subprocess.DEVNULL,
    )
