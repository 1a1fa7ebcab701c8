"""The program around a WebAssembly module: one call of one function of it, in a process of its own.

It speaks as `inside` does: JSON in, on a descriptor of its own a line `waiting`, a line `ready` once the limits hold,
one line of JSON. The module (WASI, preview 1) reads its arguments from standard input, as JSON, and writes its result
to standard output. It has clocks and chance, and neither files, nor an environment, nor a network.
"""

from __future__ import annotations

import base64
import ctypes
import json
import math
import os
import resource
import sys

import wasmtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NOBODY = 65534
_FILES = 64
_COMPILER = 512 << 20
"""What the compiler may have beside the module's own memory, of addresses."""
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_PROBE = ""
"""The function's name where what holds it is asked for."""
_FACTS = ("NoNewPrivs", "CapEff", "CapPrm", "Seccomp")


class _Output:
    """What the module writes to its standard output, until it is more than may be."""

    def __init__(self, most: int, result: int) -> None:
        self.data = bytearray()
        self._most = most
        self._result = result

    def take(self, data: bytes) -> int:
        """Take in what was written. Too much of it goes out as it is, which the host sees and ends this process for."""
        self.data += data
        if len(self.data) > self._most:
            _write(self._result, bytes(self.data))
            os._exit(0)
        return len(data)


def _drop_root() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _filter_calls(rules: bytes) -> None:
    """Allow the system calls of a list alone, for good (seccomp(2))."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(rules) // 8, rules)
    for call in ((_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "the system calls could not be filtered")


def _limit(limits: Mapping[str, float]) -> None:
    """Bound this process, for good."""
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    cpu_s = math.ceil(limits["time_s"]) + 1
    bounds = {
        resource.RLIMIT_AS: held + (int(limits["memory_mb"]) << 20) + _COMPILER,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: int(limits["output_bytes"]),
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for which, bound in bounds.items():
        resource.setrlimit(which, (bound, bound))


def _engine(memory_mb: int) -> wasmtime.Engine:
    config = wasmtime.Config()
    config.parallel_compilation = False
    config.memory_init_cow = False  # it would want memfd_create
    config.wasm_threads = False
    config.shared_memory = False
    config.wasm_memory64 = False
    config.memory_reservation = memory_mb << 20
    config.memory_guard_size = 1 << 16
    return wasmtime.Engine(config)


def _module(engine: wasmtime.Engine, source: str) -> wasmtime.Module:
    try:
        text = source.lstrip().startswith(("(", ";;"))
        return wasmtime.Module(engine, source if text else base64.b64decode(source, validate=True))
    except (ValueError, wasmtime.WasmtimeError) as error:
        raise LookupError(f"the source is no WebAssembly module: {error}") from None


def _run(work: Mapping[str, Any], limits: Mapping[str, int], result: int) -> bytes:
    engine = _engine(limits["memory_mb"])
    module = _module(engine, work["source"])
    store, output = wasmtime.Store(engine), _Output(limits["output_bytes"], result)
    store.set_limits(memory_size=limits["memory_mb"] << 20, table_elements=100_000, instances=1, tables=10, memories=1)
    wasi = wasmtime.WasiConfig()
    wasi.inherit_stdin()
    wasi.inherit_stderr()
    wasi.stdout_custom = output.take
    store.set_wasi(wasi)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    function = linker.instantiate(store, module).exports(store).get(work["function"])
    if not isinstance(function, wasmtime.Func):
        raise LookupError(f"the module has no function {work['function']!r}")
    try:
        function(store)
    except wasmtime.ExitTrap as end:
        if end.code:
            raise RuntimeError(f"the module ended with exit status {end.code}") from None
    return bytes(output.data)


def _give(arguments: Mapping[str, object]) -> None:
    """Have the arguments on standard input."""
    given = os.memfd_create("arguments")
    os.write(given, json.dumps(arguments).encode())
    os.lseek(given, 0, os.SEEK_SET)
    os.dup2(given, 0)


def _answer(work: Mapping[str, Any], limits: Mapping[str, int], result: int) -> bytes:
    try:
        if work["function"] == _PROBE:
            return json.dumps({"value": _facts(work, limits, result)}).encode()
        said = _run(work, limits, result)
        return json.dumps({"value": json.loads(said)}, allow_nan=False).encode()
    except MemoryError:
        return b'{"memory": true}'
    except ValueError as error:
        return json.dumps({"error": f"what the module wrote is not JSON: {error}"}).encode()
    except Exception as error:
        said_why = str(error).strip().splitlines() or [type(error).__name__]
        return json.dumps({"error": "; ".join(said_why)[-1500:]}).encode()


def _facts(work: Mapping[str, Any], limits: Mapping[str, int], result: int) -> dict[str, object]:
    """What holds this process, as it sees it; and whether the module says that it is held."""
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    said = {name: status[name].strip() for name in _FACTS}
    return {
        "uid": os.getuid() != 0 and said["NoNewPrivs"] == "1" and not int(said["CapEff"] + said["CapPrm"], 16),
        "seccomp": said["Seccomp"] == "2",
        "rlimits": resource.getrlimit(resource.RLIMIT_NOFILE)[1] == _FILES,
        "wasm": _run({**work, "function": "_start"}, limits, result) == b"true",
    }


def main() -> None:
    """Do the work that standard input describes."""
    result, rules = int(sys.argv[1]), int(sys.argv[2])
    steps = os.read(rules, 1 << 16)
    os.close(rules)
    _drop_root()
    _write(result, b"waiting\n")
    work = json.load(sys.stdin)
    _give(work["arguments"])
    _limit(work["limits"])
    _filter_calls(steps)
    _write(result, b"ready\n")
    _write(result, _answer(work, work["limits"], result) + b"\n")
    os._exit(0)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
