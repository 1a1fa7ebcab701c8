"""The demo's story: the same desk twice, with the same accidents, and what the record says afterwards."""

import difflib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dominie_contracts.audit import Entries
from dominie_contracts.guardrail import Approvals, ApprovalView
from dominie_demo import places
from dominie_demo.desk_run import Books, DemoFailed, Desk, kill, wait_until
from dominie_demo.narrator import Narrator
from dominie_demo.tamper import tamper_and_check
from dominie_kit.house.system import System

APPROVER = "finance"
BIG = "A-1002"
_STOP_S = 10.0
_PRICE = {"input_cost_per_token": 0.15e-6, "output_cost_per_token": 0.6e-6}
"""The scripted model is priced like a small real one, so that costs show."""


class Demo:
    """Runs the story in a folder of its own."""

    def __init__(self, folder: Path, narrator: Narrator, mailbox: Path | None) -> None:
        self._folder = folder
        self._narrator = narrator
        self._mailbox = mailbox
        self._real_model = os.environ.get("DOMINIE_DEMO_MODEL")

    def run(self) -> dict[str, Any]:
        """Tell the whole story; the counts at the end."""
        places.check()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        with self._model() as model_base:
            plain = self._plain(model_base)
            governed, held, log = self._governed(model_base)
        found = {
            "plain": {"refunds": plain.refunds, "duplicates": plain.duplicates, "leaks": plain.leaks},
            "governed": {**asdict(governed), "held": held},
            **log,
        }
        self._narrator.end(found, self._folder)
        return found

    @contextmanager
    def _model(self) -> Iterator[str | None]:
        """The scripted model's address; None where a real model is used."""
        if self._real_model:
            yield None
            return
        script = [str(places.PYTHON), "-m", "dominie_model.adapters.play", str(places.DESK / "script.json")]
        server = subprocess.Popen(script, stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            yield str(json.loads(server.stdout.readline())["base_url"])
        finally:
            _stop(server)

    def _plain(self, model_base: str | None) -> Books:
        self._narrator.chapter("The desk as it is", "an agent, four functions, a mailbox")
        environment = {"DESK_BANK_S": "0.8", "LANGSMITH_TRACING": "false"}
        if model_base:
            environment |= {"OPENAI_BASE_URL": model_base, "OPENAI_API_KEY": "scripted"}
        else:
            environment |= {"DESK_MODEL": (self._real_model or "").rpartition("/")[2]}
        desk = Desk(self._folder / "plain", "plain", self._mailbox, environment)
        agent = desk.start()
        wait_until(lambda: desk.refunds(BIG) > 0 or agent.poll() is not None, "the $90 refund", agent=agent)
        kill(agent)
        self._narrator.step("the agent is killed after the bank was told to pay $90, and started again")
        desk.finish(desk.start())
        books = desk.books()
        self._narrator.books(books, None)
        return books

    def _governed(self, model_base: str | None) -> tuple[Books, int, dict[str, Any]]:
        self._narrator.chapter("The same desk under Dominie", "two lines")
        self._narrator.diff(_diff())
        project = self._folder / "governed"
        environment = {"DESK_BANK_S": "0.8", "LANGSMITH_TRACING": "false", "OPENAI_API_KEY": "unused"}
        desk = Desk(project, "governed", self._mailbox, environment)
        with ExitStack() as stack:
            began = time.perf_counter()
            system = stack.enter_context(
                System(project, policies=places.DESK / "policies", environment=self._offers(model_base))
            )
            self._narrator.up(time.perf_counter() - began, system.gateway_url)
            stack.enter_context(self._worker(desk))
            self._accidents(desk, system)
            books = desk.books()
            held = sum(1 for answer in desk.answers() if answer.get("dominie", {}).get("held"))
            self._narrator.answers(desk.answers())
            self._narrator.books(books, held)
            log = tamper_and_check(system, self._folder)
            self._narrator.log(log)
            self._trail(desk)
        return books, held, log

    def _offers(self, model_base: str | None) -> dict[str, str]:
        offer: dict[str, object] = {"model": self._real_model}
        if model_base:
            offer = {"model": "openai/scripted", "api_base": model_base, "api_key": "scripted", **_PRICE}
        return {"DOMINIE_MODEL_OFFERS": json.dumps({"auto": offer})}

    @contextmanager
    def _worker(self, desk: Desk) -> Iterator[None]:
        log = (desk.folder / "worker.log").open("ab")
        command = [*_DOMINIE, "worker", "tools.py"]
        worker = subprocess.Popen(command, cwd=desk.folder, env=desk.environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: b" serves " in (desk.folder / "worker.log").read_bytes(), "the tool worker")
            yield
        finally:
            _stop(worker)
            log.close()

    def _accidents(self, desk: Desk, system: System) -> None:
        agent = desk.start()
        asked: list[ApprovalView] = []

        def parked() -> bool:
            asked[:] = _approvals(desk)
            return bool(asked) or agent.poll() is not None

        wait_until(parked, "the $90 refund to ask for a yes", agent=agent)
        if not asked:
            desk.finish(agent)
            return
        self._narrator.asked(asked[0])
        kill(agent)
        self._narrator.step("the agent is killed while its refund waits, and started again")
        agent = desk.start()
        self._narrator.ask_person(asked[0])
        _dominie(desk, "approvals", "approve", asked[0].action, "--as", APPROVER)
        self._narrator.step(f"another process, with {APPROVER}'s own key, says yes")
        wait_until(lambda: desk.refunds(BIG) > 0, "the ledger to commit the $90", agent=agent)
        killed = system.kill("tool", signal.SIGKILL)
        self._narrator.step("the tool service is killed after the ledger's commit and before its reply")
        desk.finish(agent)
        system.wait_for_restart("tool", after=killed)

    def _trail(self, desk: Desk) -> None:
        runs = json.loads(_dominie(desk, "ps", "--json"))["runs"]
        waited = [run for run in runs if run["user"] == "u-eli"] or runs
        if waited:
            run = waited[0]["run"]
            told = json.loads(_dominie(desk, "trace", run, "--json"))  # with more than the events
            entries = Entries.model_validate({name: told[name] for name in Entries.model_fields})
            self._narrator.trail(run, entries)


_DOMINIE = [str(places.PYTHON.parent / "dominie")]


def _dominie(desk: Desk, *arguments: str) -> str:
    done = subprocess.run(
        [*_DOMINIE, *arguments], cwd=desk.folder, env=desk.environment, capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise DemoFailed(f"dominie {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _approvals(desk: Desk) -> list[ApprovalView]:
    return list(
        Approvals.model_validate_json(_dominie(desk, "approvals", "list", "--as", APPROVER, "--json")).approvals
    )


def _diff() -> list[str]:
    before, after = ((places.DESK / kind / "desk.py").read_text().splitlines() for kind in ("plain", "governed"))
    return list(difflib.unified_diff(before, after, "plain/desk.py", "governed/desk.py", lineterm="", n=1))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        kill(process)
