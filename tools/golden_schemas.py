"""The golden JSON Schemas of everything that crosses the bus: `golden_schemas.py [--write [--break TYPE…]]`.

One file a type in `contracts/schemas`: `events` by their type, `commands` by their name, other `messages` by module
and class (in folders, because some file systems take `permit` and `Permit` for one). Without `--write` it only says
what differs. With it, it refuses what would break whoever reads or sends the type: a field that is lost, retyped, or
newly required. An event that has to change so becomes a new version, and the old version's schema stays: the log holds
such events. What nobody uses yet is named after `--break`.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from inspect import getmembers, isclass
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from pydantic import BaseModel

import dominie_contracts
from dominie_contracts import Command, Message, Payload
from dominie_contracts.envelope import Envelope
from dominie_contracts.operations import AskStatus, Rebuild
from dominie_contracts.registry import COMMANDS, EVENTS, SUPERSEDED

FOLDER = Path(__file__).parents[1] / "contracts/schemas"
Schema = dict[str, Any]


def types() -> dict[str, type[BaseModel]]:
    """Everything that has a golden schema, by its file's name."""
    found: dict[str, type[BaseModel]] = {f"events/{name}": kind for name, kind in EVENTS.items()}
    found |= {f"commands/{name}": kind for name, kind in COMMANDS.items()}
    found |= {f"commands/{kind.NAME}": kind for kind in (AskStatus, Rebuild)} | {"messages/envelope": Envelope}
    for module in iter_modules(dominie_contracts.__path__):
        for name, kind in getmembers(import_module(f"dominie_contracts.{module.name}"), isclass):
            here = kind.__module__ == f"dominie_contracts.{module.name}" and module.name != "base"
            if here and issubclass(kind, Message) and not issubclass(kind, Payload | Command):
                found[f"messages/{module.name}.{name}"] = kind
    return found


def schema(kind: type[BaseModel]) -> Schema:
    """A type's schema without titles and descriptions: a better wording breaks nobody."""
    return _bare(kind.model_json_schema())


def committed(folder: Path) -> dict[str, Schema]:
    """The golden schemas of a folder, by their files' names."""
    return {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in folder.glob("*/*.json")}


def breaks(old: Schema, new: Schema) -> list[str]:
    """What the new schema takes from those who know the old one, each in a few words."""
    before, after = dict(_fields(old, old)), dict(_fields(new, new))
    lost = [f"{path} is lost" for path in before if path not in after]
    retyped = [
        f"{path} was {'|'.join(sorted(kinds))}, is {'|'.join(sorted(after[path][0]))}"
        for path, (kinds, _) in before.items()
        if path in after and not all(_takes(after[path][0], kind) for kind in kinds)
    ]
    required = [
        f"{path} is newly required"
        for path, (_, now) in after.items()
        if now and not (path in before and before[path][1]) and path.rpartition(".")[0] in before | {"": None}
    ]
    return lost + retyped + required


def _bare(node: Schema) -> Schema:
    bare: Schema = {}
    for word, part in node.items():
        if word in ("title", "description"):
            continue
        if word in ("properties", "$defs"):
            bare[word] = {name: _bare(inner) for name, inner in part.items()}
        elif isinstance(part, list):
            bare[word] = [_bare(inner) if isinstance(inner, dict) else inner for inner in part]
        else:
            bare[word] = _bare(part) if isinstance(part, dict) and word != "default" else part
    return bare


def _fields(
    node: Schema, root: Schema, path: str = "", above: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[frozenset[str], bool]]]:
    """Every field by its path, with the kinds of values it takes and whether it must be there; `[]` a list's items."""
    if "$ref" in node:
        if node["$ref"] not in above:
            yield from _fields(_resolved(node, root), root, path, (*above, node["$ref"]))
        return
    for option in node.get("anyOf", []):
        yield from _fields(option, root, path, above)
    parts = {f"{path}.{name}".lstrip("."): part for name, part in node.get("properties", {}).items()}
    inner = {f"{path}[]": node.get("items"), f"{path}{{}}": node.get("additionalProperties")}
    parts |= {
        place: {} if part is True else part for place, part in inner.items() if part is True or isinstance(part, dict)
    }
    for place, part in parts.items():
        yield place, (_kinds(part, root), place.rpartition(".")[2] in node.get("required", []))
        yield from _fields(part, root, place, above)


def _kinds(node: Schema, root: Schema) -> frozenset[str]:
    node = _resolved(node, root)
    if "anyOf" in node:
        return frozenset().union(*(_kinds(option, root) for option in node["anyOf"]))
    if "enum" in node or "const" in node:
        return frozenset(json.dumps(value) for value in node.get("enum", [node.get("const")]))
    return frozenset({node.get("type", "any")})


def _takes(kinds: frozenset[str], kind: str) -> bool:
    wider = "string" if kind.startswith('"') else "number" if kind == "integer" else kind
    return not kinds.isdisjoint({kind, wider, "any"})


def _resolved(node: Schema, root: Schema) -> Schema:
    name = node.get("$ref", "").rpartition("/")[2]
    return root["$defs"][name] if name else node


def main(arguments: Sequence[str] | None = None, *, superseded: Iterable[str] = tuple(SUPERSEDED)) -> int:
    """Compare, or write; returns 1 where something differs or is refused."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="bring the files up to date")
    parser.add_argument("--break", nargs="+", default=[], metavar="TYPE", dest="free", help="what nobody uses yet")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files are")
    asked = parser.parse_args(arguments)
    found, new = committed(asked.folder), {name: schema(kind) for name, kind in types().items()}
    history = {f"events/{name}" for name in superseded}
    old = {name: found[name] for name in found.keys() - history}
    broken = {name: breaks(old[name], new[name]) if name in new else ["the type is gone"] for name in old}
    broken |= {name: ["the log may hold such events, and their schema is gone"] for name in history - found.keys()}
    refused = {name: why for name, why in broken.items() if why and name not in asked.free}
    for name, why in sorted(refused.items()):
        print(f"{name}: {'; '.join(why)}", file=sys.stderr)
    if refused:
        print("make it a new version, or, if nobody uses it yet: --write --break NAME…", file=sys.stderr)
    differ = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    if refused or not asked.write:
        print("\n".join(f"{name} differs" for name in differ if name not in refused), end="\n" * bool(differ))
        return bool(differ or refused)
    for name in differ:
        path = asked.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in new:
            path.write_text(json.dumps(new[name], indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        else:
            path.unlink()
    print(f"{len(differ)} of {len(new)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
