"""What a tool may do in the sandbox, what it is told, and the exact bounds. Attacks are in `test_abuses.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from dominie_tool.sandbox import Outcome, Sandbox, SandboxUnavailable
from dominie_tool.sandbox.doctor import examine
from dominie_tool.sandbox.testing import SMALL, boxed, machine, unboxed
from dominie_tool.sandbox.values import ALWAYS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]
needs_cgroup = pytest.mark.skipif("cgroup" not in Sandbox.layers(), reason="NO CGROUP IS TESTED HERE: none is writable")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def victim() -> Iterator[int]:
    """A process of the host."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


# What a tool may do


async def test_a_tool_is_called_and_what_it_prints_is_not_its_result() -> None:
    source = """
import dominie
@dominie.tool(effect="read", idempotent=True)
async def attack(a: int, b: int, ctx: dominie.ToolContext) -> dict:
    print('ready', '{"value": 0}')
    return {"sum": a + b, "user": ctx.user}
@dominie.tool
def bare(): pass
"""
    outcome = await Sandbox(SMALL).run(source, "attack", {"a": 1, "b": 2}, context={"user": "dana"})
    assert outcome == Outcome("ok", {"sum": 3, "user": "dana"}, "", Sandbox.layers())


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("raise KeyError('x')", "KeyError: 'x' (line 2)"),
        ("return {1, 2}", "not JSON"),
        ("return float('nan')", "not JSON"),
        ("return '\\ud800'", "not JSON"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("import os; os._exit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 11)", "signal 11"),
        ("import dominie; dominie.Client()", "'Client'"),
        ("import requests", "requests"),
        ("return attack()", "RecursionError"),
        ("x x", "SyntaxError"),
    ],
)
async def test_a_failing_tool_says_why(body: str, detail: str) -> None:
    outcome = await boxed(f"def attack():\n  {body}")
    assert outcome.status == ("died" if "os." in body else "error")
    assert detail in outcome.detail


async def test_wrong_arguments_and_a_missing_function_are_errors_of_the_tool() -> None:
    assert "argument" in (await boxed("def attack(a): pass", b=1)).detail
    assert "no function 'attack'" in (await boxed("def other(): pass")).detail


async def test_arguments_that_are_not_json_are_the_callers_error() -> None:
    with pytest.raises(TypeError):
        await boxed("def attack(a): pass", a=object())


@pytest.mark.parametrize(
    "written", [b'{"value": NaN}', b'{"value": 1e999}', b'{"value": "\\ud800"}', b"[" * 9000, b"\xff", b"7"]
)
async def test_a_forged_result_is_an_error(written: bytes) -> None:
    source = f"""
import os
def attack():
    for fd in range(3, 64):
        try: os.write(fd, {written!r} + b"\\n")
        except OSError: pass
    os._exit(0)
"""
    outcome = await boxed(source)
    assert (outcome.status, outcome.detail) == ("error", "its result cannot be read")


async def test_where_no_box_starts_it_says_so() -> None:
    broken = replace(machine(), bwrap="/usr/bin/no-such-bwrap")
    with pytest.raises(SandboxUnavailable, match="no-such-bwrap") as raised:
        await Sandbox(host=broken).run("def attack(): pass", "attack", {})
    assert "did not start" in raised.value.reason


def test_without_bubblewrap_it_says_what_to_install() -> None:
    code = "from dominie_tool.sandbox import Sandbox; print(Sandbox.missing(), Sandbox.layers())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=30
    )
    assert "install the package 'bubblewrap' ()" in done.stdout


def test_the_doctor_looks_at_every_layer() -> None:
    checks = list(examine())
    assert [check.name.removeprefix("sandbox: ") for check in checks] == [
        "bubblewrap",
        *ALWAYS,
        "cgroup",
        "runsc",
        "wasmtime",
    ]
    held = {check.name.removeprefix("sandbox: ") for check in checks if check.holds}
    assert held - {"runsc", "wasmtime"} == {"bubblewrap", *Sandbox.layers()}


def test_the_doctor_wants_gvisor_only_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMINIE_TOOL_RUNSC", "/nowhere/runsc")
    for backend, fine in (("bubblewrap", True), ("runsc", False)):
        monkeypatch.setenv("DOMINIE_TOOL_SANDBOX_BACKEND", backend)
        check = list(examine())[-2]
        assert (check.name, check.holds, check.fine) == ("sandbox: runsc", False, fine)
        assert "'/nowhere/runsc' is not installed" in check.todo


def test_the_doctor_stops_at_what_is_missing_and_says_what_to_do() -> None:
    code = "from dominie_tool.sandbox.doctor import examine; print(*[(c.name, c.holds) for c in examine()])"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "('sandbox: bubblewrap', False)\n"


async def test_without_a_cgroup_a_tool_is_one_process() -> None:
    source = "import os\ndef attack():\n  return os.fork()"
    alone = await Sandbox(SMALL, host=machine(cgroup=False)).run(source, "attack", {})
    assert "BlockingIOError" in alone.detail
    assert "cgroup" not in alone.layers


