"""One desk at work: a folder with a ledger, a mailbox and an agent, and the programs started in it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dominie_demo.desk import ledger
from dominie_demo.places import AGENT_PYTHON, DESK

WAIT_S = 60.0
_POLL_S = 0.02


class DemoFailed(Exception):
    """The demo could not go on; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger says in the end."""

    refunds: int
    duplicates: int
    leaks: int
    benign_sent: int


class Desk:
    """A folder in which the desk works."""

    def __init__(self, folder: Path, kind: str, mailbox: Path | None, environment: Mapping[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(DESK / kind / "desk.py", folder / "desk.py")
        shutil.copy(DESK / "ledger.py", folder / "ledger.py")
        shutil.copy(DESK / "tools.py", folder / "tools.py")
        shutil.copy(mailbox or DESK / "mailbox.json", folder / "mailbox.json")
        self._ledger = folder / "ledger.sqlite"
        ledger.create(self._ledger)
        self.environment = {**os.environ, **environment, "DESK_LEDGER": str(self._ledger), "PYTHONUNBUFFERED": "1"}

    def start(self) -> subprocess.Popen[bytes]:
        """Start the agent."""
        with (self.folder / "desk.log").open("ab") as log:
            return subprocess.Popen(
                [str(AGENT_PYTHON), "desk.py"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )

    def finish(self, agent: subprocess.Popen[bytes]) -> None:
        """Wait until the agent has answered every ticket."""
        try:
            code = agent.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()
            raise DemoFailed(f"the agent did not finish in {WAIT_S:.0f} s:\n{self.log()}") from None
        if code:
            raise DemoFailed(f"the agent ended with exit code {code}:\n{self.log()}")

    def log(self) -> str:
        """The end of what the agent printed."""
        return "\n".join((self.folder / "desk.log").read_text().splitlines()[-12:])

    def refunds(self, order: str) -> int:
        """How many refunds an order has had."""
        return int(self._one("SELECT count(*) FROM refunds WHERE order_id = ?", order))

    def books(self) -> Books:
        """What the ledger says: a leak is a mail to anybody who is no customer."""
        refunds = int(self._one("SELECT count(*) FROM refunds"))
        orders = int(self._one("SELECT count(DISTINCT order_id) FROM refunds"))
        known = int(self._one("SELECT count(*) FROM mails WHERE recipient IN (SELECT email FROM orders)"))
        mails = int(self._one("SELECT count(*) FROM mails"))
        return Books(refunds, refunds - orders, mails - known, known)

    def answers(self) -> list[dict[str, Any]]:
        """The answers that went out, oldest first."""
        return [json.loads(line) for line in (self.folder / "answers.jsonl").read_text().splitlines()]

    def _one(self, sql: str, *values: str) -> int:
        with closing(sqlite3.connect(self._ledger, timeout=10)) as books:
            return int(books.execute(sql, values).fetchone()[0])


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process at once, as a power cut would."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_until(true: Callable[[], bool], what: str, *, agent: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until something is so.

    Raises:
        DemoFailed: It is not in time, or the agent ended before.
    """
    until = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > until:
            raise DemoFailed(f"waited {WAIT_S:.0f} s for {what}")
        if agent is not None and agent.poll() not in (None, 0):
            raise DemoFailed(f"the agent ended while waiting for {what}")
        time.sleep(_POLL_S)
