"""Sandboxed tools through everything: the code interpreter, and tools that do what they can to be no trouble's end."""

import base64
import json
import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

import dominie
from dominie_contracts import Forbidden, Invalid, Problem, ToolFailed
from dominie_contracts.tool import ListTools, Profile, RegisteredTool, RegisterTool, Tools, ToolSpec
from dominie_kit.house.system import System
from dominie_tool.sandbox import Sandbox
from dominie_tool.sandbox.testing import gvisor

pytestmark = [
    pytest.mark.timeout(1000),  # gVisor may have to be built
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]
SERVICES = ("identity", "guardrail", "tool", "audit")
TOOLS = '''
import dominie, os, time

@dominie.tool(kind="sandboxed", effect="write", timeout_s=3)
def trouble(how: str) -> int:
    """What a tool can do wrong."""
    if how == "raise":
        raise KeyError("gone")
    if how == "hang":
        time.sleep(600)
    if how == "fork":
        while True:
            os.fork()
    if how == "fill":
        with open("/tmp/full", "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    if how == "print":
        for _ in range(1 << 14):
            print("x" * (1 << 16))
    if how == "lie":
        return "seven"
    if how == "hog":
        return len(b"x" * (1 << 30))
    return 7
'''
WEB = """
import dominie, os, urllib.error, urllib.request

@dominie.tool(
    kind="sandboxed", effect="read", timeout_s=30,
    profile={"network": {"hosts": ["api.example.org", "*.example.com"], "secrets": ["API_KEY"]}},
)
def web(url: str) -> str:
    try:
        request = urllib.request.Request(url, headers={"Authorization": os.environ["API_KEY"]})
        return urllib.request.urlopen(request, timeout=20).read().decode()
    except urllib.error.HTTPError as error:
        return error.reason
"""
GREEDY = """
import dominie

@dominie.tool(kind="sandboxed", profile={"memory_mb": 60000})
def greedy() -> int:
    return 1
"""


ECHO = """(module
(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(memory (export "memory") 1)
(func (export "_start")
  (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 60000))
  (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (i32.store (i32.const 4) (i32.load (i32.const 8)))
  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
KERNEL = """
import dominie, os

@dominie.tool(kind="sandboxed", effect="read", profile={"backend": "runsc"})
def kernel() -> str:
    return os.uname().release
"""


@pytest.fixture(scope="module")
def no_gvisor() -> str | None:
    """Why gVisor is not tested, where it is not."""
    try:
        gvisor()
    except pytest.skip.Exception as left_out:
        return left_out.msg
    return None


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, no_gvisor: str | None) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    (folder / "project").mkdir()
    runsc = {"DOMINIE_TOOL_RUNSC": "/nowhere/runsc" if no_gvisor else gvisor()}
    with System(folder / "project", keys=folder / "keys", services=SERVICES, environment=runsc) as found:
        yield found


@pytest.fixture(scope="module")
def project(system: System, dominie_command: str) -> Path:
    """The project's folder, with the interpreter and `trouble` registered."""
    folder = system.plan.folder
    (folder / "tools.py").write_text(TOOLS)
    (folder / "greedy.py").write_text(GREEDY)
    code, said = cli(folder, dominie_command, "tool", "add", "--python", "tools.py", "--json")
    assert code == 0, said
    assert [tool["name"] for tool in json.loads(said)["tools"]] == ["python", "trouble"]
    return folder


@pytest.fixture(scope="module")
def run(project: Path) -> Iterator[dominie.Run]:
    with chdir(project), dominie.Client("coder") as client, client.run(user="dana", id="r-code") as found:
        yield found


