"""Tools that are WebAssembly modules: `dominie tool add count.wasm`."""

import base64
from collections.abc import Iterable
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from dominie_contracts import Invalid
from dominie_contracts.tool import ToolSpec

SUFFIXES = (".wasm", ".wat")
_MODULE, _COMPONENT = b"\0asm\1\0\0\0", b"\0asm\x0d\0\1\0"
_FIELDS: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])


def modules(files: Iterable[Path]) -> list[Path]:
    """Those of some files that are WebAssembly modules, by their names."""
    return [file for file in files if file.suffix in SUFFIXES]


def module_tool(file: Path) -> ToolSpec:
    """A module as a tool. What `FILE.json` beside it says holds: description, schemas, effect and so on.

    Raises:
        Invalid: It cannot be read, is no module, or what is said of it makes no tool.
    """
    try:
        said = _said(file)
        profile = _FIELDS.validate_python(said.pop("profile", {}))
        return ToolSpec.model_validate(
            {"name": file.stem, "input_schema": {"type": "object"}, "function": "_start"}
            | said
            | {"kind": "sandboxed", "source": _source(file), "profile": {**profile, "backend": "wasmtime"}}
        )
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{str(file)!r} cannot be read: {error}") from error
    except ValidationError as error:
        raise Invalid(f"{str(file)!r} cannot be a tool: {error}") from error


def _said(file: Path) -> dict[str, JsonValue]:
    beside = file.with_suffix(".json")
    return _FIELDS.validate_json(beside.read_bytes()) if beside.exists() else {}


def _source(file: Path) -> str:
    if file.suffix == ".wat":
        return file.read_text()
    data = file.read_bytes()
    if data.startswith(_COMPONENT):
        raise Invalid(f"{str(file)!r} is a component; a tool is a module of WASI's preview 1")
    if not data.startswith(_MODULE):
        raise Invalid(f"{str(file)!r} is no WebAssembly module")
    return base64.b64encode(data).decode()
