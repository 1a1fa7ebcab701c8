"""Permits as the model service asks for them: who gets one, when, and what the log then holds."""

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie_contracts import DeadlineExceeded
from dominie_contracts.model import OFFER, OFFERS, ModelsOffered, Offer
from dominie_contracts.scheduler import PERMIT, AskPermit, Permit, PermitGranted, ReleasePermit
from dominie_kit.handler_testing import Desk
from dominie_scheduler.handlers import Handlers
from dominie_scheduler.projection import Offers, Slots

pytestmark = pytest.mark.anyio

PRIORITIES = st.sampled_from(["interactive", "standard", "background"])


def ask(permit: str = "p", **more: Any) -> AskPermit:
    known = {"tenant": "acme", "agent": "a-desk", "run": "r-1", "model": "auto", "priority": "standard"}
    return AskPermit.model_validate({**known, "permit": permit, "deadline_ms": 5_000, "lease_ms": 60_000, **more})


def release(permit: str = "p") -> ReleasePermit:
    return ReleasePermit(permit=permit, tenant="acme")


async def granted(desk: Desk) -> list[str]:
    """Whose turn it was, in order."""
    events = [event.envelope async for event in desk.store.read_all(category=PERMIT)]
    return [str(event.data["permit"]) for event in events if event.type.endswith(PermitGranted.KIND)]


async def once(handlers: Handlers, desk: Desk, *asks: AskPermit) -> None:
    """Ask for all of them, one after the other; each gives its slot back at once."""

    async def one(command: AskPermit) -> None:
        await handlers.permit(command, desk.context())
        await handlers.release(release(command.permit), desk.context())

    async with anyio.create_task_group() as group:
        for command in asks:
            group.start_soon(one, command)
            await anyio.wait_all_tasks_blocked()
        await handlers.release(release("first"), desk.context())


async def test_a_free_slot_is_granted_at_once(desk: Desk, handlers: Handlers) -> None:
    context = desk.context()
    permit = await handlers.permit(ask(), context)
    (event,) = [event async for event in desk.store.read_all(category=PERMIT)]
    assert (permit.permit, event.envelope.stream) == ("p", "acme.permit.p")
    assert (event.envelope.data["lease_until_ms"], event.position) == (permit.lease_until_ms, context.position)


async def test_it_waits_for_a_slot_and_says_how_long(desk: Desk, handlers: Handlers) -> None:
    found: list[Permit] = []

    async def other() -> None:
        found.append(await handlers.permit(ask("q"), desk.context()))

    await handlers.permit(ask("p"), desk.context())
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await anyio.wait_all_tasks_blocked()
        assert not found
        await handlers.release(release("p"), desk.context())
    assert found[0].permit == "q"
    assert await desk.types(PERMIT) == ["granted.v1", "released.v1", "granted.v1"]


async def test_a_slot_that_comes_free_goes_by_rank(desk: Desk, handlers: Handlers) -> None:
    await handlers.permit(ask("first"), desk.context())
    await once(
        handlers,
        desk,
        ask("later", deadline_ms=4_000),
        ask("background", priority="background", deadline_ms=1_000),
        ask("sooner", deadline_ms=2_000),
        ask("interactive", priority="interactive"),
    )
    assert await granted(desk) == ["first", "interactive", "sooner", "later", "background"]


async def test_without_a_slot_in_time_it_ends(desk: Desk, handlers: Handlers) -> None:
    await handlers.permit(ask("p"), desk.context())
    with pytest.raises(DeadlineExceeded, match="no slot of 'auto' came free"):
        await handlers.permit(ask("q", deadline_ms=20), desk.context())
    with pytest.raises(DeadlineExceeded):
        await handlers.permit(ask("q"), desk.context(deadline_s=0.02))
    assert await granted(desk) == ["p"]


async def test_who_gave_up_is_waited_for_no_longer(desk: Desk, handlers: Handlers) -> None:
    await handlers.permit(ask("first"), desk.context())
    with pytest.raises(DeadlineExceeded):
        await handlers.permit(ask("gone", priority="interactive", deadline_ms=20), desk.context())
    await once(handlers, desk, ask("next"))
    assert await granted(desk) == ["first", "next"]


async def test_the_same_permit_asked_for_again_is_the_same_slot(desk: Desk, handlers: Handlers) -> None:
    first = await handlers.permit(ask(), desk.context())
    again = await handlers.permit(ask(), desk.context())
    assert again.lease_until_ms == first.lease_until_ms
    assert await granted(desk) == ["p"]


