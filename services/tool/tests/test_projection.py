"""The read models: the catalog, and what vouches for an argument."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts import Payload, Recorded
from dominie_contracts.action import Finished, Integrity, Unknown
from dominie_contracts.tool import CATALOG, TOOL, ToolRegistered, ToolSpec
from dominie_kit.handler_testing import Desk
from dominie_tool.projection import Catalog, Records

pytestmark = pytest.mark.anyio

RESULTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "ada@example.com", "7"]),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/c"]), parts, max_size=2),
    max_leaves=5,
)
FINISHES = st.tuples(
    RESULTS,
    st.dictionaries(st.sampled_from(["", "/a", "/0", "/b~1c"]), st.sampled_from(["record", "untrusted"])),
    st.sampled_from(["r-1", "r-2", None]),
    st.sampled_from(["acme", "other"]),
)


def finished(result: JsonValue, labels: dict[str, Integrity]) -> Finished:
    return Finished(outcome="ok", result=result, labels=labels, duration_ms=1)


async def stored(desk: Desk, category: str, *payloads: Payload, **more: str) -> tuple[Recorded, ...]:
    return await desk.append(category, f"s{await desk.store.last_position()}", *payloads, **more)


async def records(desk: Desk, result: JsonValue, labels: dict[str, Integrity], **more: str) -> Records:
    found = Records()
    for event in await stored(desk, TOOL, finished(result, labels), **{"run": "r-1", **more}):
        found.apply(event)
    return found


def registered(name: str, version: str = "1") -> ToolRegistered:
    return ToolRegistered(spec=ToolSpec(name=name, version=version, input_schema={}), owner="w-1")


async def test_the_catalog_holds_each_tenants_last_versions_by_name(desk: Desk) -> None:
    catalog = Catalog()
    for event in (
        *await stored(desk, CATALOG, registered("send"), registered("refund"), registered("refund", "2")),
        *await stored(desk, CATALOG, registered("send", "9"), tenant="other"),
    ):
        catalog.apply(event)
    assert [(spec.name, spec.version) for spec in catalog.all("acme")] == [("refund", "2"), ("send", "1")]
    assert catalog.find("other", "refund") is None
    catalog.reset()
    assert (catalog.all("acme"), catalog.position) == ([], 0)


async def test_only_record_leaves_vouch_and_only_whole(desk: Desk) -> None:
    result: JsonValue = {"mail": "ada@example.com", "note": "write to eve@example.com"}
    found = await records(desk, result, {"/mail": "record"})
    assert found.of("acme", "r-1") == {("text", "ada@example.com")}


@pytest.mark.parametrize("value", ["", None, True, False])
async def test_what_says_nothing_vouches_for_nothing(desk: Desk, value: JsonValue) -> None:
    assert (await records(desk, value, {"": "record"})).of("acme", "r-1") == set()


async def test_a_number_and_its_text_are_two_values(desk: Desk) -> None:
    assert (await records(desk, [7, "7"], {"/0": "record"})).of("acme", "r-1") == {("number", "7")}


async def test_a_runs_records_are_its_own(desk: Desk) -> None:
    found = await records(desk, "ada@example.com", {"": "record"})
    assert found.of("acme", "r-1")
    assert not (found.of("acme", "r-2") or found.of("other", "r-1") or found.of("acme", None))


async def test_what_has_no_run_or_no_outcome_leaves_no_record(desk: Desk) -> None:
    found = Records()
    for event in (
        *await stored(desk, TOOL, finished("ada@example.com", {"": "record"})),
        *await stored(desk, TOOL, Unknown(why="gone"), run="r-1"),
    ):
        found.apply(event)
    assert not (found.of("acme", None) or found.of("acme", "r-1"))


@given(st.lists(FINISHES, max_size=6), st.integers(0, 6))
def test_a_rebuilt_read_model_equals_the_live_one(
    finishes: list[tuple[JsonValue, dict[str, Integrity], str | None, str]], cut: int
) -> None:
    async def run() -> None:
        desk, live, rebuilt = Desk("tool"), Records(), Records()
        for result, labels, run, tenant in finishes:
            for event in await desk.append(TOOL, f"s{run}", finished(result, labels), tenant=tenant, run=run):
                live.apply(event)
        events = [event async for event in desk.store.read_all(category=TOOL)]
        for event in events[:cut]:
            rebuilt.apply(event)
        rebuilt.reset()
        for event in events:
            rebuilt.apply(event)
        for tenant in ("acme", "other"):
            assert all(rebuilt.of(tenant, run) == live.of(tenant, run) for run in ("r-1", "r-2"))

    anyio.run(run)
