"""Which Python the house is installed with."""

import subprocess
import sys
from pathlib import Path

import pytest
from tools import interpreter


def test_the_first_one_is_kept_unless_another_is_worth_it() -> None:
    assert interpreter.choose({"a": 1.0, "b": 0.9}) == "a"
    assert interpreter.choose({"a": 1.0, "b": 0.7, "c": 0.6}) == "c"


def test_only_what_can_make_an_environment_of_this_version_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for folder, script in {
        "broken": "exit 1",
        "silent": "exit 0",
        "same": f'exec "{sys.executable}" "$@"',
    }.items():
        path = tmp_path / folder / name
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    (tmp_path / "same" / "python3").write_text("not executable")
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / folder) for folder in ("broken", "silent", "same", "gone")))
    found = list(interpreter.measured())
    assert len(found) == 1
    assert found[0][1] > 0


def test_it_prints_a_python_of_this_version() -> None:
    done = subprocess.run(
        [sys.executable, interpreter.__file__], capture_output=True, text=True, timeout=60, check=True
    )
    asked = [done.stdout.strip(), "-c", "import sys; print(*sys.version_info[:2])"]
    version = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
    assert version.split() == [str(part) for part in sys.version_info[:2]]
