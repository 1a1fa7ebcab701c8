"""Thirty-nine abuses of a sandbox. Each also runs without it, or without its layer, and succeeds there: so it can.

An attack says itself whether it got what it wanted; where only the host can tell, a test of its own looks from there.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import pytest

from dominie_tool.sandbox import Sandbox, inside
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.testing import SMALL, boxed, gvisor, machine, unboxed
from dominie_tool.sandbox.values import Host

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(1000),  # of which gVisor's build takes most, once
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]
needs_cgroup = pytest.mark.skipif("cgroup" not in Sandbox.layers(), reason="NO CGROUP IS TESTED HERE: none is writable")
ROOT = os.geteuid() == 0
MARK = "3601.0039"
"""What the victim's command line has in it."""


@dataclass
class World:
    """What there is to be had on the host."""

    folder: Path
    tcp: tuple[str, int]
    udp: tuple[str, int]
    abstract: str
    victim: subprocess.Popen[bytes]

    @property
    def secret(self) -> str:
        return str(self.folder / "secret")

    @property
    def path(self) -> str:
        return str(self.folder / "socket")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["bubblewrap", "runsc"])
def host(request: pytest.FixtureRequest) -> Host:
    """What holds the boxes."""
    if request.param == "bubblewrap":
        return machine()
    found = survey("runsc", gvisor())
    assert isinstance(found, Host)
    return found


