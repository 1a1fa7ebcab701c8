"""What kind of thing a part of a result is the name of: `"of": "file"` (decision 0030). Pure.

A short name, a number, is found by chance among all that a run was given. So an argument that has an `of` is found only
among the names of such things. What a call has made itself, `"makes": "file"`, is the run's: its name counts whoever
else says it.
"""

import re
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from dominie_contracts.labels import Schema, escaped, is_artifact, marks_of, parts_of
from dominie_contracts.result_parts import items, resolved
from dominie_contracts.results import MAX_LEAVES, MAX_POINTERS_BYTES, is_large
from dominie_contracts.typed import Form, forms

NEW = "+"
"""Stands before the kind of what the call has made."""
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_DEEP = 64


def name_forms(value: JsonValue) -> frozenset[Form]:
    """A name as it is written, or a whole number as JSON writes it: `026`, `26.0` and `26` are three."""
    return frozenset(form for form in forms(value) if form.kind == "text" and not isinstance(value, float))


def argument_things(schema: Schema) -> dict[str, str]:
    """Argument to the kind of thing that it names, as the input schema marks them."""
    found = schema.get("properties")
    marked = {name: marks_of(part).get("of") for name, part in found.items()} if isinstance(found, dict) else {}
    return {name: kind for name, kind in marked.items() if isinstance(kind, str)}


def names_things(schema: Schema) -> bool:
    """Whether any part of a result is the name of something."""
    return any(marks_of(part).keys() & {"of", "makes"} for part in parts_of(dict(schema)))


def wrong_things(schema: Schema) -> Iterator[str]:
    """What of these marks means nothing."""
    for part in parts_of(dict(schema)):
        for word in ("of", "makes"):
            kind = marks_of(part).get(word)
            if kind is not None and not (isinstance(kind, str) and _KIND.fullmatch(kind)):
                yield f"a kind of thing is a word in lower case, `{word}`: `file`, not {kind!r}"


def things_of(result: JsonValue, schema: Schema) -> dict[str, str]:
    """The kind of each leaf that is the name of something, by pointer; none where there are too many to be said."""
    if is_large(result):
        return {}
    found = dict(_things(result, dict(schema), schema, "", 0))
    fits = len(found) <= MAX_LEAVES and sum(map(len, found)) <= MAX_POINTERS_BYTES
    return found if fits else {}


def _things(value: JsonValue, schema: JsonValue, root: Schema, pointer: str, depth: int) -> Iterator[tuple[str, str]]:
    part = resolved(schema, root) if isinstance(schema, dict) and depth <= _DEEP else None
    if part is None or is_artifact(value):
        return
    if isinstance(value, dict):
        parts = part.get("properties")
        for key, inner in parts.items() if isinstance(parts, dict) else ():
            if key in value:
                yield from _things(value[key], inner, root, f"{pointer}/{escaped(key)}", depth + 1)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _things(each, items(part), root, f"{pointer}/{index}", depth + 1)
    elif (kind := _kind(marks_of(part))) is not None:
        yield pointer, kind


def _kind(marks: Mapping[str, JsonValue]) -> str | None:
    made, named = marks.get("makes"), marks.get("of")
    if isinstance(made, str):
        return NEW + made
    return named if isinstance(named, str) else None
