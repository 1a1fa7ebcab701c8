"""The check of the chains names the event whose bytes were changed."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.envelope import Recorded
from dominie_eventstore import ChainReport, CorruptEvent, MemoryEventStore, unseal, verify_chain
from dominie_eventstore.conformance import draft, stream

pytestmark = pytest.mark.anyio


async def written() -> list[Recorded]:
    store = MemoryEventStore()
    for round_ in range(4):
        for id in ("a", "b"):
            drafts = [draft(f"{id}{round_}"), draft(f"{id}{round_}, too")]
            await store.append(stream(id), drafts, expected_version=2 * round_)
    return [event async for event in store.read_all()]


EVENTS = asyncio.run(written())
LAST = {event.envelope.stream: event.position for event in EVENTS}


async def check(events: list[Recorded], place: int, raw: bytes) -> ChainReport:
    """The report on a log in which one event's bytes are others."""

    def log() -> Iterator[Recorded]:
        for index, event in enumerate(events):
            yield unseal(raw if index == place else event.raw, event.position, event.envelope.stream)

    return await verify_chain(log())


async def test_what_was_written_holds() -> None:
    assert await verify_chain(EVENTS) == ChainReport(len(EVENTS), 2, ok=True)
    assert await verify_chain([]) == ChainReport(0, 0, ok=True)


@given(st.data())
async def test_a_flipped_bit_is_found_and_its_event_named(data: st.DataObject) -> None:
    """Of each event but its stream's last, nothing vouches for that one's own data yet."""
    place = data.draw(st.sampled_from([i for i, event in enumerate(EVENTS) if event.position not in LAST.values()]))
    raw = bytearray(EVENTS[place].raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    report = await check(EVENTS, place, bytes(raw))

    assert not report.ok
    assert report.broken_at == EVENTS[place].position


@given(st.data())
async def test_a_changed_digest_in_a_streams_last_event_is_its_own(data: st.DataObject) -> None:
    place = next(i for i, event in enumerate(EVENTS) if event.position == LAST["acme.tool.a"])
    event = EVENTS[place]
    prev = event.envelope.prev
    digit = data.draw(st.integers(0, 63))
    changed = prev[:digit] + ("0" if prev[digit] != "0" else "1") + prev[digit + 1 :]

    report = await check(EVENTS, place, event.raw.replace(prev.encode(), changed.encode()))

    assert report.broken_at == event.position


async def test_the_report_says_which_event_and_why() -> None:
    raw = EVENTS[1].raw.replace(b"a0, too", b"a0, two")

    report = await check(EVENTS, 1, raw)

    assert (report.stream, report.version, report.broken_at) == ("acme.tool.a", 2, EVENTS[1].position)
    assert report.why == "the SHA-256 of its bytes is not the `prev` of version 3"


async def test_the_event_before_the_streams_last_is_named_at_the_end() -> None:
    only = [event for event in EVENTS if event.envelope.stream.endswith(".b")][:2]

    report = await check(only, 0, only[0].raw.replace(b'"b0"', b'"b1"'))

    assert report.broken_at == only[0].position


@pytest.mark.parametrize("gone", range(1, 7))
async def test_a_missing_event_is_a_gap(gone: int) -> None:
    only = [event for event in EVENTS if event.envelope.stream.endswith(".a")]

    report = await verify_chain(only[:gone] + only[gone + 1 :])

    assert report.broken_at == only[gone + 1].position
    assert report.why == f"it follows version {gone}"


async def test_an_event_that_cannot_be_read_ends_the_check() -> None:
    async def log() -> AsyncIterator[Recorded]:
        yield EVENTS[0]
        raise CorruptEvent(77, stream="acme.tool.a", why="not JSON")

    report = await verify_chain(log())

    assert report == ChainReport(1, 1, False, 77, "acme.tool.a", None, "not JSON")


async def test_the_first_of_several_breaks_is_named() -> None:
    events = list(EVENTS)
    for place in (1, 6):
        changed = events[place].raw.replace(b", too", b", two")
        events[place] = unseal(changed, events[place].position)

    assert (await verify_chain(events)).broken_at == events[1].position


async def test_reordered_events_are_found() -> None:
    one, two = EVENTS[0], EVENTS[1]
    swapped = [unseal(two.raw, one.position), unseal(one.raw, two.position), *EVENTS[2:]]

    assert not (await verify_chain(swapped)).ok