@pytest.fixture(scope="module")
def controls() -> dict[str, dict[str, Any]]:
    """What each abuse came to without a box, once for all back ends."""
    return {}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        folder.chmod(0o777)
        (folder / "secret").write_text("secret")
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        Thread(target=resolve, args=(udp,), daemon=True).start()
        abstract = f"\0dominie-abuse-{os.getpid()}"
        for address in (abstract, str(folder / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen(64)
        victim = stack.enter_context(subprocess.Popen(["sleep", MARK]))
        stack.callback(victim.kill)
        yield World(folder, tcp.getsockname(), udp.getsockname(), abstract, victim)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", udp.getsockname())


def resolve(udp: socket.socket) -> None:
    """Answers every question, as a name server does."""
    while (asked := udp.recvfrom(512))[0] != b"end":
        udp.sendto(b"an answer", asked[1])


FORK = """
import os, time
def attack(most):
    n = 0
    try:
        while n < most:
            if os.fork() == 0:
                time.sleep(30)
                os._exit(0)
            n += 1
    except OSError: pass
    return n == most
"""
ZOMBIES = FORK.replace("time.sleep(30)\n                ", "")
READ = "def attack(path): return bool(open(path).read(1))"
LISTED = """
import os
def attack(mark):
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if mark in open(f'/proc/{pid}/cmdline').read(): return True
        except OSError: pass
    return False
"""
ENVIRONMENT = "import os\ndef attack(name): return name in os.environ"
WRITE = """
import os
def attack(paths):
    wrote = 0
    for path in paths:
        try:
            with open(path, 'w'): wrote += 1
            os.remove(path)
        except OSError: pass
    return wrote > 0
"""
OWN_LIBRARY = "import os\ndef attack():\n  open(os.__file__, 'a').close()\n  return True"
SYMLINK = """
import os
def attack(secret, folder):
    os.symlink(secret, folder + '/link')
    try: return open(folder + '/link').read() == 'secret'
    finally: os.remove(folder + '/link')
"""
HARDLINK = (
    "import os\ndef attack(secret, folder):\n  os.link(secret, folder + '/h'); os.remove(folder + '/h')\n  return True"
)
CONNECT = """
import socket
def attack(family, addresses):
    for address in addresses:
        with socket.socket(family) as s:
            s.settimeout(2)
            try: s.connect(address if isinstance(address, str) else tuple(address))
            except OSError: continue
            return True
    return False
"""
ASK = """
import socket
def attack(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(b'example.com?', tuple(address))
        return s.recv(99) == b'an answer'
"""
OPEN_SOCKET = """
import socket
def attack(kinds):
    opened = 0
    for family, kind in kinds:
        try: socket.socket(family, kind).close()
        except OSError: continue
        opened += 1
    return opened > 0
"""
KILL = "import os\ndef attack(pid):\n  os.kill(pid, 0)\n  return True"
ALLOCATE = "def attack(mb): return len(bytearray(mb << 20)) > 0"
TOGETHER = """
import os
def attack(processes, mb):
    ready, stop = os.pipe(), os.pipe()
    pids = [pid for pid in (os.fork() for _ in range(processes)) if pid or hold(mb, ready, stop)]
    os.close(ready[1])
    while os.read(ready[0], 1): pass
    os.close(stop[1])
    return sum(os.waitpid(pid, 0)[1] == 0 for pid in pids) == processes
def hold(mb, ready, stop):
    os.close(stop[1])
    held = bytearray(b'x') * (mb << 20)
    os.close(ready[1])
    os.read(stop[0], 1)
    os._exit(0)
"""
FILL = """
import os
def attack(folder, files, mb):
    written = 0
    try:
        for i in range(files):
            with open(f'{folder}/fill{i}', 'wb', buffering=0) as f:
                for _ in range(mb): written += f.write(bytes(1 << 20))
    except OSError: pass
    for i in range(files):
        if os.path.exists(f'{folder}/fill{i}'): os.remove(f'{folder}/fill{i}')
    return written == files * mb << 20
"""
UNSHARE = "import ctypes\ndef attack(): return ctypes.CDLL(None).unshare(0x10020000) == 0"
TRACE = "import ctypes\ndef attack(): return ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0"
CALLS = """
import ctypes
def attack():
    room = ctypes.create_string_buffer(4096)
    calls = ((425, 8, room), (250, 0, -3, 0), (323, 1), (321, 0, room, 72), (319, room, 0), (29, 0, 4096, 0o1600))
    return any(ctypes.CDLL(None).syscall(*call) >= 0 for call in calls)
"""
STATUS = "def attack(line): return any(found.startswith(line) for found in open('/proc/self/status'))"
CAPABLE = """
def attack():
    return any(int(l.split()[1], 16) for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapBnd'))
"""
TYPE_INTO_TERMINAL = """
import fcntl, os, termios
def attack():
    os.setsid() if os.getpid() != os.getsid(0) else None
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    fcntl.ioctl(theirs, termios.TIOCSTI, b'x')
    return True
"""
DEVICES = """
import os, stat
HARMLESS = {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', 'ptmx'}
def attack(but):
    return any(opens(f'{where}/{name}') for where, _, names in os.walk('/dev') for name in names if name not in but)
def opens(path):
    try:
        kind = os.lstat(path).st_mode
        if os.path.basename(path) in HARMLESS or path.startswith('/dev/pts/'): return False
        if not (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)): return False
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError: return False
    return True
"""
SYSCTL = "def attack():\n  open('/proc/sys/kernel/hostname', 'r+').close()\n  return True"
KERNEL = "import os\ndef attack(): return os.path.isdir('/sys/class') or int(open('/proc/kallsyms').read(16), 16) > 0"
DESCRIPTORS = """
import os, stat
def attack():
    held = [fd for fd in range(3, 64) if os.path.lexists(f'/proc/self/fd/{fd}')]
    other = [fd for fd in held if os.readlink(f'/proc/self/fd/{fd}') != '/dev/null']
    return any(not stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in other)
"""


def own_address() -> str:
    """An address of this machine that is not its loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])


def given(world: World, name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """An abuse: its source, its arguments in a box, and those without one."""
    scratch, folder = "/tmp", str(world.folder)
    system = [f"{place}/abuse" for place in ("/usr", "/etc", "", "/usr/bin", "/lib", "/dev", "/run", "/proc")]
    raw = [(int(socket.AF_NETLINK), 3), (int(socket.AF_PACKET), 3), (38, 5)]
    everywhere = [("169.254.169.254", 80), ("1.1.1.1", 80)]
    same: dict[str, tuple[str, dict[str, Any]]] = {
        "fork bomb": (FORK, {"most": 60}),
        "zombies": (ZOMBIES, {"most": 60}),
        "password file": (READ, {"path": "/etc/shadow" if ROOT else "/etc/passwd"}),
        "host file": (READ, {"path": world.secret}),
        "host command lines": (LISTED, {"mark": MARK}),
        "environment": (ENVIRONMENT, {"name": "DOMINIE_ABUSE"}),
        "own library": (OWN_LIBRARY, {}),
        "host loopback": (CONNECT, {"family": 2, "addresses": [world.tcp]}),
        "name server": (ASK, {"address": world.udp}),
        "unix socket": (CONNECT, {"family": 1, "addresses": [world.path]}),
        "abstract socket": (CONNECT, {"family": 1, "addresses": [world.abstract]}),
        "vsock": (OPEN_SOCKET, {"kinds": [(40, 1)]}),
        "netlink, packet, alg": (OPEN_SOCKET, {"kinds": raw}),
        "host process": (KILL, {"pid": world.victim.pid}),
        "memory": (ALLOCATE, {"mb": 120}),
        "namespaces": (UNSHARE, {}),
        "ptrace": (TRACE, {}),
        "io_uring, keys, bpf": (CALLS, {}),
        "new privileges": (STATUS, {"line": "NoNewPrivs:\t0"}),
        "capabilities": (CAPABLE, {}),
        "terminal": (TYPE_INTO_TERMINAL, {}),
        "devices": (DEVICES, {"but": []}),
        "sysctl": (SYSCTL, {}),
        "kernel": (KERNEL, {}),
        "descriptors": (DESCRIPTORS, {}),
    }
    if name in same:
        source, arguments = same[name]
        return source, arguments, arguments
    other: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "outside": (WRITE, {"paths": [*system, f"{folder}/x"]}, {"paths": [f"{folder}/x"]}),
        "symlink": (SYMLINK, {"secret": world.secret, "folder": scratch}, {"secret": world.secret, "folder": folder}),
        "hard link": (
            HARDLINK,
            {"secret": world.secret, "folder": scratch},
            {"secret": world.secret, "folder": folder},
        ),
        "network": (
            CONNECT,
            {"family": 2, "addresses": [(own_address(), world.tcp[1]), *everywhere]},
            {"family": 2, "addresses": [world.tcp]},
        ),
        "one large file": (FILL, {"folder": scratch, "files": 1, "mb": 8}, {"folder": folder, "files": 1, "mb": 8}),
        "many files": (FILL, {"folder": scratch, "files": 8, "mb": 1}, {"folder": folder, "files": 8, "mb": 1}),
    }
    return other[name]


NAMES = """fork bomb; zombies; password file; host file; host command lines; environment; own library; host loopback
name server; unix socket; abstract socket; vsock; netlink, packet, alg; host process; memory; namespaces; ptrace
io_uring, keys, bpf; new privileges; capabilities; terminal; devices; sysctl; kernel; descriptors; outside; symlink
hard link; network; one large file; many files""".replace("\n", "; ").split("; ")
NEEDS_ROOT = {"own library", "sysctl", "terminal"}


@pytest.mark.parametrize("name", NAMES)
async def test_what_succeeds_without_a_box_fails_in_one(
    world: World, host: Host, controls: dict[str, dict[str, Any]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOMINIE_ABUSE", "secret")
    source, arguments, control = given(world, name)
    if name == "devices" and host.runsc:
        arguments = {"but": ["fuse"]}  # of its own kernel, where nobody may mount
    outcome = await boxed(source, host=host, **arguments)
    assert not (outcome.status == "ok" and outcome.value), outcome
    assert outcome.status in {"ok", "error", "died", "memory"}, outcome
    if name in NEEDS_ROOT and not ROOT:
        pytest.skip("ITS POSITIVE CONTROL NEEDS ROOT: the box held")
    found = controls.setdefault(name, {}) or unboxed(source, **control)
    controls[name] = found
    if name == "vsock" and not found.get("value"):
        pytest.skip("THIS MACHINE HAS NO VSOCK: the box held")
    assert found == {"value": True}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("while True: pass", id="endless loop"),
        pytest.param("import time; time.sleep(1e6)", id="sleep"),
        pytest.param(
            "import signal\n  for s in (2, 15, 24): signal.signal(s, signal.SIG_IGN)\n  while True: pass",
            id="deaf loop",
        ),
    ],
)
async def test_what_never_ends_is_ended(host: Host, body: str) -> None:
    source = f"def attack():\n  {body}"
    assert (await boxed(source, replace(SMALL, time_s=1.0), host=host)).status == "timeout"
    if not host.runsc:
        with pytest.raises(subprocess.TimeoutExpired):
            unboxed(source, timeout_s=2)


async def test_what_prints_without_end_is_ended(host: Host) -> None:
    source = "import sys\ndef attack(mb):\n  for _ in range(mb * 16): sys.stdout.write('x' * 65536)\n  return True"
    assert (await boxed(source, host=host, mb=1024)).status == "output"
    assert unboxed(source, mb=1) == {"value": True}


@needs_cgroup
async def test_processes_that_hold_too_much_together_are_ended(host: Host) -> None:
    outcome = await boxed(TOGETHER, host=host, processes=6, mb=25)
    assert not (outcome.status == "ok" and outcome.value)
    assert (await boxed(TOGETHER, cgroup=False, host=host, processes=6, mb=25)).value is True


async def test_a_daemon_ends_with_the_call(host: Host) -> None:
    source = """
import os
def attack(mark):
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/usr/bin/sleep", ["sleep", mark])
        os._exit(0)
    os.close(told)
    return os.read(ready, 1) == b""
"""
    before = with_mark("box") if host.runsc else []
    assert (await boxed(source, host=host, mark=f"600.{os.getpid()}1")).value is True
    assert not with_mark(f"600.{os.getpid()}1")
    assert not host.runsc or set(with_mark("box")) <= set(before)  # its kernel, in which alone the daemon is
    assert unboxed(source, mark=f"600.{os.getpid()}2")["value"] is True
    left = with_mark(f"600.{os.getpid()}2")
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(left) == 1


def with_mark(mark: str) -> list[int]:
    """The processes whose last argument this is."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(f"\0{mark}\0".encode()):
                found.append(pid)
        except OSError:
            continue
    return found


async def test_a_signal_to_everybody_stays_in_the_box(world: World, host: Host) -> None:
    """Without a box nobody would be left to see it: that it works is seen by a process beside it, in the box."""
    source = """
import os, signal, time
def attack():
    child = os.fork()
    if child == 0:
        time.sleep(600)
    os.kill(-1, 15)
    return os.waitpid(child, 0)[1] == 15
"""
    assert (await boxed(source, host=host)).value is True
    assert world.victim.poll() is None


async def test_a_signal_to_its_parent_reaches_nobody_outside(world: World, host: Host) -> None:
    source = "import os\ndef attack():\n  os.kill(os.getppid(), 9)\n  return True"
    await boxed(source, host=host)
    assert (await boxed("def attack(): return 1", host=host)).value == 1
    assert killed_by(source) == (-9, "")
    assert killed_by("def attack(): return True") == (0, "alive")


def killed_by(source: str) -> tuple[int, str]:
    """How a parent ends that runs this without a box, and what it says last."""
    limits = asdict(replace(SMALL, memory_mb=9999, processes=9999))
    work = {"source": source, "function": "attack", "arguments": {}, "context": {}, "limits": limits}
    program = f"{sys.executable} {inside.__file__} 2 2>/dev/null; printf alive"
    run = ["sh", "-c", program]
    parent = subprocess.run(run, input=json.dumps(work).encode(), capture_output=True, timeout=60, check=False)
    return parent.returncode, parent.stdout.decode()


def test_there_are_39() -> None:
    by_themselves = 3 + 1 + 1 + 1 + 1 + 1  # never ending, printing, together, daemon, everybody, parent
    assert len(set(NAMES)) + by_themselves == 39
