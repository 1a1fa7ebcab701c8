"""What a server's box sees of a program, and what pins it."""

import os
import time
from pathlib import Path

import pytest

from dominie_contracts import Invalid
from dominie_tool.mcp.program import Program, find_program

SHELL = os.path.realpath("/bin/sh")


def script(path: Path, first: str = f"#!{SHELL}") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first}\n")
    path.chmod(0o755)
    return str(path)


def found(*command: str, reads: tuple[Path, ...] = (), secret: tuple[Path, ...] = ()) -> Program:
    return find_program(command, map(str, reads), secret=secret)


def test_a_script_is_seen_alone_and_its_interpreter_is_pinned(tmp_path: Path) -> None:
    path = script(tmp_path / "server")
    (tmp_path / "other").write_text("x")
    program = found(path, "--flag")
    assert program.command == (path, "--flag")
    assert program.seen == (path,)
    assert set(program.pins) == {path, SHELL}


def test_an_argument_that_is_a_file_is_seen_and_pinned(tmp_path: Path) -> None:
    path = script(tmp_path / "server.sh")
    program = found("sh", path)
    assert program.seen == (path,) and path in program.pins
    before = program.pins[path]
    (tmp_path / "server.sh").write_text("echo something else\n")
    assert found("sh", path).pins[path] != before


@pytest.mark.parametrize("anew", [False, True], ids=["in-place", "anew"])
def test_a_file_with_the_size_and_time_of_another_is_another(tmp_path: Path, anew: bool) -> None:
    server = tmp_path / "server"
    path = script(server)
    os.utime(path, (1, 1))
    wait_until_settled(server)
    before = found("sh", path).pins[path]
    text = server.read_text()
    if anew:
        server.unlink()
    script(server, text.strip().replace("sh", "ls"))
    os.utime(path, (1, 1))
    wait_until_settled(server)
    assert found("sh", path).pins[path] != before


def test_changes_at_the_same_moment_are_all_seen(tmp_path: Path) -> None:
    server = tmp_path / "server"
    pins = set()
    for number in range(10, 60):
        script(server, f"#{number}")
        os.utime(server, (1, 1))
        pins.add(found("sh", str(server)).pins[str(server)])
    assert len(pins) == 50


def wait_until_settled(path: Path) -> None:
    """Until it is so old that its digest may be kept, and is."""
    end = time.monotonic() + 30
    while time.time_ns() - path.lstat().st_ctime_ns < 1_200_000_000:
        assert time.monotonic() < end
        time.sleep(0.05)
    found("sh", str(path))


@pytest.mark.parametrize(
    ("layout", "root"),
    [
        (("env/pyvenv.cfg", "env/bin/server", "env/lib/site.py"), "env"),
        (("app/node_modules/a/package.json", "app/node_modules/.bin/server"), "app/node_modules"),
        (("node_modules/a/node_modules/b/server",), "node_modules"),
    ],
    ids=["venv", "node", "nested"],
)
def test_a_program_is_seen_with_its_packages(tmp_path: Path, layout: tuple[str, ...], root: str) -> None:
    for name in layout:
        script(tmp_path / name)
    path = next(str(tmp_path / name) for name in layout if name.endswith("server"))
    program = found(path)
    assert program.seen == (str(tmp_path / root),)
    before = program.pins[str(tmp_path / root)]
    script(tmp_path / root / "__pycache__" / "x.pyc")
    assert found(path).pins[str(tmp_path / root)] == before, "what is compiled is not pinned"
    script(tmp_path / root / "new.py")
    assert found(path).pins[str(tmp_path / root)] != before


def test_keys_of_a_deployment_are_never_seen(tmp_path: Path) -> None:
    path = script(tmp_path / "server")
    keys = tmp_path / "project" / "keys"
    for folder in (keys, tmp_path / "project" / ".dominie", tmp_path / "state"):
        folder.mkdir(parents=True)
    for reads in (keys, keys.parent / ".dominie", tmp_path / "state"):
        with pytest.raises(Invalid, match="keys of this deployment are there"):
            found(path, reads=(reads,), secret=(keys, tmp_path / "state"))
    (tmp_path / "link").symlink_to(keys)
    with pytest.raises(Invalid, match="keys of this deployment are there"):
        found(path, reads=(tmp_path / "link",), secret=(keys,))
    program = found(path, reads=(tmp_path / "project",), secret=(keys, tmp_path / "state"))
    assert set(program.hidden) == {str(keys), str(tmp_path / "project" / ".dominie")}


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/root", "/home", "/home/somebody", "/proc/1", "/run/x", "/var", "relative"]
)
def test_nobody_sees_all_of_a_machine(tmp_path: Path, path: str) -> None:
    with pytest.raises(Invalid):
        found(script(tmp_path / "server"), reads=(Path(path),))


def test_there_has_to_be_a_program(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no program"):
        found(str(tmp_path / "nothing"))
    (tmp_path / "plain").write_text("not to be run")
    with pytest.raises(Invalid, match="no program"):
        found(str(tmp_path / "plain"))
