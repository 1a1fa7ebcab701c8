"""The golden schemas are those of the code, and nothing that crosses the bus loses or retypes a field unnoticed."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, create_model

from dominie_contracts.registry import SUPERSEDED

Run = Callable[..., tuple[int, str]]
TOOL = Path(__file__).parents[2] / "tools/golden_schemas.py"
GOLDEN = sorted(path.relative_to(TOOL.parents[1]) for path in (TOOL.parents[1] / "contracts/schemas").glob("*/*.json"))


class Inner(BaseModel):
    size: int


class Old(BaseModel):
    name: str
    count: int
    kind: Literal["a", "b"]
    inner: Inner
    many: tuple[Inner, ...] = ()
    note: str | None = None


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_schemas", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(golden: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the tool on a folder of its own; its status, and all that it says."""

    def run(*arguments: str) -> tuple[int, str]:
        status = golden.main(["--folder", str(tmp_path), *arguments])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_the_golden_schemas_are_those_of_the_code(golden: ModuleType) -> None:
    """If this fails: `python tools/golden_schemas.py` says what differs, `--write` brings it up to date."""
    old, new = golden.committed(golden.FOLDER), golden.types()
    assert old.keys() == new.keys() | {f"events/{name}" for name in SUPERSEDED}
    broken = {name: golden.breaks(old[name], golden.schema(kind)) for name, kind in new.items()}
    assert {name: why for name, why in broken.items() if why} == {}
    assert [name for name, kind in new.items() if old[name] != golden.schema(kind)] == []


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_golden_schema_is_a_json_schema(path: Path) -> None:
    Draft202012Validator.check_schema(json.loads((TOOL.parents[1] / path).read_text()))


def changed(**fields: Any) -> type[BaseModel]:
    """`Old` with other fields, each a type or a type and a default; None takes one away."""
    kept = {name: (field.annotation, field) for name, field in Old.model_fields.items() if name not in fields}
    more = {name: kind if isinstance(kind, tuple) else (kind, ...) for name, kind in fields.items() if kind is not None}
    return create_model("New", **kept, **more)  # type: ignore[no-any-return, call-overload]  # fields by name


class Bigger(BaseModel):
    size: float
    colour: str | None = None


class Other(BaseModel):
    size: str


class Demanding(BaseModel):
    size: int
    colour: str


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"note": None}, "note is lost"),
        ({"count": str}, "count was integer, is string"),
        ({"kind": Literal["a"]}, 'kind was "a"|"b", is "a"'),
        ({"inner": Other}, "inner.size was integer, is string"),
        ({"many": tuple[Other, ...]}, "many[].size was integer, is string"),
        ({"many": Inner}, "many was array, is object"),
        ({"more": str}, "more is newly required"),
        ({"many": tuple[Demanding, ...]}, "many[].colour is newly required"),
    ],
)
def test_what_breaks_others(golden: ModuleType, fields: dict[str, Any], said: str) -> None:
    assert said in golden.breaks(golden.schema(Old), golden.schema(changed(**fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"more": (str | None, None)},
        {"count": float},
        {"count": int | None},
        {"kind": Literal["a", "b", "c"]},
        {"kind": str},
        {"inner": Bigger},
        {"many": (tuple[Bigger, ...], ())},
    ],
)
def test_what_breaks_nobody(golden: ModuleType, fields: dict[str, Any]) -> None:
    assert golden.breaks(golden.schema(Old), golden.schema(changed(**fields))) == []


def test_a_break_is_not_written_unless_it_is_named(run: Run, tmp_path: Path) -> None:
    assert run("--write")[0] == 0
    path = tmp_path / "events/memory.remembered.v1.json"
    old = json.loads(path.read_text())
    old["properties"]["mood"] = {"type": "string"}
    path.write_text(json.dumps(old))
    assert run() == run("--write")
    status, said = run("--write")
    assert (status, "events/memory.remembered.v1: mood is lost" in said) == (1, True)
    assert run("--write", "--break", "events/memory.remembered.v1")[0] == 0
    assert run() == (0, "")


def test_the_schema_of_an_older_version_stays(golden: ModuleType, tmp_path: Path, run: Run) -> None:
    run("--write")
    path = tmp_path / "events/memory.remembered.v0.json"
    path.write_text("{}")
    command = ["--folder", str(tmp_path), "--write"]
    assert golden.main(command, superseded=["memory.remembered.v0"]) == 0
    assert path.read_text() == "{}"
    path.unlink()
    assert golden.main(command, superseded=["memory.remembered.v0"]) == 1


def test_what_is_missing_or_left_over_is_seen(run: Run, tmp_path: Path) -> None:
    run("--write")
    (tmp_path / "events/memory.remembered.v1.json").unlink()
    assert run() == (1, "events/memory.remembered.v1 differs\n")
    (tmp_path / "events/memory.dreamt.v1.json").write_text("{}")
    assert "events/memory.dreamt.v1: the type is gone" in run()[1]
