"""Arguments are checked as JSON Schema says: the plain schemas quickly, the dear ones in a process of their own."""

import time
from itertools import pairwise
from typing import Any

import anyio
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dominie_contracts import Invalid
from dominie_tool.adapters.schemas import InputSchema, check_schemas

pytestmark = pytest.mark.anyio
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
    wrong = anyio.run(InputSchema(schema).wrong, arguments)
    assert (wrong is None) == Draft202012Validator(schema).is_valid(arguments), wrong


async def test_the_place_and_the_keyword_are_told_and_not_the_value() -> None:
    schema = InputSchema({"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]})
    assert await schema.wrong({"to": 3}) == '$.to: does not fit "type": "string"'
    assert await schema.wrong({"to": ["x" * 400_000]}) == '$.to: does not fit "type": "string"'
    assert await schema.wrong({"to": list(range(10_000))}) == '$.to: does not fit "type": "string"'
    assert await schema.wrong({}) == '$: does not fit "required": ["to"]'
    assert await schema.wrong({"to": "x", "more": 1}) is None
    long = await InputSchema({"properties": {"to": {"enum": ["x" * 500, "y"]}}}).wrong({"to": 1})
    assert long is not None and len(long) < 250 and long.endswith("…")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/none"},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}},
    ],
)
async def test_a_schema_that_leads_nowhere_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="refers to what is not in it"):
        await InputSchema(schema).wrong({"a": 1})


ROWS = [{"i": i} for i in range(1500)]
TREE = {"type": "object", "additionalProperties": {"$ref": "#"}}


@pytest.mark.parametrize(
    ("part", "fits", "misfits"),
    [
        ({"uniqueItems": True}, ROWS, [*ROWS, ROWS[-1]]),
        ({"pattern": "^(a+)+$"}, "a" * 25, "a" * 25 + "!"),
        ({"items": {"type": "integer"}}, list(range(300_000)), [*range(300_000), "x"]),
        (TREE | {"$id": "https://example.com/tree"}, {"a": {"b": {}}}, {"a": {"b": 1}}),
    ],
)
async def test_the_dear_ones_keep_nobody_waiting(part: dict[str, Any], fits: Any, misfits: Any) -> None:
    schema, seen = InputSchema({"properties": {"a": part}}), [time.thread_time()]

    async def watch() -> None:
        while True:
            await anyio.sleep(0.01)
            seen.append(time.thread_time())

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        assert await schema.wrong({"a": fits}) is None
        wrong = await schema.wrong({"a": misfits})
        seen.append(time.thread_time())
        group.cancel_scope.cancel()
    assert wrong is not None and wrong.startswith("$.a") and len(wrong) < 300
    assert max(after - before for before, after in pairwise(seen)) < 1.5


def test_what_grows_without_end_is_ended_and_leaves_nothing_behind() -> None:
    chain: dict[str, Any] = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(30)}
    schema = InputSchema({"$ref": "#/$defs/d0", "$defs": {**chain, "d30": {"type": "string"}}})

    async def ended() -> None:
        with pytest.raises(Invalid, match="could not be checked in time"):
            await schema.wrong({"a": 1})
        assert await InputSchema({"properties": {"a": {"pattern": "^x"}}}).wrong({"a": "x"}) is None

    before = {process.pid for process in psutil.Process().children()}
    anyio.run(ended)
    assert {process.pid for process in psutil.Process().children()} <= before


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(Invalid, match="not a JSON Schema"):
        check_schemas({"type": "object"}, {"type": 3})


def test_a_large_schema_is_looked_at_in_no_time() -> None:
    begun = time.process_time()
    check_schemas({"allOf": [{}] * 20_000})
    assert time.process_time() - begun < 1