async def test_the_same_permit_waiting_twice_is_granted_once_to_both(desk: Desk, handlers: Handlers) -> None:
    found: list[Permit] = []

    async def one() -> None:
        found.append(await handlers.permit(ask("q"), desk.context()))

    await handlers.permit(ask("p"), desk.context())
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(one)
            await anyio.wait_all_tasks_blocked()
        await handlers.release(release("p"), desk.context())
    assert len(found) == 2
    assert await granted(desk) == ["p", "q"]


async def test_one_of_two_that_gives_up_takes_no_place_from_the_other(desk: Desk, handlers: Handlers) -> None:
    await handlers.permit(ask("first"), desk.context())
    async with anyio.create_task_group() as group:
        group.start_soon(handlers.permit, ask("q"), desk.context())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(DeadlineExceeded):
            await handlers.permit(ask("q", deadline_ms=20), desk.context())
        await handlers.release(release("first"), desk.context())
    assert await granted(desk) == ["first", "q"]


async def test_a_slot_whose_holder_died_comes_free_with_its_lease(desk: Desk, handlers: Handlers) -> None:
    for permit in ("p", "q", "p"):
        await handlers.permit(ask(permit, lease_ms=20), desk.context())
    assert await granted(desk) == ["p", "q", "p"]


async def test_a_release_of_what_is_not_held_changes_nothing(desk: Desk, handlers: Handlers) -> None:
    await handlers.permit(ask(), desk.context())
    for _ in range(2):
        await handlers.release(release(), desk.context())
    await handlers.release(release("never"), desk.context())
    assert await desk.types(PERMIT) == ["granted.v1", "released.v1"]


async def test_a_permit_can_be_asked_for_again_after_its_release(desk: Desk, handlers: Handlers) -> None:
    for _ in range(2):
        await handlers.permit(ask(), desk.context())
        await handlers.release(release(), desk.context())
    assert await desk.types(PERMIT) == ["granted.v1", "released.v1"] * 2


async def test_after_a_restart_the_log_says_who_holds_a_slot(desk: Desk, instance: Callable[[], Handlers]) -> None:
    first = await instance().permit(ask("p"), desk.context())
    again = instance()
    await desk.caught_up()
    with pytest.raises(DeadlineExceeded):
        await again.permit(ask("q", deadline_ms=20), desk.context())
    assert (await again.permit(ask("p"), desk.context())).lease_until_ms == first.lease_until_ms
    await again.release(release("p"), desk.context())
    await again.permit(ask("q"), desk.context())
    assert await granted(desk) == ["p", "q"]


async def test_a_model_has_the_slots_it_was_offered_with(desk: Desk, handlers: Handlers) -> None:
    offered = ModelsOffered(models=(Offer(name="auto", provider="openai/x", slots=2),))
    await desk.append(OFFER, OFFERS, offered, tenant="svc")
    await desk.caught_up()
    for permit in "pq":
        await handlers.permit(ask(permit), desk.context())
    with pytest.raises(DeadlineExceeded):
        await handlers.permit(ask("r", deadline_ms=20), desk.context())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(PRIORITIES, st.booleans()), min_size=1, max_size=8), st.integers(1, 3))
def test_there_are_never_more_live_holders_than_slots(calls: list[tuple[str, bool]], slots: int) -> None:
    async def run() -> None:
        desk, live = Desk("scheduler"), Slots()
        desk.follow(live, PERMIT)
        handlers = Handlers(desk.store, desk.actions(PERMIT), live, Offers(), default_slots=slots, reserve_usd=0)
        holding: set[str] = set()

        async def call(permit: str, priority: str, late: bool) -> None:
            await handlers.permit(ask(permit, priority=priority), desk.context())
            holding.add(permit)
            assert len(holding) <= slots
            if late:
                await desk.caught_up()
            await anyio.lowlevel.checkpoint()
            holding.remove(permit)
            await handlers.release(release(permit), desk.context())

        async with anyio.create_task_group() as group:
            for number, (priority, late) in enumerate(calls):
                group.start_soon(call, f"p{number}", priority, late)
        assert sorted(await granted(desk)) == [f"p{number}" for number in range(len(calls))]
        assert live.state.holders == ()

    anyio.run(run)
