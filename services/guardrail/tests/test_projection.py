"""What guardrail knows is what the log says, in whatever order its categories were read."""

from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Payload, Recorded, StreamName
from dominie_contracts.action import Approved, Ask, Finished, Noted, Parked, noted_in
from dominie_contracts.guardrail import APPROVAL, POLICY, POLICY_SET, ApprovalAnswered, ApprovalView, PoliciesPublished
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.tool import TOOL
from dominie_eventstore import Projection
from dominie_guardrail.projection import Answers, Asked, InForce, Notes
from dominie_kit.handler_testing import Desk
from dominie_kit.personal.opened import OpenedStore

pytestmark = pytest.mark.anyio

PARKED = Parked(
    asks=(Ask(policy="p", group="finance", why="much"),),
    digest="d",
    command="tool.invoke",
    arguments={"cents": 1},
    expires_ms=9,
)
APPROVED = Approved(approvals=("act-1",), by=("u-fay",))
FINISHED = Finished(outcome="ok", duration_ms=1)
NOTES = noted_in(TOOL, "parked")
STEPS = st.sampled_from(["yes", "no", "used", "finished", "look"])
SCRIPTS = st.lists(st.tuples(st.sampled_from(["act-1", "act-2"]), STEPS), max_size=8)


def answered(decision: str = "grant", by: str = "u-fay") -> ApprovalAnswered:
    known = {"action": "act-1", "category": TOOL, "digest": "d", "groups": ("finance",), "expires_ms": 9, "note": "ok"}
    return ApprovalAnswered.model_validate({**known, "decision": decision, "by": by, "asks": ("p@",), "nkey": by})


def parts(asked: Asked) -> dict[str, Projection]:
    """What feeds the asked actions, by category."""
    return {NOTES: Notes(asked, TOOL), APPROVAL: Answers(asked)}


async def ask(desk: Desk, id: str, *trail: Payload) -> tuple[Recorded, ...]:
    """An action that asks, as its service writes it; the note."""
    noted = await desk.append(NOTES, id, Noted(what="parked"))
    await desk.append(TOOL, id, PARKED, *trail)
    return noted


async def views(desk: Desk, categories: Sequence[str] = (NOTES, APPROVAL), *, now_ms: int = 1) -> list[ApprovalView]:
    """What is seen when the categories are read one after the other."""
    asked = Asked(desk.store)
    for category in categories:
        part = parts(asked)[category]
        async for event in desk.store.read_all(category=category):
            part.apply(event)
    return (await asked.newest("acme", now_ms=now_ms)).views[::-1]


