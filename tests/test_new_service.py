"""A new service is four edits, and what `make service` writes is a service like every other."""

import filecmp
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))
pytestmark = pytest.mark.timeout(120)
PLACES = {"services/quota", "contracts", "docker-compose.yml", "pyproject.toml"}
UNSEEN = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree, copied, with a service that it did not have."""
    copy = tmp_path_factory.mktemp("house") / "copy"
    shutil.copytree(ROOT, copy, ignore=UNSEEN)
    run(copy, sys.executable, "tools/new_service.py", "quota")
    return copy


def run(folder: Path, *command: str | Path) -> str:
    packages = [str(path.parent) for path in folder.glob("**/pyproject.toml")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def changes(old: Path, new: Path) -> Iterator[Path]:
    """What is new or different, relative to the root."""
    for path in sorted(p for p in new.rglob("*") if p.is_file()):
        if not (old / (name := path.relative_to(new))).exists() or not filecmp.cmp(old / name, path, shallow=False):
            yield name


def test_it_is_four_edits(copy: Path) -> None:
    changed = list(changes(ROOT, copy))
    found = {next((place for place in PLACES if path.is_relative_to(place)), str(path)) for path in changed}
    assert found == PLACES
    assert not [path for path in changed if "newservice" in str(path) or "newservice" in (copy / path).read_text()]


def test_its_own_tests_pass(copy: Path) -> None:
    said = run(copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "services/quota/tests")
    assert "9 passed" in said


def test_the_house_keeps_its_shape(copy: Path) -> None:
    run(copy, SCRIPTS / "lint-imports", "--no-cache")
    run(copy, SCRIPTS / "ruff", "check", "--no-cache", *PLACES - {"docker-compose.yml"})
    run(
        copy,
        SCRIPTS / "ruff",
        "format",
        "--check",
        "--no-cache",
        "services/quota",
        "contracts/dominie_contracts/quota.py",
    )
    tests = ["tests/test_house.py", "tests/test_repository.py", "contracts/tests"]
    alone = "quota or compose or contracts or architecture"
    run(copy, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", alone)


@pytest.mark.parametrize("name", ["", "Quota", "scheduler", "kit", "a-b", "../x"])
def test_a_name_that_cannot_be_is_refused(copy: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "tools/new_service.py", name], cwd=copy, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1 and "one lowercase word" in done.stderr
