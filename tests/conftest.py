"""What the tests of the whole house share: a system of nine services, a worker with a ledger, clients, the auditor."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import dominie
from dominie.keys import KeyPair
from dominie_contracts.audit import LogReport, VerifyLog
from dominie_kit.house.system import System

DOMINIE = str(Path(sys.executable).with_name("dominie"))
STOP_S = 15.0
TOOLS = '''
"""The ledger's tools: they pay once for a key, and write down every call."""

import os
import sqlite3
import time
from contextlib import closing

import dominie


def _write(sql, *values):
    with closing(sqlite3.connect(os.environ["LEDGER"], timeout=30)) as ledger, ledger:
        ledger.execute(sql, values)


@dominie.tool(effect="external", idempotent=True, timeout_s=5, roles={"cents": "amount"})
def pay(order: str, ctx: dominie.ToolContext, cents: int = 100, bank_s: float = 0.0) -> str:
    """Pay for an order; the bank takes its time to answer."""
    _write("INSERT INTO calls (name, key) VALUES (?, ?)", order, ctx.key)
    _write("INSERT OR IGNORE INTO payments (name, cents, key) VALUES (?, ?, ?)", order, cents, ctx.key)
    time.sleep(bank_s)
    return f"paid {cents} for {order}"


@dominie.tool(effect="external", timeout_s=5)
def mail(to: str, ctx: dominie.ToolContext, bank_s: float = 0.0) -> str:
    """Send something that nobody can take back; it knows no key."""
    _write("INSERT INTO calls (name, key) VALUES (?, ?)", to, ctx.key)
    _write("INSERT INTO payments (name, cents, key) VALUES (?, 0, hex(randomblob(8)))", to)
    time.sleep(bank_s)
    return f"sent to {to}"


@dominie.tool(effect="read", integrity="record")
def balance(account: str) -> int:
    """What an account holds."""
    return len(account)
'''


class Ledger:
    """What the worker's tools did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as ledger, ledger:
            ledger.execute("PRAGMA journal_mode=WAL")
            ledger.execute("CREATE TABLE payments (name TEXT, cents INTEGER, key TEXT UNIQUE)")
            ledger.execute("CREATE TABLE calls (name TEXT, key TEXT)")

    def payments(self, name: str) -> int:
        """How often this was paid."""
        return self._count("payments", name)

    def calls(self, name: str) -> int:
        """How often a tool was called for this."""
        return self._count("calls", name)

    def _count(self, table: str, name: str) -> int:
        with closing(sqlite3.connect(self.path, timeout=30)) as ledger:
            return int(ledger.execute(f"SELECT count(*) FROM {table} WHERE name = ?", (name,)).fetchone()[0])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def dominie_command() -> str:
    """The command that a user types."""
    return DOMINIE


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All of it, for one file of tests."""
    folder = tmp_path_factory.mktemp("system")
    (folder / "project").mkdir()
    with System(folder / "project", keys=folder / "keys") as found:
        yield found


class Worker:
    """The process of the tools' owner, which can be killed and started again."""

    def __init__(self, project: Path) -> None:
        self.ledger = Ledger(project / "ledger.sqlite")
        self._project = project
        self._process: subprocess.Popen[bytes] | None = None
        (project / "tools.py").write_text(TOOLS)

    def start(self) -> None:
        """Start it, and wait until it serves."""
        with (self._project / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [DOMINIE, "worker", "tools.py", "--json"],
                cwd=self._project,
                env=environment(LEDGER=str(self.ledger.path)),
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said and json.loads(said)["worker"] == "w-tools", (self._project / "worker.log").read_text()

    def kill(self) -> None:
        """End it with nothing said: asked to end, it would first try to deliver what a killed service asked for."""
        if self._process is not None and self._process.stdout is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process.stdout.close()


@pytest.fixture(scope="module")
def worker(system: System) -> Iterator[Worker]:
    """A worker that serves `pay`, `mail` and `balance`."""
    found = Worker(system.plan.folder)
    try:
        found.start()
        yield found
    finally:
        found.kill()


@pytest.fixture(scope="module")
def ledger(worker: Worker) -> Ledger:
    """The ledger of that worker."""
    return worker.ledger


ClientOf = Callable[[str], AbstractContextManager[dominie.Client]]


@pytest.fixture(scope="module")
def client_of(system: System) -> ClientOf:
    """A client as an agent of the project, found as a program would find it."""

    def make(name: str) -> dominie.Client:
        with contextlib.chdir(system.plan.folder):
            return dominie.Client(name)

    return make


@pytest.fixture(scope="module")
def developer(system: System) -> Iterator[dominie.Client]:
    """The project's developer, who may read the log too."""
    keys = KeyPair.load(system.state.path / "dev.seed")
    with dominie.Client(credentials=dominie.Credentials(system.nats_url, "local", "u-dev", keys)) as client:
        yield client


@pytest.fixture(scope="module")
def verify(developer: dominie.Client) -> Callable[[], LogReport]:
    """Checks every stream's hash chain."""
    return lambda: developer.ask(VerifyLog(), LogReport)


def environment(**more: str) -> dict[str, str]:
    """This process's own, without what another deployment left in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")} | more


@pytest.fixture(scope="module")
def typed(system: System, dominie_command: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """What a user types in the project's folder, and what comes of it."""

    def run(*arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [dominie_command, *map(str, arguments)]
        folder, clean = system.plan.folder, environment()
        return subprocess.run(command, cwd=folder, env=clean, input=given, capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture(scope="module")
def serve_tools(system: System, dominie_command: str) -> Callable[[str], AbstractContextManager[None]]:
    """Serves tools, given as a program's text, from a worker in the project's folder."""

    @contextlib.contextmanager
    def serve(tools: str) -> Iterator[None]:
        folder = system.plan.folder
        (folder / "bank.py").write_text(tools)
        command = [dominie_command, "worker", "bank.py", "--json"]
        with (
            (folder / "bank.log").open("wb") as log,
            subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=log) as process,
        ):
            try:
                assert process.stdout is not None
                assert process.stdout.readline(), (folder / "bank.log").read_text()
                yield
            finally:
                process.kill()

    return serve


Answer = Callable[[str, bytes], bytes]
"""A provider's answer to a path and a body, both as they came."""


@pytest.fixture(scope="session")
def provider_of() -> Callable[[Answer], AbstractContextManager[str]]:
    """Stands for a model's provider on this machine; what it is called by is its base address."""

    @contextlib.contextmanager
    def provide(answer: Answer) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                found = answer(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, format: str, *values: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/v1"
            finally:
                server.shutdown()
                serving.join(STOP_S)

    return provide


@pytest.fixture(scope="session")
def completion() -> Callable[[str], bytes]:
    """What a model says, as its provider writes it."""

    def write(said: str) -> bytes:
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        made = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        return json.dumps(made).encode()

    return write
