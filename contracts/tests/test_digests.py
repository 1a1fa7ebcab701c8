"""One canonical form, one digest (RFC 8785); ids made from who asked whom under which key."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Invalid
from dominie_contracts.digests import action_id, digest_bytes, digest_json

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_a_value_has_the_digest_of_its_copy(value: Any) -> None:
    assert digest_json(json.loads(json.dumps(value))) == digest_json(value)


@given(VALUES)
def test_every_value_has_the_digest_of_the_rfcs_form(value: Any) -> None:
    assert digest_json(value) == digest_bytes(rfc8785.dumps(value))


@given(st.dictionaries(TEXTS, SCALARS, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    assert digest_json(dict(reversed(value.items()))) == digest_json(value)


def test_the_canonical_form_is_that_of_the_rfc() -> None:
    assert digest_json({"b": 1.0, "a": [None, True, "€"]}) == digest_bytes('{"a":[null,true,"€"],"b":1}'.encode())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), {"a": float("-inf")}, "\ud800"])
def test_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(Invalid, match="canonical"):
        digest_json(value)


def test_a_deep_value_is_refused() -> None:
    value: Any = []
    for _ in range(10_000):
        value = [value]
    with pytest.raises(Invalid, match="canonical"):
        digest_json(value)


def test_an_actions_id_is_short_and_stable() -> None:
    assert action_id("acme", "a-desk", "tool", "k") == action_id("acme", "a-desk", "tool", "k")
    assert len(action_id("acme", "a-desk", "tool", "k")) == 32


@given(st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=8, max_size=8))
def test_other_parts_are_another_action(parts: list[str]) -> None:
    one, other = parts[:4], parts[4:]
    assert (action_id(*one) == action_id(*other)) == (one == other)
