"""An event of an older version is read as if it had been written today.

Who supersedes a version keeps its golden schema, adds the upcast to the payload, and says in `SAME` below what the old
and the new writer would have said of the same thing.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from dominie_contracts import Payload
from dominie_contracts.base import Upcast
from dominie_contracts.registry import EVENTS, MODULES, SUPERSEDED
from dominie_contracts.versions import EventTypes

EVENTS_FOLDER = Path(__file__).parents[1] / "schemas/events"
Data = dict[str, JsonValue]
Same = st.SearchStrategy[tuple[Data, Payload]]
"""The data as an older version wrote them, and the payload that is written of the same thing now."""
SAME: dict[str, Same] = {}
"""For each superseded type."""


class SaidV1(Payload):
    """Written by nobody: what was said, in one text."""

    KIND: ClassVar[str] = "said.v1"
    text: str
    loud: bool = False


class SaidV2(Payload):
    """Written by nobody: in words."""

    KIND: ClassVar[str] = "said.v2"
    words: tuple[str, ...]
    loud: bool


def into_words(data: Data) -> Data:
    return {"words": list[JsonValue](str(data["text"]).split()), "loud": data.get("loud", False)}


def into_volume(data: Data) -> Data:
    return {"words": data["words"], "volume": 11 if data["loud"] else 5}


class Said(Payload):
    """Written by nobody: and how loud."""

    KIND: ClassVar[str] = "said.v3"
    UPCASTS: ClassVar[tuple[Upcast, ...]] = (into_words, into_volume)
    words: tuple[str, ...]
    volume: int


TYPES = EventTypes([("tool", (Said,))])
REAL = EventTypes(pair for module in MODULES.values() for pair in module.EVENTS.items())
words = st.lists(st.from_regex(r"\w+", fullmatch=True), max_size=5).map(tuple)
said = st.tuples(words, st.booleans())
SPOKEN: dict[str, Same] = {
    "tool.said.v1": said.map(lambda it: ({"text": " ".join(it[0]), "loud": it[1]}, now(*it))),
    "tool.said.v2": said.map(lambda it: ({"words": list(it[0]), "loud": it[1]}, now(*it))),
}
SCHEMAS: dict[str, Any] = {"tool.said.v1": SaidV1.model_json_schema(), "tool.said.v2": SaidV2.model_json_schema()}
SCHEMAS |= {type_: json.loads((EVENTS_FOLDER / f"{type_}.json").read_text()) for type_ in (*EVENTS, *SUPERSEDED)}


def now(words: tuple[str, ...], loud: bool) -> Said:
    return Said(words=words, volume=11 if loud else 5)


def values(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Whatever fits a golden schema."""
    if "$ref" in schema:
        return st.deferred(lambda: values(root["$defs"][schema["$ref"].rpartition("/")[2]], root))
    if "anyOf" in schema:
        return st.one_of(*(values(one, root) for one in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    match schema.get("type"):
        case "object" if "properties" in schema:
            return records(schema, root)
        case "object":
            more = schema.get("additionalProperties")
            return st.dictionaries(st.text(), values(more if isinstance(more, dict) else {}, root), max_size=3)
        case "array":
            return st.lists(values(schema.get("items", {}), root), max_size=3)
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=20)
        case "integer":
            return st.integers(low, high)
        case "number":
            exclusive = "exclusiveMinimum" in schema
            return st.floats(low, high, exclude_min=exclusive, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=3,
    )


def records(schema: dict[str, Any], root: dict[str, Any]) -> st.SearchStrategy[Any]:
    fields = {name: values(one, root) for name, one in schema["properties"].items()}
    needed = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(needed, optional=fields)


@pytest.mark.parametrize("type_", [*SUPERSEDED, *SPOKEN])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_whatever_an_older_version_said_can_be_read(type_: str, data: st.DataObject) -> None:
    types = TYPES if type_ in SPOKEN else REAL
    old = data.draw(values(SCHEMAS[type_], SCHEMAS[type_]))
    before = json.dumps(old)
    assert isinstance(types.parse(type_, old), types.superseded[type_].now)
    assert json.dumps(old) == before


@pytest.mark.parametrize("type_", [*SAME, *SPOKEN])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_it_is_read_as_what_would_be_written_now(type_: str, data: st.DataObject) -> None:
    types = TYPES if type_ in SPOKEN else REAL
    old, new = data.draw((SAME | SPOKEN)[type_])
    assert types.parse(type_, old) == new
    current, upcast = types.upcast(type_, old)
    assert current == f"{type_.partition('.')[0]}.{new.KIND}"
    assert TypeAdapter(type(new)).validate_python(upcast) == new


def test_every_superseded_version_has_its_property() -> None:
    """If this fails: say in `SAME` what the older version would have written."""
    assert SAME.keys() == SUPERSEDED.keys()


@pytest.mark.parametrize("type_", EVENTS)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_golden_schema_describes_what_is_read(type_: str, data: st.DataObject) -> None:
    """So that it can stand for its version when that is superseded."""
    assert isinstance(REAL.parse(type_, data.draw(values(SCHEMAS[type_], SCHEMAS[type_]))), EVENTS[type_])


def test_each_older_version_needs_an_upcast() -> None:
    class Forgetful(Payload):
        """Written by nobody."""

        KIND: ClassVar[str] = "said.v3"
        UPCASTS: ClassVar[tuple[Upcast, ...]] = (into_words,)

    with pytest.raises(ValueError, match=r"said\.v3 needs 2 upcasts"):
        EventTypes([("tool", (Forgetful,))])


def test_what_is_not_known_stays_as_it_is() -> None:
    assert TYPES.known("tool.said.v1")
    assert TYPES.known("tool.said.v3")
    assert not TYPES.known("tool.said.v4")
    assert TYPES.upcast("tool.said.v4", {"a": 1}) == ("tool.said.v4", {"a": 1})
    assert TYPES.parse("tool.said.v4", {"a": 1}) is None
