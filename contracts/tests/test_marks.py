"""What a tool's schema says to the policies: a mark that means nothing is told."""

from typing import Any

import pytest

from dominie_contracts.labels import MAX_AMOUNT, amount, wrong_marks
from dominie_contracts.problems import Invalid
from dominie_contracts.typed import Unit


def marked(mark: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"order": {"type": "string", "x-dominie": mark}}}


@pytest.mark.parametrize("role", ["amount", "recipient", "object", "when", "code", "text"])
def test_roles_of_arguments_are_known(role: str) -> None:
    assert list(wrong_marks(marked({"role": role, "integrity": "record"}))) == []


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ({"role": "amont"}, "no role 'amont'"),
        ({"role": ["amount"]}, "no role"),
        ({"integrity": "recrod"}, "no integrity 'recrod'"),
        ({"rolle": "amount"}, "knows role, unit, integrity"),
        ({"unit": "minor"}, "a unit is of an amount"),
        ({"role": "amount", "unit": "cents"}, "`minor` or `major`, not 'cents'"),
        ({"readers": "ada@x.org"}, "readers are at most"),
        ({"readers": ["@"]}, "readers are at most"),
        ({"readers": [" ada@x.org"]}, "readers are at most"),
        ({"readers": ["a@x.org"] * 33}, "readers are at most"),
        ({"author": "from"}, "a property beside"),
        ({"author": "order"}, "a property beside"),
        ({"author": ["from"]}, "a property beside"),
        ({"named": "title"}, "knows role, unit, integrity"),
        ("amount", "knows role, unit, integrity"),
    ],
)
def test_other_words_are_not(mark: Any, said: str) -> None:
    (wrong,) = wrong_marks(marked(mark))
    assert said in wrong


def test_an_author_stands_beside_what_they_wrote() -> None:
    mail: Any = {"from": {"type": "string"}, "body": {"x-dominie": {"author": "from", "readers": []}}}
    assert list(wrong_marks({"items": {"properties": mail}})) == []
    assert len(list(wrong_marks({"properties": {"from": {}}, "items": mail["body"]}))) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"x-dominie": {"role": "code"}},
        {"properties": {"lines": {"type": "array", "items": {"x-dominie": {"role": "amount"}}}}},
        {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"x-dominie": {"role": "amount"}}}},
        {"properties": {"a": {"properties": {"b": {"x-dominie": {"role": "recipient"}}}}}},
    ],
)
def test_a_part_of_an_argument_has_no_role(schema: dict[str, Any]) -> None:
    (wrong,) = wrong_marks(schema)
    assert "argument as a whole" in wrong


def test_a_property_or_a_value_of_the_marks_name_is_none() -> None:
    values: Any = {"enum": [{"x-dominie": 1}], "default": {"x-dominie": 2}}
    assert list(wrong_marks({"properties": {"x-dominie": {"type": "string"}, "b": values}})) == []


@pytest.mark.parametrize("unit", ["minor", "major"])
@pytest.mark.parametrize("value", [float("-inf"), float("inf"), float("nan"), -1, 0.001, MAX_AMOUNT + 1, True, "1"])
def test_an_amount_that_cannot_be_counted_is_refused(value: Any, unit: Unit) -> None:
    with pytest.raises(Invalid, match="whole number of minor units"):
        amount({"sum": value}, {"sum": unit})


def test_an_amount_in_major_units_is_counted_in_minor_ones() -> None:
    assert amount({"a": 12.5, "b": 7}, {"a": "major", "b": "minor"}) == 1257