def cli(project: Path, command: str, *arguments: str, given: str = "") -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
    done = subprocess.run(
        [command, *arguments],
        cwd=project,
        env=clean,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def execute(run: dominie.Run, code: str, **files: JsonValue) -> dict[str, Any]:
    found = run.invoke("python", {"code": code, "files": dict(files)} if files else {"code": code}).result
    assert isinstance(found, dict)
    return found


def test_a_program_runs_and_says_what_it_printed_and_what_it_is_worth(run: dominie.Run) -> None:
    found = execute(run, "import statistics\nprint('hello')\nstatistics.mean([1, 2, 6])")
    assert found == {"stdout": "hello\n", "result": 3, "error": None, "files": {}}


def test_what_fails_in_a_program_is_its_traceback_and_what_it_printed_before(run: dominie.Run) -> None:
    found = execute(run, "print('before')\n1 / 0")
    assert found["stdout"] == "before\n"
    assert 'File "<program>", line 2' in found["error"] and found["error"].endswith(
        "ZeroDivisionError: division by zero\n"
    )
    assert "SyntaxError" in execute(run, "def")["error"]
    assert execute(run, "raise SystemExit(3)")["error"] == "SystemExit: 3"
    assert execute(run, "object")["result"] == "<class 'object'>"


def test_files_go_in_and_come_out(run: dominie.Run) -> None:
    code = """
import os
data = open('in/raw', 'rb').read()
open('out.bin', 'wb').write(data[::-1])
os.makedirs('new')
open('new/table.csv', 'w').write(open('in.csv').read().upper())
os.symlink('/etc/passwd', 'link')
"""
    raw: JsonValue = {"base64": base64.b64encode(b"\xff\x00").decode()}
    found = execute(run, code, **{"in.csv": "a,b", "in/raw": raw})
    assert found["error"] is None
    assert found["files"] == {
        "new/table.csv": "A,B",
        "out.bin": {"base64": base64.b64encode(b"\xff\x00"[::-1]).decode()},
    }


def test_large_files_are_artifacts_both_ways(run: dominie.Run, project: Path, dominie_command: str) -> None:
    large = "a row of a table\n" * 50_000
    found = execute(run, "open('b', 'w').write(open('a').read() * 2)", a=large)
    assert found["files"] == {"b": large * 2}
    code, said = cli(project, dominie_command, "trace", "r-code", "--json")
    assert code == 0
    last = [each["data"] for each in json.loads(said)["entries"] if each["type"] == "tool.finished.v1"][-1]
    assert last["result"]["files"]["b"]["size"] == 2 * len(large)
    assert "$artifact" in last["result"]["files"]["b"]


@pytest.mark.parametrize("name", ["../up", "/etc/x", "", "a/../../b"])
def test_a_file_has_a_name_in_its_folder(run: dominie.Run, name: str) -> None:
    with pytest.raises(ToolFailed, match="no name of a file"):
        execute(run, "1", **{name: "x"})


def test_what_a_program_cannot_reach(run: dominie.Run) -> None:
    found = execute(run, "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)")
    assert "PermissionError" in found["error"]
    assert "FileNotFoundError" in execute(run, "open('/etc/passwd')")["error"]
    with pytest.raises(ToolFailed, match="printed more than"):
        execute(run, "while True: print('x' * 1000)")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("raise", "KeyError: 'gone'"),
        ("hang", "timeout: it took longer than 3 s"),
        ("fork", ""),
        ("fill", "OSError"),
        ("print", "output: it printed and returned more than"),
        ("lie", 'its result: $: does not fit "type": "integer"'),
        ("hog", "memory: it needed more than 256 MB"),
    ],
)
def test_a_tool_that_goes_wrong_is_a_problem_in_bounded_time_and_the_next_call_works(
    run: dominie.Run, how: str, why: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(ToolFailed) as raised:
        run.invoke("trouble", {"how": how})
    assert why in raised.value.detail
    assert time.monotonic() - begun < 30
    assert run.invoke("trouble", {"how": "none"}).result == 7


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os\nwhile True: os.fork()", "BlockingIOError"),
        ("import os\ntry: open('full', 'wb').write(bytes(1 << 26))\nfinally: os.remove('full')", "OSError"),
        (
            "import threading\nwhile True: threading.Thread(target=threading.Event().wait).start()",
            "can't start new thread",
        ),
        ("import os\nwhile True: os.write(1, bytes(1 << 16))", "output: it printed and returned more than"),
        ("x = []\nwhile True: x.append(bytes(1 << 22))", "memory: it needed more than"),
        ("import os\nos.kill(os.getpid(), 9)", "it ended before it returned (signal 9)"),
    ],
    ids=["forks", "disk", "threads", "prints", "memory", "kills"],
)
def test_a_program_that_goes_wrong_is_an_outcome_and_the_next_one_runs(run: dominie.Run, code: str, why: str) -> None:
    begun = time.monotonic()
    try:
        said = execute(run, code)["error"]
    except ToolFailed as failed:
        said = failed.detail
    assert why in said
    assert time.monotonic() - begun < 60
    assert execute(run, "1 + 1")["result"] == 2


def test_started_names_the_layers(run: dominie.Run, project: Path, dominie_command: str) -> None:
    run.invoke("trouble", {"how": "none"})
    code, said = cli(project, dominie_command, "trace", "r-code", "--json")
    assert code == 0
    started = [each["data"] for each in json.loads(said)["entries"] if each["type"] == "tool.started.v1"]
    assert started[-1]["layers"] == list(Sandbox.layers())
    assert started[-1]["enforcement"] == "isolated"


def test_a_tool_runs_in_gvisor_and_its_trail_says_so(
    run: dominie.Run, project: Path, dominie_command: str, no_gvisor: str | None
) -> None:
    (project / "kernel.py").write_text(KERNEL)
    code, said = cli(project, dominie_command, "tool", "add", "kernel.py")
    if no_gvisor:
        assert code == 1 and "'/nowhere/runsc' is not installed" in said
        pytest.skip(no_gvisor)
    assert code == 0, said
    assert str(run.invoke("kernel", {}).result).endswith("-gvisor")
    code, said = cli(project, dominie_command, "trace", "r-code", "--json")
    assert code == 0
    finished = [each["data"] for each in json.loads(said)["entries"] if each["type"] == "tool.finished.v1"]
    assert finished[-1]["layers"] == [*Sandbox.layers()[:1], "gvisor", *Sandbox.layers()[1:]]