async def test_every_layer_is_reported_and_only_if_it_holds() -> None:
    assert (await boxed("def attack(): pass")).layers == Sandbox.layers()
    assert "cgroup" not in (await boxed("def attack(): pass", cgroup=False)).layers


# Network


async def test_there_is_no_network_but_the_boxs_own_loopback() -> None:
    source = "import socket\ndef attack(): return [name for _, name in socket.if_nameindex()]"
    seen = await boxed(source)
    assert seen.status == "error" or seen.value == ["lo"]
    assert unboxed(source)["value"]


# Files


async def test_nothing_outside_the_scratch_folder_can_be_written(tmp_path: Path) -> None:
    source = "import os\ndef attack(folder):\n  open(folder + '/x', 'w').close(); os.remove(folder + '/x')"
    assert unboxed(source, folder=str(tmp_path))["value"] is None
    for folder in (str(tmp_path), "/", "/usr", "/usr/lib", "/dev", "/dev/shm", "/run", "/proc", "/etc"):
        assert (await boxed(source, folder=folder)).status == "error", folder
    assert (await boxed(source, folder="/tmp")).status == "ok"


async def test_the_scratch_folder_is_empty_bounded_and_gone_afterwards(tmp_path: Path) -> None:
    source = """
import os
def attack(folder):
    before, written = os.listdir(folder), 0
    try:
        for i in range(8):
            with open(f"{folder}/{i}", "wb", buffering=0) as f: written += f.write(bytes(1 << 20))
    except OSError: pass
    return [before, written >> 20]
"""
    assert unboxed(source, folder=str(tmp_path))["value"] == [[], 8]
    for _ in range(2):
        assert (await boxed(source, folder="/tmp")).value == [[], SMALL.scratch_mb]


async def test_neither_environment_nor_descriptors_come_along(monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
import os
def attack():
    return [os.environ.get("DOMINIE_SECRET"), [os.readlink(fd.path) for fd in os.scandir("/proc/self/fd")]]
"""
    monkeypatch.setenv("DOMINIE_SECRET", "secret")
    assert unboxed(source)["value"][0] == "secret"
    with TemporaryFile() as file:
        os.set_inheritable(file.fileno(), True)
        outcome = await boxed(source)
    assert isinstance(outcome.value, list)
    secret, links = outcome.value
    assert secret is None
    assert not [link for link in links if not link.startswith(("pipe:", "/dev/null", "/proc/"))]


# Processes and privileges


async def test_no_process_of_the_host_can_be_seen_or_signalled() -> None:
    source = """
import os
def attack(pid):
    os.kill(pid, 9)
    return "killed"
"""
    with victim() as pid:
        assert unboxed(source, pid=pid)["value"] == "killed"
    with victim() as pid:
        assert "ProcessLookupError" in (await boxed(source, pid=pid)).detail
        outcome = await boxed("import os\ndef attack(): return [p for p in os.listdir('/proc') if p.isdigit()]")
        assert outcome.value == ["1", "2"]
        assert (await boxed("import os\ndef attack(): os.kill(-1, 9)")).status in {"ok", "error"}
        assert (await boxed("import os\ndef attack(): os.kill(os.getppid(), 9); return 'sent'")).value == "sent"
        os.kill(pid, 0)


async def test_it_holds_no_capability_and_gains_none() -> None:
    source = (
        "def attack(): return [l.split()[1] for l in open('/proc/self/status') if l[:3] == 'Cap' or l[:5] == 'NoNew']"
    )
    held = (await boxed(source)).value
    assert held == ["0" * 16] * 5 + ["1"]
    if os.geteuid() == 0:
        assert unboxed(source)["value"] != held


# Limits


FORKS = """
import os, time
def attack(most):
    pids = []
    try:
        for _ in range(most):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            pids.append(pid)
    except OSError: pass
    return len(pids)
"""


@pytest.mark.parametrize("cgroup", [pytest.param(True, marks=needs_cgroup), False])
async def test_a_fork_bomb_is_held(cgroup: bool) -> None:
    assert unboxed(FORKS, most=60)["value"] == 60
    outcome = await boxed(FORKS, most=60, cgroup=cgroup)
    assert outcome.status == "ok"
    assert isinstance(outcome.value, int)
    assert 8 <= outcome.value < SMALL.processes


async def test_a_process_that_wants_too_much_memory_gets_none() -> None:
    source = "def attack(mb): return len(bytearray(mb << 20)) >> 20"
    assert unboxed(source, mb=120)["value"] == 120
    outcome = await boxed(source, mb=120)
    assert (outcome.status, outcome.detail) == ("memory", "it needed more than 64 MB")


@pytest.mark.parametrize(
    "body", ["print('x' * 200_000)", "return 'x' * 200_000", "import os; os.write(2, b'x' * 200_000)"]
)
async def test_too_much_output_ends_it(body: str) -> None:
    source = f"def attack():\n  {body}"
    assert "value" in unboxed(source)
    outcome = await boxed(source)
    assert (outcome.status, outcome.value) == ("output", None)
    assert (await boxed(source, replace(SMALL, output_bytes=300_000))).status == "ok"
