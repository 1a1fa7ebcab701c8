"""The files around the code: locks, images, tools and decisions."""

import re
import subprocess
import sysconfig
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))
LOCKS = [
    *ROOT.glob("requirements/*.txt"),
    ROOT / "bridges/langgraph/requirements.txt",
    ROOT / "tests/bench/requirements.txt",
]
PROJECTS = [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_lock_pins_and_hashes_everything_and_names_no_host(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.M).strip())
    assert all(re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+ .*--hash=sha256:", e, re.S) for e in entries), entries[:1]
    assert "://" not in lock.read_text()


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_every_dependency_has_a_floor(path: Path) -> None:
    project = tomllib.loads(path.read_text())
    wanted = chain(
        project["project"]["dependencies"],
        *project["project"].get("optional-dependencies", {}).values(),
        *project.get("dependency-groups", {}).values(),
    )
    assert [d for d in wanted if not d.startswith("dominie") and ">=" not in d] == []


def test_the_compose_file_is_valid() -> None:
    run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_every_service_is_composed_from_the_one_image() -> None:
    names = {p.parent.name for p in ROOT.glob("services/*/pyproject.toml")} - {"kit"}
    built = {
        name: s["build"] for name, s in compose().items() if s.get("build", {}).get("args", {}).get("SERVICE") == name
    }
    assert built.keys() == names
    assert {b["dockerfile"] for b in built.values()} == {"infra/service.Dockerfile"}


def test_the_image_is_well_made() -> None:
    run(SCRIPTS / "hadolint", "infra/service.Dockerfile")


def test_make_lists_what_it_can_do() -> None:
    listed = set(re.findall(r"^  make ([\w-]+) ", run("make", "help"), re.M))
    assert listed == set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M))
    assert listed >= {"help", "demo", "test", "check", "bench", "up"}


def test_every_decision_has_its_parts_and_is_listed() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    for path in ROOT.glob("docs/adr/0*.md"):
        text = path.read_text()
        assert text.startswith(f"# {path.name[:4]}: ") and path.name in index
        assert re.search(r"^\| (proposed|accepted|superseded by \d{4}) \| \d{4}-\d\d-\d\d \| ", text, re.M)
        assert re.findall(r"^## (\w+)", text, re.M) == ["Context", "Decision", "Consequences"]
