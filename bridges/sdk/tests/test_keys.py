"""Idempotency keys and run tokens."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie import ApprovalRequired, Credentials, Forbidden, Invalid, Unavailable
from dominie._keys import MAX_KEY_CHARS, Occurrences, plain
from dominie._link import Link
from dominie._tokens import RunTokens
from dominie.testing import Asked, House
from dominie_contracts.runs import MintRunToken, RunToken

STEPS = st.lists(st.tuples(st.sampled_from(["pay", "mail"]), st.integers(0, 2)), max_size=12)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_a_key_always_fits_into_a_header(parts: list[str]) -> None:
    key = plain(*parts)
    assert 1 <= len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable() and " " not in key


@given(STEPS)
def test_the_same_steps_have_the_same_keys_and_no_two_share_one(steps: list[tuple[str, int]]) -> None:
    first, again = Occurrences("r1"), Occurrences("r1")
    keys = [first.take(what, {"n": n}).key for what, n in steps]
    assert keys == [again.take(what, {"n": n}).key for what, n in steps]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {Occurrences("r2").take(what, {"n": n}).key for what, n in steps}


@pytest.mark.parametrize(
    ("error", "same"), [(ApprovalRequired, True), (Unavailable, True), (Forbidden, False), (Invalid, False)]
)
def test_only_an_outcome_uses_an_occurrence_up(error: type[Exception], same: bool) -> None:
    steps = Occurrences("r1")
    with pytest.raises(error), steps.take("pay", {}) as key:
        raise error("said")
    assert (steps.take("pay", {}).key == key) is same


def test_what_has_no_canonical_form_is_invalid() -> None:
    with pytest.raises(Invalid):
        Occurrences("r1").take("pay", {"n": 2**60})


def tokens_lasting(house: House, seconds: float) -> None:
    def mint(command: MintRunToken, asked: Asked) -> RunToken:
        number = len(house.commands(MintRunToken))
        return RunToken(token=f"t{number}", expires_s=int(time.time() + seconds), run=command.run)

    house.on(MintRunToken, mint)


@pytest.mark.anyio
async def test_a_token_is_shared_and_renewed_in_time(credentials: Credentials, house: House) -> None:
    link = Link(credentials)
    tokens = RunTokens(link, MintRunToken(user="u-dana", run="r1"))
    try:
        tokens_lasting(house, 300)
        assert [await tokens.current(5) for _ in range(3)] == ["t1"] * 3
        tokens.drop("t1")
        tokens_lasting(house, 1)
        assert await tokens.current(5) == "t2"
        tokens_lasting(house, 300)
        assert await tokens.current(5) in ("t2", "t3")
    finally:
        await link.close()


@pytest.mark.anyio
async def test_a_token_outlives_identity(
    credentials: Credentials, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Link(credentials)
    tokens = RunTokens(link, MintRunToken(user="u-dana", run="r1"))
    try:
        tokens_lasting(house, 30)
        assert await tokens.current(5) == "t1"
        tokens._renew_at_s = 0.0
        house.on(MintRunToken, lambda command, asked: None)
        assert await tokens.current(0.2) == "t1"
    finally:
        await link.close()
