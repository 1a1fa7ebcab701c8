"""What runs were given: what vouches, what is forgotten, and that a rebuilt read model gives the same answers."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts.action import Finished, Requested, Unknown
from dominie_contracts.provenance import join
from dominie_contracts.results import labelled
from dominie_contracts.seen import Argument
from dominie_contracts.tool import TOOL
from dominie_kit.handler_testing import Desk
from dominie_tool.provenance.sources import Sources

pytestmark = pytest.mark.anyio

ADA = "ada@example.com"
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", ADA, "7", "see 7 and 8"])
RESULTS = st.recursive(
    LEAVES,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/c"]), parts, max_size=2),
    max_leaves=5,
)
FINISHES = st.tuples(
    RESULTS,
    st.dictionaries(st.sampled_from(["", "/a", "/0", "/b~1c"]), st.sampled_from(["record", "untrusted", "user"])),
    st.sampled_from(["r-1", "r-2", None]),
    st.sampled_from(["acme", "other"]),
)


def finished(result: JsonValue, **labels: Any) -> Finished:
    named = {f"/{at}": each for at, each in labels.items()}
    label = join(each for _, each in labelled(result, named, {}, "tool:x"))
    return Finished(outcome="ok", result=result, labels=named, label=label, duration_ms=1)


async def given_to(sources: Sources, desk: Desk, *outcomes: Finished, run: str | None = "r-1", id: str = "s") -> None:
    for event in await desk.append(TOOL, id, *outcomes, run=run):
        sources.apply(event)


async def integrity(sources: Sources, value: JsonValue, run: str | None = "r-1", tenant: str = "acme") -> str:
    return (await sources.of(tenant, run)).label(Argument(value)).integrity


async def test_a_run_has_what_it_was_given_and_no_other_has(desk: Desk) -> None:
    sources = Sources()
    await given_to(sources, desk, finished({"mail": ADA, "note": "to eve@example.org"}, mail="record"), id="act")
    found = await sources.of("acme", "r-1")
    assert found.label(Argument(ADA)).model_dump() == {"integrity": "record", "readers": None, "sources": ("tool:act",)}
    assert [await integrity(sources, each) for each in ("eve@example.org", "else")] == ["untrusted"] * 2
    for tenant, run in (("acme", "r-2"), ("other", "r-1"), ("acme", None)):
        assert await integrity(sources, ADA, run, tenant) == "agent"


async def test_what_comes_later_is_added_to_what_was_read(desk: Desk) -> None:
    sources = Sources()
    await given_to(sources, desk, finished({"mail": ADA}, mail="record"))
    assert [await integrity(sources, each) for each in (ADA, "x")] == ["record", "agent"]
    await given_to(sources, desk, finished("a page"))
    assert [await integrity(sources, each) for each in (ADA, "x")] == ["record", "untrusted"]


async def test_what_has_no_run_or_no_outcome_was_given_to_nobody(desk: Desk) -> None:
    sources = Sources()
    asked = Requested(command="tool.invoke", key="k", arguments={}, digest="d", deadline_ms=1)
    await given_to(sources, desk, finished("a page"), run=None)
    for event in await desk.append(TOOL, "u", asked, Unknown(why="gone"), run="r-1"):
        sources.apply(event)
    assert await integrity(sources, "x") == await integrity(sources, "x", None) == "agent"


async def test_a_run_that_was_forgotten_has_nothing_that_vouches(desk: Desk) -> None:
    sources = Sources(most_bytes=30_000)
    await given_to(sources, desk, finished({"mail": ADA}, mail="record"), run="old")
    for number in range(30):
        await given_to(sources, desk, finished({"text": f"{number}" * 1000}, text="record"), run=f"r-{number}")
    assert await integrity(sources, ADA, "old") == "untrusted"
    await given_to(sources, desk, finished({"mail": ADA}, mail="record"), run="old")
    assert await integrity(sources, ADA, "old") == "untrusted"
    assert await integrity(sources, "29" * 1000, "r-29") == "record"


async def test_a_run_that_was_given_too_much_is_forgotten_alone(desk: Desk) -> None:
    sources = Sources()
    await given_to(sources, desk, finished({"mail": ADA}, mail="record"), run="small")
    many = finished([f"value {number}" for number in range(25_000)])
    await given_to(sources, desk, many.model_copy(update={"labels": {"": "record"}}), run="large")
    assert await integrity(sources, "value 7", "large") == "untrusted"
    assert await integrity(sources, ADA, "small") == "record"


async def test_others_have_their_turn_while_much_is_read_and_two_who_ask_are_told_the_same(desk: Desk) -> None:
    sources, turns, told = Sources(), 0, []
    for number in range(4):
        page: JsonValue = " ".join(f"{word:x}" for word in range(number, 2**18, 37))
        await given_to(sources, desk, finished(page), id=f"page-{number}")

    async def ask() -> None:
        told.append((await sources.of("acme", "r-1")).label(Argument("x")))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
            while len(told) < 2:
                await anyio.lowlevel.checkpoint()
                turns += 1
    assert turns >= 4 and told[0] == told[1]
    assert set(told[0].sources) == {f"tool:page-{number}" for number in range(4)}


async def test_what_was_let_go_while_it_was_read_counts_as_anything(desk: Desk) -> None:
    sources, told = Sources(most_bytes=30_000), []
    await given_to(sources, desk, finished({"mail": ADA, "text": "x y " * 4_000}, mail="record"), run="old")

    async def ask() -> None:
        told.append((await sources.of("acme", "old")).label(Argument(ADA)).integrity)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.lowlevel.checkpoint()
            for number in range(9):
                await given_to(sources, desk, finished({"text": f"{number}" * 4_000}, text="record"), run=f"r-{number}")
    assert told == ["untrusted"]


@given(st.lists(FINISHES, max_size=6), st.integers(0, 6), st.booleans())
def test_a_rebuilt_read_model_equals_the_live_one(finishes: list[Any], cut: int, asked: bool) -> None:
    async def run() -> None:
        desk, live, rebuilt = Desk("tool"), Sources(), Sources()
        for result, labels, run, tenant in finishes:
            done = Finished(outcome="ok", result=result, labels=labels, duration_ms=1)
            for event in await desk.append(TOOL, f"s{run}", done, tenant=tenant, run=run):
                live.apply(event)
            if asked:
                await live.of(tenant, run)
        events = [event async for event in desk.store.read_all(category=TOOL)]
        for event in events[:cut]:
            rebuilt.apply(event)
        rebuilt.reset()
        for event in events:
            rebuilt.apply(event)
        for tenant, run in (("acme", "r-1"), ("acme", "r-2"), ("other", "r-1")):
            for value in (ADA, "7", 7, 8, "x"):
                one, two = [(await each.of(tenant, run)).label(Argument(value)) for each in (live, rebuilt)]
                assert one == two

    anyio.run(run)
