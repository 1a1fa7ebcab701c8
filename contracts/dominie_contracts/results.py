"""The labels of a tool's result, leaf by leaf, from its output schema (decision 0030). Pure.

A part has the integrity and the readers of the nearest mark at or above it; what is not marked is untrusted, and
anybody may read it. What hangs on an `author` is untrusted unless the property of that name, beside it, is the run's
user; no mark below it changes that.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple, TypeVar

from pydantic import JsonValue

from dominie_contracts.labels import Schema, escaped, is_artifact, leaves, marks_of
from dominie_contracts.provenance import Integrity, Label, join
from dominie_contracts.result_parts import items, marked, resolved, worst
from dominie_contracts.typed import plain

T = TypeVar("T")
MAX_LEAVES = 2_000
MAX_POINTERS_BYTES = 64 * 1024
MAX_LOOKED_AT = 10_000
"""Leaves of one result: who looks at more holds up everybody else."""
_DEEP = 64


_Leaf = tuple[str, Integrity, tuple[str, ...] | None]


class Labels(NamedTuple):
    """Of a result, by pointer: what stands at a pointer counts for all below it, but where a longer one is named.

    What is not named is untrusted, and anybody may read it.
    """

    integrity: dict[str, Integrity]
    readers: dict[str, tuple[str, ...]]
    whole: Label
    """Of all of it together."""


class _Here(NamedTuple):
    """What counts where one is."""

    schema: Schema
    integrity: Integrity
    readers: tuple[str, ...] | None
    foreign: bool = False
    """Somebody else wrote it."""
    author: JsonValue = None
    """What names who wrote it."""


def label_result(result: JsonValue, schema: Schema, user: str = "") -> Labels:
    """The labels of a result's leaves, as its schema marks them.

    More than 2,000 leaves that are not untrusted, or 64 kB of their pointers, have one label together: their join. What
    has more than 10,000 is not looked into: it has the join of all that its schema marks.
    """
    walk = _Walk(schema, user)
    if is_large(result):
        return _as_one(worst(walk.top.schema, schema, Label(integrity=walk.top.integrity, readers=walk.top.readers)))
    found = list(walk.leaves(result, walk.top, ""))
    integrity: dict[str, Integrity] = {at: level for at, level, _ in found if level != "untrusted"}
    readers = {at: who for at, _, who in found if who is not None}
    whole = join(Label(integrity=level, readers=who) for level, who in {each[1:] for each in found})
    if max(_size(integrity), _size(readers)) <= MAX_POINTERS_BYTES and max(len(integrity), len(readers)) <= MAX_LEAVES:
        return Labels(integrity, readers, whole)
    return _as_one(whole)


def is_large(result: JsonValue) -> bool:
    """Whether it has more leaves than are looked at one by one."""
    return next(islice(leaves(result), MAX_LOOKED_AT, None), None) is not None


def _as_one(whole: Label) -> Labels:
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


def untrusted_names(result: JsonValue, integrity: Mapping[str, Integrity]) -> Iterator[str]:
    """The names in a recorded result that nothing better than untrusted hangs on."""
    better = {at for at, level in integrity.items() if level != "untrusted"}
    above = {at[:end] for at in better for end, letter in enumerate(at) if letter == "/"} | better
    left: list[tuple[str, JsonValue, bool]] = [("", result, "" in better)]
    while left:
        pointer, value, inside = left.pop()
        named = isinstance(value, dict) and not is_artifact(value)
        for key, part in _named(value):
            at = f"{pointer}/{escaped(key)}"
            level = integrity.get(at)
            within = inside if level is None else level != "untrusted"
            if named and not within and at not in above:
                yield key
            left.append((at, part, within))


def _named(value: JsonValue) -> Iterable[tuple[str, JsonValue]]:
    if isinstance(value, dict) and not is_artifact(value):
        return value.items()
    return ((str(index), part) for index, part in enumerate(value)) if isinstance(value, list) else ()


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


class _Walk:
    """Goes through a result beside its schema."""

    def __init__(self, root: Schema, user: str) -> None:
        self._root = root
        self._user = user
        self._known: dict[tuple[int, Integrity, tuple[str, ...] | None, bool], _Here] = {}
        self.top = self._marked(dict(root), _Here({}, "untrusted", None))

    def leaves(self, value: JsonValue, here: _Here, pointer: str, depth: int = 0) -> Iterator[_Leaf]:
        """Every leaf with its label; what nobody can look into is as bad as anything that may be in it."""
        if depth > _DEEP:
            yield self._worst(here._replace(integrity="untrusted"), pointer)
        elif isinstance(value, dict) and value and not is_artifact(value):
            parts = here.schema.get("properties")
            known = parts if isinstance(parts, dict) else {}
            for key, part in value.items():
                inner = self._inner(known.get(key), here, value)
                yield from self.leaves(part, inner, f"{pointer}/{escaped(key)}", depth + 1)
        elif isinstance(value, list) and value:
            inner = self._inner(items(here.schema), here, {})
            for index, part in enumerate(value):
                yield from self.leaves(part, inner, f"{pointer}/{index}", depth + 1)
        elif isinstance(value, dict) and value:
            yield self._worst(here, pointer)
        else:
            yield pointer, here.integrity, here.readers

    def _worst(self, here: _Here, pointer: str) -> _Leaf:
        label = worst(here.schema, self._root, Label(integrity=here.integrity, readers=here.readers))
        return pointer, label.integrity, label.readers

    def _inner(self, schema: JsonValue, here: _Here, beside: Mapping[str, JsonValue]) -> _Here:
        """What counts at a part, whose schema may not be known."""
        if not isinstance(schema, dict):
            return here._replace(schema={}, author=None)
        key = id(schema), here.integrity, here.readers, here.foreign
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._marked(schema, here)
        if found.author is None or _is_by(self._user, beside, found.author):
            return found
        return found._replace(integrity="untrusted", foreign=True)

    def _marked(self, schema: dict[str, JsonValue], above: _Here) -> _Here:
        """Its own marks, or those above."""
        found = resolved(schema, self._root)
        if found is None:
            return above._replace(schema={}, integrity="untrusted", foreign=True, author=None)
        marks = marks_of(found)
        if not marks:
            return above._replace(schema=found, author=None)
        said, own = marked(marks), "integrity" in marks or "author" in marks
        return _Here(
            found,
            integrity="untrusted" if above.foreign else said.integrity if own else above.integrity,
            readers=above.readers if said.readers is None else said.readers,
            foreign=above.foreign,
            author=marks.get("author"),
        )


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
