"""The parts of a box that need none: what a run came to, where cgroups can be made, what the filter says."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie_contracts.tool import Backend
from dominie_tool.sandbox.cgroup import Cgroup, begun, find_parents, sweep
from dominie_tool.sandbox.crowds import MOST_DEEP, crowded, deep
from dominie_tool.sandbox.host import missing_in, survey
from dominie_tool.sandbox.known import Known
from dominie_tool.sandbox.remedies import for_namespaces
from dominie_tool.sandbox.seccomp import ALLOWED, OLDER, assemble, seccomp_filter
from dominie_tool.sandbox.syscalls import SYSCALLS
from dominie_tool.sandbox.values import CgroupParents, Fault, Host, Limits, Outcome, SandboxUnavailable
from dominie_tool.sandbox.verdict import READY, Heard, verdict

LIMITS = Limits()


def heard(
    result: bytes = READY,
    *,
    code: int | None = 0,
    overflowed: bool = False,
    starved: bool = False,
    timed_out: bool = False,
) -> Heard:
    return Heard(result, b"bwrap: no", code, overflowed, starved, timed_out)


@pytest.mark.parametrize(
    ("of", "status"),
    [
        (heard(READY + b'{"value": 1}\n'), "ok"),
        (heard(READY + b'{"value": 1}\n', starved=True), "ok"),
        (heard(READY + b'{"value": 1}', code=None, timed_out=True), "timeout"),
        (heard(READY + b'{"value": 1}\n', overflowed=True), "output"),
        (heard(READY + b'{"error": "x"}\n'), "error"),
        (heard(READY + b'{"error": "x"}\n{"value": 1}\n'), "error"),
        (heard(READY + b'{"memory": true}\n'), "memory"),
        (heard(READY + b"[]\n"), "error"),
        (heard(code=137, starved=True), "memory"),
        (heard(b"", code=None, starved=True, timed_out=True), "memory"),
        (heard(b"", code=None, timed_out=True), "timeout"),
        (heard(code=152), "timeout"),
        (heard(code=139), "died"),
        (heard(), "died"),
    ],
)
def test_a_run_comes_to_one_of_six_ends(of: Heard, status: str) -> None:
    assert verdict(of, LIMITS, ("rlimits",)).status == status


def test_a_box_that_never_was_ready_did_not_start() -> None:
    with pytest.raises(SandboxUnavailable, match="bwrap: no"):
        verdict(heard(b"waiting\n", code=1), LIMITS, ())


@given(st.binary(max_size=200), st.sampled_from([0, 1, 137, None]))
def test_whatever_a_tool_writes_there_is_a_verdict(written: bytes, code: int | None) -> None:
    outcome = verdict(heard(READY + written, code=code), LIMITS, ())
    assert isinstance(outcome, Outcome)


@pytest.mark.parametrize(
    "value",
    [[[]] * 1_000_000, [0] * 1_000_000, [{"a": 1}] * 60_000, [""] * 1_000_000, {str(n): n for n in range(110_000)}],
    ids=["lists", "numbers", "objects", "texts", "names"],
)
def test_a_result_of_too_many_parts_is_not_read(value: object) -> None:
    outcome = verdict(heard(READY + json.dumps({"value": value}).encode() + b"\n"), LIMITS, ())
    assert outcome.status == "error" and "more than 100,000 parts" in outcome.detail


@pytest.mark.parametrize(
    "value",
    ["a,[{" * 100_000, ['\\",[' * 50_000, '"\\' * 100_000, "[,"], [0] * 90_000, {"a": ["\\" * 3, "," * 300_000]}],
    ids=["text", "escapes", "numbers", "backslashes"],
)
def test_what_is_in_texts_are_no_parts(value: object) -> None:
    assert verdict(heard(READY + json.dumps({"value": value}).encode() + b"\n"), LIMITS, ()).value == value


@settings(deadline=None, max_examples=40)
@given(st.text('\\",[{a\n'))
def test_texts_are_told_from_parts_however_they_are_written(text: str) -> None:
    assert not crowded(json.dumps([text, "," * 100_001, text]).encode())
    assert crowded(json.dumps([text, [0] * 100_001, text]).encode())
    inner = "[" * (MOST_DEEP - 2) + "]" * (MOST_DEEP - 2)
    around = json.dumps([text, {"[" * 9: "{" * 200}, 0, text])
    assert not deep(around.replace("0", inner, 1).encode())
    assert deep(around.replace("0", f"[[{inner}]]", 1).encode())


def tree(root: Path, *folders: str) -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "cgroup.procs").touch()
        (root / folder / "cgroup.subtree_control").write_text("memory pids\n" if not folder.endswith("leaf") else "\n")


def proc(root: Path, mounts: list[str], own: str) -> Path:
    lines = [f"30 20 0:1 {line.format(root=root)}" for line in mounts]
    (root / "proc").mkdir()
    (root / "proc/mountinfo").write_text("\n".join(lines))
    (root / "proc/cgroup").write_text(own)
    return root / "proc"


UNIFIED = "/ {root}/v2 rw - cgroup2 cgroup2 rw"
APART = ["/ {root}/m rw - cgroup cgroup rw,memory", "/ {root}/p rw shared:1 - cgroup cgroup rw,pids"]


def test_version_1_goes_below_what_bounds_this_process(tmp_path: Path) -> None:
    tree(tmp_path, "m/a/b", "p", "v2")
    found = find_parents(proc(tmp_path, [*APART, UNIFIED], "5:memory:/a/b\n4:cpu,pids:/\n0::/\n"))
    assert found == CgroupParents(1, tmp_path / "m/a/b", tmp_path / "p")


def test_in_a_container_the_mount_is_what_bounds_this_process(tmp_path: Path) -> None:
    tree(tmp_path, "m", "p")
    mounts = [line.replace("/ {root}", "/docker/1 {root}", 1) for line in APART]
    found = find_parents(proc(tmp_path, mounts, "5:memory:/docker/1\n4:pids:/docker/1\n"))
    assert found == CgroupParents(1, tmp_path / "m", tmp_path / "p")


def test_version_2_goes_where_limits_are_passed_on(tmp_path: Path) -> None:
    tree(tmp_path, "v2", "v2/service", "v2/service/leaf")
    found = find_parents(proc(tmp_path, [UNIFIED], "0::/service/leaf\n"))
    assert found == CgroupParents(2, tmp_path / "v2/service", tmp_path / "v2/service")


def test_without_a_place_there_is_none(tmp_path: Path) -> None:
    tree(tmp_path, "leaf")
    assert find_parents(proc(tmp_path, ["/ {root}/leaf rw - cgroup2 cgroup2 rw"], "0::/\n")) is None


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, {"m/memory.limit_in_bytes": str(64 << 20), "p/pids.max": "9"}),
        (2, {"m/memory.max": str(64 << 20), "m/pids.max": "9"}),
    ],
)
def test_the_limits_are_written(tmp_path: Path, version: int, files: dict[str, str]) -> None:
    tree(tmp_path, "m", "p")
    parents = CgroupParents(1 if version == 1 else 2, tmp_path / "m", tmp_path / ("p" if version == 1 else "m"))
    made = Cgroup.make(parents, Limits(memory_mb=64, processes=5), Host("bwrap", "python3").own)
    name = made.memory.name
    assert {file: (tmp_path / file.replace("/", f"/{name}/")).read_text() for file in files} == files
    assert len(made.joins()) == (2 if version == 1 else 1)


def test_what_a_killed_service_left_is_swept(tmp_path: Path) -> None:
    mine, other = f"dominie-{os.getpid()}-{begun(os.getpid())}-0", f"dominie-1-{begun(1)}-0"
    gone = ("dominie-4194999-5-0", f"dominie-{os.getpid()}-5-0")  # above the highest number; one that had this number
    for name in (mine, other, *gone, "other", "dominie-of-an-other"):
        (tmp_path / name).mkdir()
    sweep(CgroupParents(2, tmp_path, tmp_path))
    assert {folder.name for folder in tmp_path.iterdir()} == {mine, other, "other", "dominie-of-an-other"}


def test_what_was_missing_is_looked_for_again_after_a_minute() -> None:
    looked: list[Backend] = []
    now = [0.0]
    whole = Host("bwrap", "python3", cgroups=CgroupParents(2, Path("/"), Path("/")))
    found: list[Host | Fault] = [Fault("bubblewrap", "too slow"), Host("bwrap", "python3"), whole]

    def look(backend: Backend, runsc: str) -> Host | Fault:
        looked.append(backend)
        return found[len(looked) - 1]

    known = Known(look, lambda host: host.cgroups is not None, lambda: now[0])
    for at_s, expected in ((0, found[0]), (60, found[0]), (61, found[1]), (121, found[1]), (122, whole), (9999, whole)):
        now[0] = at_s
        assert known.get("bubblewrap", "runsc") == expected
    assert len(looked) == 3


def run_filter(program: bytes, audit: int, number: int, argument: int) -> int:
    """What the kernel would do: its classic BPF, as far as the filter uses it."""
    steps = list(struct.iter_unpack("=HBBI", program))
    data, loaded, at = {0: number, 4: audit, 16: argument, 24: argument}, 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        if code == 0x06:
            return int(value)
        if code == 0x20:
            loaded = data[value]
            at += 1
            continue
        test = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
        at += 1 + (if_true if test else if_false)


ALLOW, EPERM, ENOTTY, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050019, 0x00050026, 0x80000000


@pytest.mark.parametrize(
    ("machine", "audit", "number", "argument", "verdict"),
    [
        ("x86_64", 0xC000003E, 0, 0, ALLOW),  # read
        ("x86_64", 0xC000003E, 101, 0, EPERM),  # ptrace
        ("x86_64", 0xC000003E, 425, 0, EPERM),  # io_uring_setup
        ("x86_64", 0xC000003E, 435, 0, ENOSYS),  # clone3
        ("x86_64", 0xC000003E, 56, 17, ALLOW),  # clone, as fork uses it
        ("x86_64", 0xC000003E, 56, 0x10000011, EPERM),  # clone, with a user namespace
        ("x86_64", 0xC000003E, 41, 1, ALLOW),  # socket(AF_UNIX)
        ("x86_64", 0xC000003E, 41, 10, EPERM),  # socket(AF_INET6)
        ("x86_64", 0xC000003E, 41, 40, EPERM),  # socket(AF_VSOCK)
        ("x86_64", 0xC000003E, 53, 30, EPERM),  # socketpair(AF_TIPC)
        ("x86_64", 0xC000003E, 16, 0x5412, ENOTTY),  # ioctl(TIOCSTI)
        ("x86_64", 0xC000003E, 16, 0x5401, ALLOW),  # ioctl(TCGETS), as isatty asks
        ("x86_64", 0xC000003E, 29, 0, EPERM),  # shmget
        ("x86_64", 0xC000003E, 319, 0, EPERM),  # memfd_create
        ("x86_64", 0xC000003E, 231, 0, ALLOW),  # exit_group
        ("x86_64", 0xC000003E, 451, 0, ENOSYS),  # newer than the table
        ("x86_64", 0xC000003E, 0x40000000, 0, EPERM),  # x32
        ("x86_64", 0x40000003, 0, 0, KILL),  # 32 bits
        ("aarch64", 0xC00000B7, 198, 40, EPERM),  # socket(AF_VSOCK)
        ("aarch64", 0xC00000B7, 198, 1, ALLOW),
        ("aarch64", 0xC00000B7, 63, 0, ALLOW),  # read
        ("aarch64", 0xC00000B7, 117, 0, EPERM),  # ptrace
        ("aarch64", 0xC00000B7, 220, 0x10000011, EPERM),
        ("aarch64", 0xC000003E, 0, 0, KILL),
    ],
)
def test_the_filter_decides(machine: str, audit: int, number: int, argument: int, verdict: int) -> None:
    assert run_filter(seccomp_filter(machine), audit, number, argument) == verdict


@given(st.sampled_from(sorted(SYSCALLS)), st.integers(0, 500))
def test_only_what_is_on_the_list_is_allowed(machine: str, number: int) -> None:
    program, known = seccomp_filter(machine), SYSCALLS[machine]
    audit = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    listed = {known[name] for name in ALLOWED} | {known[name] for name in OLDER[machine]}
    by_argument = {known[name] for name in ("clone", "socket", "socketpair", "ioctl")}
    allowed = run_filter(program, audit, number, 0x7FFFFFFF) == ALLOW
    assert allowed == (number in listed)
    assert not listed & by_argument


def test_for_an_unknown_machine_there_is_no_filter() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        seccomp_filter("riscv64")


def test_a_name_that_nobody_knows_is_no_filter() -> None:
    with pytest.raises(SandboxUnavailable, match="'raed'"):
        assemble("x86_64", ["write", "raed"], SYSCALLS["x86_64"])


@pytest.mark.parametrize(
    ("name", "x86_64", "aarch64"), [("read", 0, 63), ("statx", 332, 291), ("futex_waitv", 449, 449)]
)
def test_numbers_count_on_from_the_last_one_given(name: str, x86_64: int, aarch64: int) -> None:
    assert (SYSCALLS["x86_64"][name], SYSCALLS["aarch64"][name]) == (x86_64, aarch64)


FACTS: dict[str, object] = {
    "python": [3, 11],
    "gvisor": False,
    "uid": True,
    "seccomp": True,
    "namespaces": True,
    "rlimits": 256,
    "scratch": 16,
}


@pytest.mark.parametrize(
    ("seen", "part"),
    [
        ({}, None),
        ({"uid": False}, "uid"),
        ({"gvisor": True}, "gvisor"),
        ({"seccomp": False}, "seccomp"),
        ({"namespaces": False}, "namespaces"),
        ({"rlimits": -1}, "rlimits"),
        ({"scratch": 7000}, "scratch"),
        ({"python": [3, 10]}, "namespaces"),
        ({"python": "3"}, "namespaces"),
    ],
)
def test_a_layer_that_a_box_does_not_see_is_missing(seen: dict[str, object], part: str | None) -> None:
    found = missing_in({**FACTS, **seen}, Host("bwrap", "python3"))
    assert (found.part if found else None) == part


def test_where_its_kernel_is_not_gvisors_there_is_no_gvisor() -> None:
    of = Host("bwrap", "python3", runsc="runsc")
    found = missing_in(FACTS, of)
    assert found is not None and found.part == "gvisor"
    assert missing_in({**FACTS, "gvisor": True}, of) is None


def test_what_to_do_names_the_setting_that_forbids(tmp_path: Path) -> None:
    assert "--security-opt" in for_namespaces(tmp_path)
    (tmp_path / "user").mkdir()
    (tmp_path / "user/max_user_namespaces").write_text("0\n")
    assert "sysctl -w user.max_user_namespaces=10000" in for_namespaces(tmp_path)


def test_every_layer_that_is_built_holds() -> None:
    """Where it does not, all the other tests of the sandbox are left out: not this one."""
    found = survey()
    assert not (isinstance(found, Fault) and "did not hold" in found.reason), found
