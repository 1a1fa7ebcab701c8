"""The process that checks one value against one schema, in bounded time and memory: it imports what it needs alone."""

import json
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

from jsonschema_rs import Draft202012Validator, ReferencingError

Json = dict[str, Any]
_IN_PLACE = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else")
"""Keywords whose schemas look at the same value again."""


def main() -> None:
    """Read `[cpu_s, memory, schema, value]`; write where it does not fit, null if it does, false if nobody can tell."""
    cpu_s, memory, schema, value = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.setitimer(signal.ITIMER_PROF, cpu_s)  # its signal ends the process, in a regular expression too
    json.dump(_wrong(schema, value), sys.stdout)


def _wrong(schema: Json, value: Any) -> list[list[str | int]] | bool | None:
    try:
        if _loops(schema):
            return False
        error = next(Draft202012Validator(schema, offline=True).iter_errors(value), None)
    except (ValueError, ReferencingError, RecursionError):
        return False
    return [error.instance_path, error.schema_path] if error else None


def _loops(schema: Json) -> bool:
    """Whether a reference leads back to itself with the same value: the library lets everything pass there."""
    known: dict[int, bool] = {}

    def visit(part: Any) -> bool:
        if not isinstance(part, dict | list):
            return False
        if id(part) not in known:
            known[id(part)] = True
            known[id(part)] = any(visit(next_) for next_ in _in_place(schema, part))
        return known[id(part)]

    return visit(schema) or any(visit(part) for part in _parts(schema))


def _in_place(schema: Json, part: Json | list[Any]) -> Iterator[Any]:
    if isinstance(part, list):
        yield from part
        return
    for word in _IN_PLACE:
        found = part.get(word)
        yield referred(schema, found) if word in ("$ref", "$dynamicRef") else found


def _parts(part: Any) -> Iterator[Any]:
    if isinstance(part, dict | list):
        yield part
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _parts(inner)


def referred(schema: Json, reference: Any) -> Any:
    """What a reference to a part of the same schema (`#/…`, RFC 6901) stands for; None if it is not there."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = schema
    for word in reference.split("/")[1:]:
        name = word.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


if __name__ == "__main__":
    main()