@pytest.mark.skipif(Sandbox.missing("wasmtime") is not None, reason="NO WASMTIME IS TESTED HERE")
def test_a_webassembly_module_is_a_tool(run: dominie.Run, project: Path, dominie_command: str) -> None:
    (project / "echo.wat").write_text(ECHO)
    (project / "echo.json").write_text('{"description": "Says it again.", "effect": "read"}')
    code, said = cli(project, dominie_command, "tool", "add", "echo.wat", "--json")
    assert code == 0 and [each["name"] for each in json.loads(said)["tools"]] == ["echo"]
    assert run.invoke("echo", {"a": [1, "ä"]}).result == {"a": [1, "ä"]}


def test_who_was_not_granted_it_may_not(project: Path, dominie_command: str) -> None:
    assert cli(project, dominie_command, "agent", "register", "narrow", "--tool", "trouble")[0] == 0
    with chdir(project), dominie.Client("narrow") as client, client.run() as run:
        assert run.invoke("trouble", {"how": "none"}).result == 7
        with pytest.raises(Forbidden):
            run.invoke("python", {"code": "1"})


def test_a_tool_that_asks_for_too_much_is_not_registered(project: Path, dominie_command: str) -> None:
    code, said = cli(project, dominie_command, "tool", "add", "greedy.py")
    assert code == 1 and "asks for memory_mb 60000, and at most 1024 is open" in said
    code, said = cli(project, dominie_command, "tool", "list", "--json")
    assert "greedy" not in {tool["name"] for tool in json.loads(said)["tools"]}
    assert cli(project, dominie_command, "tool", "add")[0] == 1


BOXED = ToolSpec(name="odd", input_schema={}, kind="sandboxed", source="def odd(): return 1", function="odd")


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"profile": Profile.model_construct(memory_mb=-1)}, Invalid),
        ({"profile": Profile.model_construct(processes=2**63)}, Invalid),
        ({"profile": Profile().model_copy(update={"network": "host"})}, Invalid),
        ({"profile": {"memory_gb": 1}}, Invalid),
        ({"profile": Profile(processes=129)}, Forbidden),
        ({"profile": Profile(scratch_mb=257)}, Forbidden),
        ({"profile": Profile(), "kind": "worker", "source": None, "function": None}, Invalid),
    ],
    ids=["negative", "huge", "network", "unknown", "processes", "scratch", "worker"],
)
def test_a_profile_that_is_wrong_or_too_much_leaves_nothing_registered(
    project: Path, developer: dominie.Client, changed: dict[str, Any], refused: type[Problem]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's own word on what it was made to send
        with pytest.raises(refused):
            developer.ask(RegisterTool(spec=BOXED.model_copy(update=changed)), RegisteredTool)
    assert "odd" not in {tool.name for tool in developer.ask(ListTools(), Tools).tools}


def test_a_tool_with_a_network_is_refused_what_leads_inside_and_its_trail_says_so(
    project: Path, dominie_command: str, run: dominie.Run
) -> None:
    (project / "web.py").write_text(WEB)
    secret = ("secret", "set", "API_KEY", "--host", "api.example.org", "--json")
    code, said = cli(project, dominie_command, *secret, given="s3cr3t-of-dana")
    assert code == 0 and "s3cr3t" not in said, said
    assert cli(project, dominie_command, "tool", "add", "web.py")[0] == 0
    asked = ("http://169.254.169.254/latest/meta-data/", "http://[::ffff:127.0.0.1]/", "http://evil.example.net/")
    answers = [str(run.invoke("web", {"url": url}).result) for url in asked]
    assert [answer.partition(" is refused: ")[2] for answer in answers] == [
        "its address is link-local",
        "its address is this machine's own",
        "the tool's profile does not list it",
    ]
    code, said = cli(project, dominie_command, "trace", "r-code", "--json")
    told = [each["data"]["refused"][0] for each in json.loads(said)["entries"] if each["type"] == "tool.reached.v1"]
    assert [(each["host"], each["why"]) for each in told] == [
        ("169.254.169.254", "link-local"),
        ("::ffff:127.0.0.1", "loopback"),
        ("evil.example.net", "not-listed"),
    ]
    assert cli(project, dominie_command, "secret", "remove", "API_KEY")[0] == 0
    with pytest.raises(Invalid, match="none is kept"):
        run.invoke("web", {"url": "http://api.example.org/"}, key="removed")