class Counting(OpenedStore):
    """One that counts which trails are read."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.log, desk.keyring)
        self.trails = list[str]()

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        self.trails.append(stream.id)
        return await super().read(stream, after_version=after_version, near=near)


@pytest.mark.parametrize("order", [(NOTES, APPROVAL), (APPROVAL, NOTES)])
@pytest.mark.parametrize(
    ("trail", "answer", "status"),
    [
        ((), None, "pending"),
        ((), "grant", "granted"),
        ((), "deny", "denied"),
        ((APPROVED,), "grant", "used"),
        ((APPROVED, FINISHED), "grant", "used"),
        ((FINISHED,), "deny", "denied"),
        ((FINISHED,), "grant", "expired"),
        ((FINISHED,), None, "expired"),
    ],
)
async def test_how_an_action_stands(
    desk: Desk, order: tuple[str, str], trail: tuple[Payload, ...], answer: str | None, status: str
) -> None:
    await ask(desk, "act-1", *trail)
    if answer is not None:
        await desk.append(APPROVAL, "act-1", answered(answer))
    (view,) = await views(desk, order)
    assert (view.status, view.by, view.note) == (status, *(("u-fay", "ok") if answer else (None, "")))


async def test_what_nobody_answers_in_time_expires(desk: Desk) -> None:
    await ask(desk, "act-1")
    assert [(await views(desk, now_ms=now))[0].status for now in (9, 10)] == ["pending", "expired"]


async def test_a_no_beats_every_yes(desk: Desk) -> None:
    await ask(desk, "act-1")
    await desk.append(APPROVAL, "act-1", answered("grant", by="u-gil"), answered("deny"))
    (view,) = await views(desk)
    assert (view.status, view.by, [said.by for said in view.answers]) == ("denied", "u-fay", ["u-gil", "u-fay"])


async def test_a_yes_that_lapsed_is_waited_for_again(desk: Desk) -> None:
    await desk.append(NOTES, "act-1", Noted(what="parked"))
    await desk.append(TOOL, "act-1", PARKED.model_copy(update={"expires_ms": 99}))
    await desk.append(APPROVAL, "act-1", answered())
    found = [(await views(desk, now_ms=now))[0] for now in (9, 10, 100)]
    assert [(view.status, len(view.left)) for view in found] == [("granted", 0), ("pending", 1), ("expired", 1)]


async def test_what_is_asked_now_is_what_was_asked_last(desk: Desk) -> None:
    again = PARKED.model_copy(update={"digest": "e"})
    await ask(desk, "act-1", again)
    await desk.append(APPROVAL, "act-1", answered())
    (view,) = await views(desk)
    assert (view.digest, view.status) == ("e", "pending")


async def test_what_was_noted_and_never_asked_is_not_listed(desk: Desk) -> None:
    await desk.append(NOTES, "act-1", Noted(what="parked"))
    await desk.append(NOTES, "act-2", Noted(what="parked"))
    await desk.append(TOOL, "act-2", FINISHED)
    assert await views(desk) == []


async def test_many_are_listed_in_the_order_in_which_they_asked(desk: Desk) -> None:
    ids = [f"act-{number}" for number in range(70)]
    for id in ids:
        await desk.append(NOTES, id, Noted(what="parked"))
    for id in reversed(ids):
        await desk.append(TOOL, id, PARKED)
    assert [view.action for view in await views(desk)] == ids[::-1]


async def test_what_asks_nobody_any_more_is_read_once_for_what_waits(desk: Desk) -> None:
    store = Counting(desk)
    asked = Asked(store)
    late = PARKED.model_copy(update={"expires_ms": 200_000})
    for number in range(40):
        for event in await desk.append(NOTES, f"act-{number}", Noted(what="parked")):
            asked.note(event, TOOL)
        await desk.append(TOOL, f"act-{number}", late if number < 2 else PARKED, *([FINISHED] if number > 20 else []))

    async def waits(now_ms: int) -> set[str]:
        store.trails.clear()
        await asked.newest("acme", now_ms=now_ms, waiting=True)
        return set(store.trails)

    assert len(await waits(1)) == 40
    assert await waits(70_000) == {f"act-{number}" for number in range(21)}
    assert await waits(70_001) == {"act-0", "act-1"}
    found = await asked.newest("acme", now_ms=70_001, begins="act-39")
    assert [view.arguments for view in found.views] == [PARKED.arguments]


async def test_when_the_time_is_over_those_that_were_not_looked_at_are_counted(desk: Desk) -> None:
    asked = Asked(desk.store)
    for number in range(70):
        for event in await ask(desk, f"act-{number}"):
            asked.note(event, TOOL)
    found = await asked.newest("acme", now_ms=1, in_time=lambda: False)
    assert ([view.action for view in found.views], found.left) == ([f"act-{n}" for n in range(69, 37, -1)], 38)


async def test_the_set_in_force_is_the_last_one(desk: Desk) -> None:
    in_force = InForce()
    for event in await desk.append(
        POLICY,
        POLICY_SET,
        *(PoliciesPublished(digest=digest, files=(), by="operator") for digest in "ab"),
        tenant=PLATFORM,
    ):
        in_force.apply(event)
    held = in_force.digest
    in_force.reset()
    assert (held, in_force.digest, in_force.position) == ("b", None, 0)


@given(SCRIPTS, st.permutations([NOTES, APPROVAL]), st.sampled_from([NOTES, APPROVAL]))
def test_a_rebuilt_read_model_equals_the_live_one(
    script: list[tuple[str, str]], order: list[str], rebuilt: str
) -> None:
    payloads: dict[str, tuple[str, Payload]] = {
        "yes": (APPROVAL, answered("grant")),
        "no": (APPROVAL, answered("deny")),
        "used": (TOOL, APPROVED),
        "finished": (TOOL, FINISHED),
    }

    async def run() -> None:
        desk = Desk("guardrail")
        live = Asked(desk.store)
        fed = parts(live)

        def tell(events: Sequence[Recorded]) -> None:
            for event in events:
                fed[event.type.split(".")[0]].apply(event)

        for id in ("act-1", "act-2"):
            tell(await ask(desk, id))
        ended: set[str] = set()
        for id, step in script:
            if step == "look":
                await live.newest("acme", now_ms=1)
            if step == "look" or (id in ended and step in ("used", "finished")):  # no trail goes on after its end
                continue
            ended |= {id} if step == "finished" else set()
            category, payload = payloads[step]
            written = await desk.append(category, id, payload)
            tell(written if category == APPROVAL else ())
        seen = (await live.newest("acme", now_ms=1)).views
        assert await views(desk, order) == seen[::-1]
        fed[rebuilt].reset()
        tell([event async for event in desk.store.read_all(category=rebuilt)])
        assert (await live.newest("acme", now_ms=1)).views == seen

    anyio.run(run)
