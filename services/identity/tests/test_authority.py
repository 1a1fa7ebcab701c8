"""What a run token may say: the order of grants and of ceilings, and that nothing ever widens."""

from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.runs import RunWidened
from dominie_contracts.token import EVERYTHING, Authorization, Ceiling, Grants
from dominie_identity.runs.authority import Authority, meet, said

NAMES = st.lists(st.sampled_from(["a", "b", "c", EVERYTHING]), max_size=4, unique=True).map(tuple)
GRANTS = st.builds(Grants, tools=NAMES, models=NAMES, namespaces=NAMES)
USD = st.floats(0, 100)
CEILINGS = st.dictionaries(st.sampled_from(["r", "s", "t"]), USD).map(
    lambda found: tuple(Ceiling(run=run, max_cost_usd=usd) for run, usd in found.items())
)
KINDS: tuple[Literal["tools", "models", "namespaces"], ...] = ("tools", "models", "namespaces")


def allowed(grants: Grants) -> set[tuple[str, str]]:
    """Every name that is granted, `d` for one that nobody names."""
    return {(kind, name) for kind in KINDS for name in "abcd" if grants.allow(kind, name)}


@given(GRANTS, GRANTS)
def test_what_both_grant_is_what_either_allows_of_the_other(one: Grants, other: Grants) -> None:
    assert allowed(meet(one, other)) == allowed(one) & allowed(other) == allowed(meet(other, one))


@given(GRANTS, GRANTS)
def test_narrowing_is_taken_if_and_only_if_it_is_less(have: Grants, want: Grants) -> None:
    less = all(
        EVERYTHING in getattr(have, kind) or set(getattr(want, kind)) <= set(getattr(have, kind)) for kind in KINDS
    )
    try:
        found = Authority(have).narrowed(want, None, "r").grants
    except Forbidden:
        assert not less
    else:
        assert less and found == want and allowed(found) <= allowed(have)


@given(CEILINGS, CEILINGS)
def test_of_two_ceilings_of_a_run_the_lower_one_holds_and_none_is_lost(one: object, other: object) -> None:
    assert isinstance(one, tuple) and isinstance(other, tuple)
    found = {each.run: each.max_cost_usd for each in Authority(Grants(), one).below(None, other).ceilings}
    assert set(found) == {each.run for each in (*one, *other)}
    assert all(found[each.run] <= each.max_cost_usd for each in (*one, *other))


@given(st.lists(USD, max_size=4), USD)
def test_what_people_let_a_run_spend_is_the_most_that_they_said_and_nothing_lowers_it(
    said_: list[float], usd: float
) -> None:
    known = {"run": "r", "agent": "a-desk", "user": "u-dana", "action": "", "grants": Grants()}
    more = [RunWidened.model_validate({**known, "max_cost_usd": each}) for each in said_]
    found = Authority(Grants(), (Ceiling(run="r", max_cost_usd=usd),)).widened("r", more)
    assert found.ceilings == (Ceiling(run="r", max_cost_usd=max(usd, *said_, 0)),)


@given(CEILINGS, USD)
def test_a_part_keeps_the_ceilings_above_it_and_is_below_each(above: object, usd: float) -> None:
    assert isinstance(above, tuple)
    assume(above)
    try:
        found = Authority(Grants(), above).narrowed(None, usd, "part").ceilings
    except Forbidden:
        assert any(usd > each.max_cost_usd for each in above)
    else:
        assert found == (*above, Ceiling(run="part", max_cost_usd=usd))


@pytest.mark.parametrize(
    "details",
    [
        (Authorization(grants=Grants()), Authorization(grants=Grants())),
        (Ceiling(run="r", max_cost_usd=1), Ceiling(run="r", max_cost_usd=2)),
        (Ceiling(run="other", max_cost_usd=1),),
    ],
)
def test_one_thing_is_said_once_and_of_this_run(details: tuple[Authorization | Ceiling, ...]) -> None:
    with pytest.raises(Invalid):
        said(details, "r")


def test_who_says_nothing_grants_nothing() -> None:
    assert said((), "r") == (Grants(), None)
