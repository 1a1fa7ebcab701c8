"""WebAssembly modules as tools: what they may do, and those of the 39 abuses that they can express.

Each abuse also runs where it is given what it wants, and succeeds there.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dominie_tool.sandbox import Limits, Outcome, Sandbox
from dominie_tool.sandbox.host import missing_in
from dominie_tool.sandbox.values import Host

wasmtime = pytest.importorskip("wasmtime", reason="NO WASMTIME IS TESTED HERE: it is not installed")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        Sandbox.missing("wasmtime") is not None, reason=f"NO WASMTIME IS TESTED HERE: {Sandbox.missing('wasmtime')}"
    ),
]
LIMITS = Limits(time_s=30, memory_mb=64, output_bytes=20_000)
WASI = '(import "wasi_snapshot_preview1"'
IO = f"""{WASI} "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
{WASI} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"""
ECHO = f"""(module {IO} (memory (export "memory") 1)
(func (export "_start")
  (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 60000))
  (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (i32.store (i32.const 4) (i32.load (i32.const 8)))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
OPEN = "path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"


def attempt(what: str, parameters: str, call: str, data: str = "") -> str:
    """A module that says whether a call of WASI came to 0."""
    return f"""(module {IO} {WASI} "{what}" (func $do (param {parameters}) (result i32)))
(memory (export "memory") 1)
(data (i32.const 256) "{data}") (data (i32.const 512) "true") (data (i32.const 520) "false")
(func (export "_start") (local $failed i32)
  (local.set $failed {call})
  (i32.store (i32.const 0) (select (i32.const 520) (i32.const 512) (local.get $failed)))
  (i32.store (i32.const 4) (select (i32.const 5) (i32.const 4) (local.get $failed)))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


def opening(path: str, flags: int, rights: int) -> str:
    call = f"""(call $do (i32.const 3) (i32.const 0) (i32.const 256) (i32.const {len(path)}) (i32.const {flags})
    (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 16))"""
    return attempt(*OPEN, call, path)


def numbers(*given: int) -> str:
    return "(call $do " + " ".join(f"(i32.const {number})" for number in given) + ")"


ABUSES = {
    "host file": opening("secret", 0, 2),
    "password file": opening("etc/passwd", 0, 2),
    "outside": opening("new", 1, 64),
    "symlink": attempt("path_symlink", "i32 i32 i32 i32 i32", numbers(256, 6, 3, 262, 4), "secretlink"),
    "hard link": attempt("path_link", "i32 i32 i32 i32 i32 i32 i32", numbers(3, 0, 256, 6, 3, 262, 4), "secrethard"),
    "environment": attempt(
        "environ_sizes_get", "i32 i32", f"(i32.or {numbers(16, 20)} (i32.eqz (i32.load (i32.const 16))))"
    ),
    "descriptors": attempt("fd_prestat_get", "i32 i32", numbers(3, 16)),
    "memory": attempt(
        "environ_sizes_get", "i32 i32", "(i32.eq (memory.grow (i32.const 1920)) (i32.const -1))"
    ),  # 120 MB
}
ENDLESS = {
    "endless loop": '(module (memory (export "memory") 1) (func (export "_start") (loop $on (br $on))))',
    "sleep": f"""(module {WASI} "poll_oneoff" (func $wait (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (func (export "_start") (i64.store (i32.const 24) (i64.const 1000000000000000))
    (drop (call $wait (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))""",
}
PRINTS = f"""(module {IO} (memory (export "memory") 1)
(func (export "_start") (i32.store (i32.const 4) (i32.const 60000))
  (loop $on (drop (call $write (i32.const STREAM) (i32.const 0) (i32.const 1) (i32.const 8))) (br $on))))"""
NO_WORDS = {
    "it has no processes, threads or signals": """deaf loop; fork bomb; zombies; host command lines; host process
    together; daemon; everybody; parent""",
    "it opens no sockets": """host loopback; name server; unix socket; abstract socket; vsock; netlink, packet, alg
    network""",
    "it makes no system calls": "namespaces; ptrace; io_uring, keys, bpf; terminal",
    "it has no folder, so none can be filled, and nothing in it names the machine": """new privileges; capabilities
    devices; sysctl; kernel; own library; one large file; many files""",
}
"""The abuses for which a module has no words, and why."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    found = Sandbox(LIMITS, backend="wasmtime", waiting=1)
    async with found.open():
        yield found


async def run(source: str, sandbox: Sandbox | None = None, limits: Limits = LIMITS, **arguments: object) -> Outcome:
    return await (sandbox or Sandbox(backend="wasmtime")).run(source, "_start", arguments, limits=limits)


def given_all(source: str, folder: Path, root: str) -> str:
    """What a module says that has a folder, an environment, and as much memory as it likes."""
    engine = wasmtime.Engine()
    store, linker, wasi = wasmtime.Store(engine), wasmtime.Linker(engine), wasmtime.WasiConfig()
    wasi.preopen_dir(root, "/")
    wasi.env = [("DOMINIE_ABUSE", "secret")]
    wasi.stdout_file = str(folder / "said")
    store.set_wasi(wasi)
    linker.define_wasi()
    linker.instantiate(store, wasmtime.Module(engine, source)).exports(store)["_start"](store)
    return (folder / "said").read_text()


@pytest.mark.parametrize("name", ABUSES)
async def test_what_succeeds_where_it_is_given_fails_in_a_box(name: str, tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    (tmp_path / "world/secret").write_text("secret")
    root = "/" if name == "password file" else str(tmp_path / "world")
    assert (await run(ABUSES[name])).value is False
    assert given_all(ABUSES[name], tmp_path, root) == "true"


@pytest.mark.parametrize("name", ENDLESS)
async def test_what_never_ends_is_ended(name: str) -> None:
    assert (await run(ENDLESS[name], limits=replace(LIMITS, time_s=1.5))).status == "timeout"


@pytest.mark.parametrize("stream", [1, 2], ids=["result", "error"])
async def test_what_prints_without_end_is_ended(stream: int) -> None:
    assert (await run(PRINTS.replace("STREAM", str(stream)))).status == "output"


def test_the_others_it_has_no_words_for() -> None:
    others = [name.strip() for names in NO_WORDS.values() for name in names.replace("\n", ";").split(";")]
    printing = 1
    assert len(set(others)) + len(ABUSES) + len(ENDLESS) + printing == 39


async def test_a_module_is_called_with_json_and_answers_with_it(sandbox: Sandbox) -> None:
    layers = Sandbox.layers("wasmtime")
    binary = base64.b64encode(wasmtime.wat2wasm(ECHO)).decode()
    for source in (ECHO, binary, f";; as text\n{ECHO}"):
        outcome = await run(source, sandbox, number=21, name="ä")
        assert outcome == Outcome("ok", {"number": 21, "name": "ä"}, "", layers)
        await sandbox.pool.one_waits()
    assert layers[:4] == ("uid", "wasm", "seccomp", "rlimits")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("(module", "no WebAssembly module"),
        ("nope", "no WebAssembly module"),
        (base64.b64encode(b"\0asm\1\0\0\0\xff").decode(), "no WebAssembly module"),
        ("(module)", "no function '_start'"),
        ('(module (memory (export "_start") 1))', "no function '_start'"),
        ('(module (import "env" "system" (func)))', "unknown import"),
        ('(module (memory 60000) (func (export "_start")))', "exceeds memory limits"),
        ('(module (table 200000 funcref) (func (export "_start")))', "table minimum size"),
        ('(module (func $f (export "_start") (call $f)))', "call stack exhausted"),
        ('(module (func (export "_start") unreachable))', "unreachable"),
        ('(module (memory (export "memory") 1) (func (export "_start")))', "is not JSON"),
        ('(module (func (export "_start") (param i32)))', "too few parameters"),
    ],
    ids=lambda value: None if value.startswith(("(", "n", "A")) else value,
)
async def test_a_module_that_is_wrong_is_an_error_of_the_tool(sandbox: Sandbox, source: str, why: str) -> None:
    outcome = await run(source, sandbox)
    assert outcome.status == "error"
    assert why in outcome.detail, outcome.detail


async def test_an_exit_status_is_an_error_unless_it_is_0() -> None:
    exits = f"""(module {WASI} "proc_exit" (func $exit (param i32))) {IO} (memory (export "memory") 1)
    (data (i32.const 16) "7") (func (export "_start") (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 1)) (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const STATUS))))"""
    assert (await run(exits.replace("STATUS", "0"))).value == 7
    assert (await run(exits.replace("STATUS", "3"))).detail == "the module ended with exit status 3"


@pytest.mark.parametrize("layer", ["uid", "wasm", "seccomp", "rlimits"])
def test_a_layer_that_is_not_seen_is_missing(layer: str) -> None:
    held: dict[str, object] = dict.fromkeys(("uid", "wasm", "seccomp", "rlimits"), True)
    host = Host("", "python3", wasm=True)
    assert missing_in(held, host) is None
    found = missing_in({**held, layer: False}, host)
    assert found is not None and found.part == layer
