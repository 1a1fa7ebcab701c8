"""Which runs share what they were given."""

from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.action import Finished
from dominie_contracts.identity import RUN
from dominie_contracts.provenance import Label
from dominie_contracts.runs import RunOpened
from dominie_contracts.token import Grants
from dominie_kit.context import Context
from dominie_kit.governed.families import Families
from dominie_kit.governed.given import Provenance
from dominie_kit.handler_testing import Desk

pytestmark = pytest.mark.anyio


async def opened(desk: Desk, families: Families, run: str, *, tenant: str = "acme", **more: Any) -> None:
    known = {"run": run, "agent": "a-desk", "user": "u-dana", "session": None, "grants": Grants(), "expires_s": 1}
    event = RunOpened.model_validate({**known, "request_digest": None, **more})
    for recorded in await desk.append(RUN, run, event, tenant=tenant, user="u-dana"):
        families.apply(recorded)


def of(desk: Desk, families: Families, run: str, session: str | None = None, **more: Any) -> set[str]:
    """The runs that share with one, by its token."""
    claims = desk.context(run=run, session=session).claims
    assert claims is not None
    found = families.of(claims.model_copy(update=more))
    assert found is not None and run in found
    return {*found} - {run}


async def test_a_run_alone_shares_with_nobody() -> None:
    desk, families = Desk("tool"), Families()
    for run in ("r-1", "r-2"):
        await opened(desk, families, run)
    assert of(desk, families, "r-1") == of(desk, families, "r-3") == set()


async def test_a_part_shares_with_what_it_is_part_of_and_with_its_other_parts() -> None:
    desk, families = Desk("tool"), Families()
    await opened(desk, families, "r-1")
    await opened(desk, families, "part", parents=("r-1",))
    await opened(desk, families, "inner", parents=("r-1", "part"))
    assert of(desk, families, "r-1") == {"part", "inner"} and of(desk, families, "inner") == {"r-1", "part"}
    assert of(desk, families, "next", parents=("r-1",)) == {"r-1", "part", "inner"}
    assert of(desk, families, "other", parents=("gone",)) == {"gone"}


async def test_a_session_shares_until_its_user_asks_for_something_new() -> None:
    desk, families = Desk("tool"), Families()
    for run, who in (("r-1", "user"), ("r-2", None), ("r-3", "user"), ("r-4", "agent")):
        await opened(desk, families, run, session="t-1", request_digest=who and run, request_from=who)
    assert of(desk, families, "r-2") == {"r-1"} and of(desk, families, "r-4") == {"r-3"}
    assert of(desk, families, "r-5", "t-1") == {"r-3", "r-4"}
    assert of(desk, families, "r-5", "t-1", request_digest="d5", request_from="user") == set()
    for who in (None, "agent"):
        assert of(desk, families, "r-5", "t-1", request_digest="d5", request_from=who) == {"r-3", "r-4"}
    assert of(desk, families, "r-5", "t-2") == of(desk, families, "r-5", "t-1", sub="u-erin") == set()
    assert of(desk, families, "r-5", "t-1", tenant="other") == set()


async def test_a_session_is_known_for_as_long_as_it_goes_on() -> None:
    desk, families = Desk("tool"), Families(runs=2)
    for number, session in enumerate(("t-1", "t-2", "t-1", "t-3", "t-1", "t-4")):
        await opened(desk, families, f"r-{number}", session=session)
    assert of(desk, families, "next", "t-1") == {"r-0", "r-2", "r-4"} and of(desk, families, "next", "t-2") == set()


async def test_of_a_family_that_is_too_large_nobody_knows_all() -> None:
    desk, provenance = Desk("tool"), Provenance()
    for number in range(202):
        await opened(desk, provenance.families, f"r-{number}", session="t-1")
    context = desk.context(run="r-0", session="t-1")
    assert provenance.of(context).integrity == "untrusted" and provenance.of(context).readers == ()
    assert provenance.of(desk.context(run="new")).integrity == "user"


async def test_what_a_session_has_read_stays_with_its_runs() -> None:
    desk, provenance = Desk("tool"), Provenance()
    await opened(desk, provenance.families, "r-1", session="t-1")
    page = Finished(outcome="ok", duration_ms=1)
    for event in await desk.append("tool", "page", page, run="r-1"):
        provenance.given["tool"].apply(event)
    later = desk.context(run="r-2", session="t-1")
    assert provenance.of(later) == Label(integrity="untrusted", sources=("tool:page",))
    assert provenance.of(anew(later)).integrity == "user"
    assert provenance.of(replace(later, claims=None)).integrity == "untrusted"


def anew(context: Context) -> Context:
    assert context.claims is not None
    return replace(context, claims=context.claims.model_copy(update={"request_digest": "d", "request_from": "user"}))


RUNS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from([None, "t-1"]),
        st.sampled_from([None, "user", "agent"]),
        st.none() | st.integers(0, 5),
    ),
    max_size=8,
)


@given(RUNS, st.integers(0, 8))
def test_a_rebuilt_read_model_equals_the_live_one(runs: list[Any], cut: int) -> None:
    async def run() -> None:
        desk, live, rebuilt = Desk("tool"), Families(), Families()
        for number, session, who, parent in runs:
            parents = () if parent is None else (f"r-{parent}",)
            await opened(desk, live, f"r-{number}", session=session, request_from=who, parents=parents)
        events = [event async for event in desk.store.read_all(category=RUN)]
        for event in events[:cut]:
            rebuilt.apply(event)
        rebuilt.reset()
        for event in events:
            rebuilt.apply(event)
        for number in range(6):
            assert of(desk, live, f"r-{number}") == of(desk, rebuilt, f"r-{number}")

    anyio.run(run)
