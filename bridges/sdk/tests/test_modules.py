"""WebAssembly modules as tools."""

import base64
import json
from pathlib import Path

import pytest

from dominie._modules import module_tool, modules
from dominie_contracts import Invalid

EMPTY = b"\0asm\1\0\0\0"


def test_a_module_is_a_tool_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "count.wasm").write_bytes(EMPTY)
    (tmp_path / "text.wat").write_text("(module)")
    spec = module_tool(tmp_path / "count.wasm")
    assert (spec.name, spec.kind, spec.effect, spec.function) == ("count", "sandboxed", "external", "_start")
    assert spec.source is not None and base64.b64decode(spec.source) == EMPTY
    assert spec.profile is not None and spec.profile.backend == "wasmtime"
    assert module_tool(tmp_path / "text.wat").source == "(module)"
    assert modules([Path("a.py"), Path("b.wasm"), Path("c.wat")]) == [Path("b.wasm"), Path("c.wat")]


def test_what_is_said_beside_it_holds_but_for_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "count.wasm").write_bytes(EMPTY)
    said = {"description": "Counts.", "effect": "read", "kind": "worker", "profile": {"memory_mb": 64}}
    (tmp_path / "count.json").write_text(json.dumps(said))
    spec = module_tool(tmp_path / "count.wasm")
    assert (spec.description, spec.effect, spec.kind) == ("Counts.", "read", "sandboxed")
    assert spec.profile is not None and (spec.profile.memory_mb, spec.profile.backend) == (64, "wasmtime")


@pytest.mark.parametrize(
    ("data", "beside", "why"),
    [
        (b"no module", None, "is no WebAssembly module"),
        (b"\0asm\x0d\0\1\0", None, "is a component"),
        (EMPTY, "[]", "cannot be a tool"),
        (EMPTY, '{"effect": "harmless"}', "cannot be a tool"),
        (EMPTY, '{"profile": {"memory_gb": 1}}', "cannot be a tool"),
        (EMPTY, '{"profile": 7}', "cannot be a tool"),
        (EMPTY, '{"name": "a b"}', "cannot be a tool"),
        (EMPTY, "{", "cannot be a tool"),
    ],
    ids=["text", "component", "list", "effect", "profile", "number", "name", "json"],
)
def test_what_is_no_tool_is_refused(tmp_path: Path, data: bytes, beside: str | None, why: str) -> None:
    (tmp_path / "x.wasm").write_bytes(data)
    if beside is not None:
        (tmp_path / "x.json").write_text(beside)
    with pytest.raises(Invalid, match=why):
        module_tool(tmp_path / "x.wasm")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        module_tool(tmp_path / "gone.wasm")
