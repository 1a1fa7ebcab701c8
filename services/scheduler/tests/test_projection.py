"""Who holds which slot, as the log says, and as the scheduler knows before the log has told it."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Recorded
from dominie_contracts.model import OFFER, OFFERS, ModelsOffered, Offer
from dominie_contracts.scheduler import PERMIT, PermitGranted, PermitReleased
from dominie_kit.handler_testing import Desk
from dominie_scheduler.projection import Offers, Slots

pytestmark = pytest.mark.anyio

GRANTED = PermitGranted(
    permit="p", model="auto", agent="a-desk", priority="standard", waited_ms=0, lease_until_ms=9_999
)
RELEASED = PermitReleased(permit="p", model="auto", input_tokens=1, output_tokens=1, cost_usd=None)


async def logged(desk: Desk, *events: PermitGranted | PermitReleased) -> tuple[Recorded, ...]:
    return await desk.append(PERMIT, "p", *events)


async def test_the_log_says_who_holds_a_slot(desk: Desk) -> None:
    slots = Slots()
    granted, released = await logged(desk, GRANTED, RELEASED)
    slots.apply(granted)
    assert [permit for permit, _ in slots.state.holders] == ["p"]
    slots.apply(released)
    assert (slots.state.holders, slots.position) == ((), released.position)


async def test_a_grant_that_the_log_hands_on_after_its_release_brings_nobody_back(desk: Desk) -> None:
    slots = Slots()
    events = await logged(desk, GRANTED, RELEASED)
    slots.write(events[0].envelope.id, GRANTED)
    slots.write(events[1].envelope.id, RELEASED)
    for event in events:
        slots.apply(event)
        assert slots.state.holders == ()
    assert slots.position == events[-1].position


@given(st.lists(st.booleans(), max_size=6), st.integers(0, 6), st.integers(0, 6))
def test_a_rebuilt_read_model_equals_the_live_one(releases: list[bool], told: int, cut: int) -> None:
    payloads = [RELEASED if release else GRANTED for release in releases]

    async def run() -> None:
        live, rebuilt = Slots(), Slots()
        events = await logged(Desk("scheduler"), *payloads) if payloads else ()
        for number, (event, payload) in enumerate(zip(events, payloads, strict=True)):
            live.write(event.envelope.id, payload)
            if number < told:
                rebuilt.write(event.envelope.id, payload)
        for event in events[:cut]:
            live.apply(event)
        rebuilt.reset()
        for event in events:
            rebuilt.apply(event)
        assert rebuilt.state == live.state

    anyio.run(run)


async def test_a_models_slots_are_those_it_was_offered_with(desk: Desk) -> None:
    offers = Offers()
    for slots in (2, 3):
        offered = ModelsOffered(models=(Offer(name="auto", provider="openai/x", slots=slots),))
        for event in await desk.append(OFFER, OFFERS, offered, tenant="svc"):
            offers.apply(event)
    assert (offers.slots("auto", 1), offers.slots("other", 1)) == (3, 1)
    offers.reset()
    assert offers.slots("auto", 1) == 1
