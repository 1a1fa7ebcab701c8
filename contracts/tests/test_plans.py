"""What a plan may say, and which calls are of its steps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from dominie_contracts.plans import MAX_PLAN_BYTES, MAX_PLAN_CALLS, Plan, PlanStep

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("pointer", "fixed", "holds"),
    [
        ("/order", "A1", True),
        ("/order", "A2", False),
        ("/cents", 3000, True),
        ("/cents", 3000.0, True),
        ("/cents", "3000", False),
        ("/cents", True, False),
        ("/rate", 0.3, False),
        ("/missing", None, False),
        ("/none", None, True),
        ("/to/0", "a", True),
        ("/to/1", "a", False),
        ("/to/-1", "b", False),
        ("/to/00", "a", False),
        ("/to/-", None, False),
        ("/order/0", "A", False),
        ("/a~1b~0c", 1, True),
        ("", {"order": "A1"}, False),
    ],
)
def test_a_step_holds_a_call_whose_fixed_arguments_are_there(pointer: str, fixed: JsonValue, holds: bool) -> None:
    arguments: dict[str, Any] = {"order": "A1", "cents": 3000, "rate": 0.1 + 0.2, "none": None}
    arguments |= {"to": ["a", "b"], "a/b~c": 1}
    assert PlanStep(tool="refund", fixed={pointer: fixed}).holds("refund", arguments) is holds
    assert not PlanStep(tool="mail", fixed={pointer: fixed}).holds("refund", arguments)


@pytest.mark.parametrize("value", [2**63, float("nan"), 1e999])
def test_what_has_no_canonical_form_is_nothing_that_is_fixed(value: float) -> None:
    assert not PlanStep(tool="refund", fixed={"/cents": 1}).holds("refund", {"cents": value})


@given(JSON)
def test_a_value_is_itself(value: JsonValue) -> None:
    assert PlanStep(tool="t", fixed={"/v": value}).holds("t", {"v": value})


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": []},
        {"steps": [{"tool": "t"}] * 257},
        {"steps": [{"tool": ""}]},
        {"steps": [{"tool": "t", "most": 0}]},
        {"steps": [{"tool": "t", "most": MAX_PLAN_CALLS + 1}]},
        {"steps": [{"tool": "t", "most": MAX_PLAN_CALLS}, {"tool": "t"}]},
        {"steps": [{"tool": "t", "most": -1}]},
        {"steps": [{"tool": "t", "times": 2}]},
        {"steps": [{"tool": "t", "fixed": {"order": 1}}]},
        {"steps": [{"tool": "t", "fixed": {"/a~2": 1}}]},
        {"steps": [{"tool": "t", "fixed": {"/a": 2**63}}]},
        {"steps": [{"tool": "t", "fixed": {"/a": float("nan")}}]},
        {"steps": [{"tool": "t", "fixed": {"/a": "x" * MAX_PLAN_BYTES}}]},
    ],
    ids=lambda wrong: str(wrong)[:50],
)
def test_what_is_no_plan_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Plan.model_validate(wrong)


def test_another_plan_has_another_digest() -> None:
    one = PlanStep(tool="refund", fixed={"/order": "A1"})
    plans = [
        Plan(steps=(one,)),
        Plan(steps=(one,), ordered=True),
        Plan(steps=(one, one)),
        Plan(steps=(PlanStep(tool="refund", most=2, fixed={"/order": "A1"}),)),
        Plan(steps=(PlanStep(tool="refund", fixed={"/order": "A2"}),)),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert {Plan.model_validate_json(plan.model_dump_json()).digest for plan in plans} == {p.digest for p in plans}
