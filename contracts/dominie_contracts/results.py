"""The labels of a tool's result, leaf by leaf, from its output schema (decision 0030). Pure.

A part has the integrity and the readers of the nearest mark at or above it; what is not marked is untrusted, and
anybody may read it. What hangs on an `author` is untrusted unless the property of that name, beside it, is the run's
user; no mark below it changes that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar, get_args

from pydantic import JsonValue

from dominie_contracts.labels import Schema, escaped, is_artifact, leaves, marks_of
from dominie_contracts.provenance import Integrity, Label, join
from dominie_contracts.typed import plain

T = TypeVar("T")
MAX_LEAVES = 2_000
MAX_POINTERS_BYTES = 64 * 1024
_DEEP = 64
_REFERENCES = 16


class Labels(NamedTuple):
    """Of a result, by pointer: what stands at a pointer counts for all below it, but where a longer one is named.

    What is not named is untrusted, and anybody may read it.
    """

    integrity: dict[str, Integrity]
    readers: dict[str, tuple[str, ...]]
    whole: Label
    """Of all of it together."""


@dataclass(frozen=True, slots=True)
class _Here:
    """What counts where one is."""

    schema: Schema
    integrity: Integrity = "untrusted"
    readers: tuple[str, ...] | None = None
    foreign: bool = False
    """Somebody else wrote it."""
    root: Schema = field(default_factory=dict)


def label_result(result: JsonValue, schema: Schema, user: str = "") -> Labels:
    """The labels of a result's leaves, as its schema marks them.

    More than 2,000 leaves that are not untrusted, or 64 kB of their pointers, have one label together: their join.
    """
    found = list(_leaves(result, _Here(schema, root=schema), "", user))
    integrity: dict[str, Integrity] = {at: here.integrity for at, here in found if here.integrity != "untrusted"}
    readers = {at: here.readers for at, here in found if here.readers is not None}
    whole = join(
        Label(integrity=each, readers=who) for each, who in {(here.integrity, here.readers) for _, here in found}
    )
    if max(_size(integrity), _size(readers)) <= MAX_POINTERS_BYTES and max(len(integrity), len(readers)) <= MAX_LEAVES:
        return Labels(integrity, readers, whole)
    named: dict[str, Integrity] = {} if whole.level == 0 else {"": whole.integrity}
    return Labels(named, {} if whole.readers is None else {"": whole.readers}, whole)


def labelled(
    result: JsonValue, integrity: Mapping[str, Integrity], readers: Mapping[str, tuple[str, ...]], source: str
) -> Iterator[tuple[JsonValue, Label]]:
    """Each leaf of a recorded result, with its label."""
    made: dict[tuple[Integrity, tuple[str, ...] | None], Label] = {}
    for pointer, leaf in leaves(result):
        key = _nearest(pointer, integrity) or "untrusted", _nearest(pointer, readers)
        if key not in made:
            made[key] = Label(integrity=key[0], readers=key[1], sources=(source,))
        yield leaf, made[key]


def label_at(
    pointer: str, integrity: Mapping[str, Integrity], readers: Mapping[str, tuple[str, ...]], source: str
) -> Label:
    """The label of one leaf of a recorded result."""
    return Label(
        integrity=_nearest(pointer, integrity) or "untrusted", readers=_nearest(pointer, readers), sources=(source,)
    )


def _nearest(pointer: str, named: Mapping[str, T]) -> T | None:
    """What is named at a pointer, or at the nearest one above it."""
    if not named:
        return None
    while pointer not in named:
        if not pointer:
            return None
        pointer = pointer.rpartition("/")[0]
    return named[pointer]


def _leaves(value: JsonValue, above: _Here, pointer: str, user: str, depth: int = 0) -> Iterator[tuple[str, _Here]]:
    here = _marked(above)
    if depth > _DEEP:
        yield pointer, replace(here, integrity="untrusted")
    elif isinstance(value, dict) and value and not is_artifact(value):
        parts = here.schema.get("properties")
        known = parts if isinstance(parts, dict) else {}
        for key, part in value.items():
            inner = known.get(key)
            schema = _resolved(inner, here.root) if isinstance(inner, dict) else {}
            foreign = here.foreign or not _is_by(user, value, marks_of(schema).get("author"))
            at = f"{pointer}/{escaped(key)}"
            yield from _leaves(part, replace(here, schema=schema, foreign=foreign), at, user, depth + 1)
    elif isinstance(value, list) and value:
        items = here.schema.get("items")
        schema = _resolved(items, here.root) if isinstance(items, dict) else {}
        for index, part in enumerate(value):
            yield from _leaves(part, replace(here, schema=schema), f"{pointer}/{index}", user, depth + 1)
    else:
        yield pointer, here


def _marked(above: _Here) -> _Here:
    """What counts at a part: its own marks, or those above."""
    schema = _resolved(above.schema, above.root)
    marks, integrity, readers = marks_of(schema), above.integrity, above.readers
    for level in get_args(Integrity):
        if marks.get("integrity") == level:
            integrity = level
    if "author" in marks and "integrity" not in marks:
        integrity = "user"
    told = marks.get("readers")
    if isinstance(told, list):
        readers = tuple(sorted({str(each) for each in told}))
    return replace(above, schema=schema, integrity="untrusted" if above.foreign else integrity, readers=readers)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """A schema, or the one in this document that it refers to, with its own marks; {} where that leads nowhere."""
    own = marks_of(schema)
    for _ in range(_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema if not own else {**schema, "x-dominie": {**marks_of(schema), **own}}
        definitions = root.get("$defs")
        found = definitions.get(reference.removeprefix("#/$defs/")) if isinstance(definitions, dict) else None
        schema = found if isinstance(found, dict) else {}
    return {}


def _is_by(user: str, beside: Mapping[str, JsonValue], author: JsonValue) -> bool:
    """Whether the user wrote it; so it is where nobody is named."""
    if author is None:
        return True
    said = beside.get(author) if isinstance(author, str) else None
    names = said if isinstance(said, list) else [said]
    known = {user.casefold(), user.removeprefix("u-").casefold()} - {""}
    return bool(names) and all(isinstance(name, str) and plain(name).casefold() in known for name in names)


def _size(named: Mapping[str, object]) -> int:
    return sum(map(len, named))
