"""Who has seen one service knows all, and nothing in the house is dead weight."""

import ast
import re
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import grimp
import pytest

from dominie_contracts.registry import EVENTS

ROOT = Path(__file__).parents[1]
SERVICES = sorted(p.parent.name for p in (ROOT / "services").glob("*/pyproject.toml") if p.parent.name != "kit")
PROJECTS = chain(ROOT.glob("*/pyproject.toml"), ROOT.glob("*/*/pyproject.toml"))
MEMBERS = sorted(p.parent for p in PROJECTS if "templates" not in p.parts)
PACKAGES = sorted(p.parent for member in MEMBERS for p in member.glob("dominie*/py.typed"))
SHAPE = {"__init__.py", "py.typed", "aggregate.py", "handlers.py", "projection.py", "settings.py", "app.py"}
OPTIONAL = {
    "policy.py",
    "listing.py",
    "registry.py",
    "labelling.py",
    "adapters",
    "policies",
    "runs",
    "limits",
    "plans",
    "provenance",
    "endorsing",
    "people",
    "keys",
    "warden",
    "sandbox",
    "egress",
    "mcp",
    "secrets",
    "__pycache__",
}
"""`labelling.py`: where a chat's messages came from. `listing.py`, `policies`: what fits into guardrail's list, the
Cedar files that it brings. `registry.py`: which tools there are. `runs`, `limits`, `plans`: second aggregates, of
identity, of guardrail, of tool. `people`: whom issuers vouch for, `keys`: how those of the deployment are replaced,
`warden`: what identity does about those who flood or are refused. `provenance`: what runs were given, `endorsing`: what
people say of that. `sandbox`: what holds the tool service's tools, `egress`: their way out, `secrets`: what they use
there, `mcp`: the servers whose tools it calls."""
PROGRAMS = "dominie_demo.desk."
"""What the demo runs as a user's own programs, elsewhere, by path."""
SUITES = ("testing", "conformance")
"""Modules that tests in several places share; they alone know pytest."""

service = pytest.mark.parametrize("name", SERVICES)


def package(name: str) -> Path:
    return ROOT / "services" / name / f"dominie_{name}"


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def imports(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case _:
            return []


def tree(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@service
def test_every_service_has_the_same_shape(name: str) -> None:
    found = {p.name for p in package(name).iterdir()}
    assert found >= SHAPE, f"missing {SHAPE - found}"
    assert found <= SHAPE | OPTIONAL, f"no place for {found - SHAPE - OPTIONAL}"
    assert (package(name).parent / "README.md").exists()
    assert list((package(name).parent / "tests").glob("test_*.py"))


@service
def test_a_service_exports_build_alone(name: str) -> None:
    exported = [
        ast.literal_eval(node.value)
        for node in tree(package(name) / "__init__.py")
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert exported == [["build"]]


@service
def test_an_aggregate_is_synchronous(name: str) -> None:
    waits = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    assert not [node for node in tree(package(name) / "aggregate.py") if isinstance(node, waits)]


@service
def test_every_setting_is_read(name: str) -> None:
    declared = {
        field.target.id
        for node in tree(package(name) / "settings.py")
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
    read = {n.attr for path in package(name).rglob("*.py") for n in tree(path) if isinstance(n, ast.Attribute)}
    assert declared <= read, f"nobody reads {declared - read}"


def test_every_service_can_be_served() -> None:
    found = {e.name: e.value for e in entry_points(group="dominie.services")}
    assert found == {name: f"dominie_{name}:build" for name in SERVICES}


def test_every_package_is_typed_and_says_what_it_is() -> None:
    assert [m for m in MEMBERS if not list(m.glob("dominie*/py.typed"))] == []
    assert [p.name for p in PACKAGES if not ast.get_docstring(ast.parse((p / "__init__.py").read_text()))] == []


def test_the_architecture_is_checked_for_every_service() -> None:
    linter = toml(ROOT / "pyproject.toml")["tool"]["importlinter"]
    packages = {f"dominie_{name}" for name in SERVICES}
    assert packages <= set(linter["root_packages"])
    assert packages == set(linter["contracts"][0]["layers"][0].split(" | "))


def test_every_event_is_written_by_a_service() -> None:
    calls = (n for f in ROOT.glob("services/*/dominie_*/**/*.py") for n in tree(f) if isinstance(n, ast.Call))
    made = {ast.unparse(call.func).split(".")[-1] for call in calls}
    assert {kind.__name__ for kind in EVENTS.values()} - made == set()


def test_every_module_is_imported() -> None:
    ours = [p for p in PACKAGES if p.name != "dominie_langgraph"]  # it lives in an environment of its own
    graph = grimp.build_graph(*(p.name for p in ours), cache_dir=None)
    groups = ("dominie.commands", "dominie.checks", "dominie.doctor", "console_scripts")
    commands = {e.module for group in groups for e in entry_points(group=group)}
    dead = {
        module
        for module in graph.modules - commands
        if not graph.find_children(module) and not module.endswith(".__main__") and "." in module
        if not graph.find_modules_that_directly_import(module)
    }
    named = {n.value for p in ours for f in p.rglob("*.py") for n in tree(f) if isinstance(n, ast.Constant)}
    tested = "\n".join(f.read_text() for f in ROOT.rglob("tests/**/*.py") if ".venv" not in f.parts)
    dead = {m for m in dead - named if not m.startswith(PROGRAMS)}
    assert {m for m in dead if not (m.endswith(SUITES) and m in tested)} == set()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_what_a_member_imports_it_depends_on(member: Path) -> None:
    project = toml(member / "pyproject.toml")["project"]
    wanted = chain(project["dependencies"], *project.get("optional-dependencies", {}).values())
    declared = {re.split(r"[\[<>=!;]", dependency)[0].lower().replace("-", "_") for dependency in wanted}
    imported = (
        {
            module.split(".")[0]
            for file in member.glob("dominie*/**/*.py")
            if not any(Path(part).stem.endswith((*SUITES, "desk")) for part in file.parts)
            for node in tree(file)
            for module in imports(node)
        }
        - {"pydantic_core"}
        - {p.name for p in member.glob("dominie*")}
    )
    distributions = packages_distributions()
    missing = {
        module
        for module in imported - sys.stdlib_module_names
        if declared.isdisjoint(name.lower().replace("-", "_") for name in distributions.get(module, [module]))
    }
    assert missing == set()
