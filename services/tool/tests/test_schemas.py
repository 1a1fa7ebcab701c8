"""Arguments are checked as JSON Schema says, the plain schemas quickly."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dominie_contracts import Invalid
from dominie_tool.adapters.schemas import InputSchema, check_schemas

NAMES = st.sampled_from(["a", "b", "c"])
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"])
PARTS = st.fixed_dictionaries(
    {},
    optional={"type": TYPES | st.lists(TYPES, max_size=2, unique=True), "title": st.just("t"), "minLength": st.just(2)},
)
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(NAMES, PARTS),
        "required": st.lists(NAMES, unique=True),
        "additionalProperties": st.booleans(),
        "minProperties": st.just(1),
        "description": st.just("d"),
    },
)
VALUES = st.sampled_from(["", "text", 0, 2**60, 1.0, 1.5, True, None, [], ["x"], {}, {"x": 1}])


@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), VALUES))
def test_what_fits_is_what_the_standard_says(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    wrong = InputSchema(schema).wrong(arguments)
    assert (wrong is None) == Draft202012Validator(schema).is_valid(arguments), wrong


def test_the_place_and_the_reason_are_told() -> None:
    schema = InputSchema({"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]})
    assert schema.wrong({"to": 3}) == "$.to: 3 is not of type 'string'"
    assert schema.wrong({}) == "$: 'to' is a required property"
    assert schema.wrong({"to": "x", "more": 1}) is None


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "https://example.com/schema"}, {"$ref": "#/$defs/none"}])
def test_a_schema_that_leads_nowhere_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="refers to what is not in it, or to itself"):
        InputSchema(schema).wrong({"a": 1})


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(Invalid, match="not a JSON Schema"):
        check_schemas({"type": "object"}, {"type": 3})
