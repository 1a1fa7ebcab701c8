"""Commands as the edge hands them on: what they answer, and what the log then holds."""

import pytest

from dominie_contracts import Conflict, Forbidden, Grants, Invalid
from dominie_contracts.memory import MEMORY, AddTurn, ListTurns, Recall, Remember, Role
from dominie_contracts.token import Fork
from dominie_kit.context import Context
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_memory.handlers import Handlers
from dominie_memory.projection import Library

pytestmark = pytest.mark.anyio

NO_SHARED = (
    PERMIT_ALL
    + """
@id("no-shared") @why("nothing is shared here")
forbid (principal, action == Action::"memory.remember", resource == Namespace::"shared");
"""
)


async def test_what_is_remembered_is_recalled(desk: Desk, handlers: Handlers) -> None:
    kept = await handlers.remember(Remember(text="Dana prefers e-mail"), desk.context())
    await handlers.remember(Remember(text="The desk is made of oak"), desk.context())
    found = await handlers.recall(Recall(query="e-mail or phone?"), desk.context())
    assert [(memory.id, memory.text) for memory in found.memories] == [(kept.id, "Dana prefers e-mail")]


async def test_each_is_one_append_with_its_whole_trail(desk: Desk, handlers: Handlers) -> None:
    await handlers.remember(Remember(text="Dana prefers e-mail"), desk.context())
    await handlers.recall(Recall(query="e-mail"), desk.context())
    assert await desk.types(MEMORY) == [
        *("requested.v1", "decided.v1", "remembered.v1", "finished.v1"),
        *("requested.v1", "decided.v1", "finished.v1"),
    ]


async def test_what_was_found_is_recorded_without_its_text(desk: Desk, handlers: Handlers) -> None:
    await handlers.remember(Remember(text="the cellar key hangs by the door"), desk.context())
    await handlers.recall(Recall(query="key"), desk.context())
    events = [event async for event in desk.store.read_all(category=MEMORY)]
    assert "score" in str(events[-1].envelope.data)
    assert "cellar" not in str(events[-1].envelope.data)


async def test_a_users_memories_are_their_own(desk: Desk, handlers: Handlers) -> None:
    await handlers.remember(Remember(text="Dana prefers e-mail"), desk.context(user="u-dana"))
    assert not (await handlers.recall(Recall(query="e-mail"), desk.context(user="u-erin"))).memories
    assert not (await handlers.recall(Recall(query="e-mail"), desk.context(tenant="other"))).memories


async def test_shared_memories_are_the_tenants(desk: Desk, handlers: Handlers) -> None:
    await handlers.remember(Remember(namespace="shared", text="returns take a week"), desk.context(user="u-dana"))
    query = Recall(namespace="shared", query="returns")
    assert (await handlers.recall(query, desk.context(user="u-erin", agent="a-other"))).memories
    assert not (await handlers.recall(Recall(query="returns"), desk.context(user="u-dana"))).memories
    assert not (await handlers.recall(query, desk.context(tenant="other"))).memories


async def test_a_repeated_command_is_answered_from_the_record(desk: Desk, handlers: Handlers, library: Library) -> None:
    first = await handlers.remember(Remember(text="likes tea"), desk.context("k1"))
    assert (
        await Handlers(desk.actions(MEMORY), library, desk.keyring).remember(
            Remember(text="likes tea"), desk.context("k1")
        )
        == first
    )
    found = await handlers.recall(Recall(query="tea"), desk.context("k2"))
    await handlers.remember(Remember(text="tea, tea, tea"), desk.context("k3"))
    assert await handlers.recall(Recall(query="tea"), desk.context("k2")) == found
    with pytest.raises(Conflict):
        await handlers.remember(Remember(text="likes coffee"), desk.context("k1"))


async def test_a_recall_under_another_users_key_finds_nothing_of_theirs(desk: Desk, handlers: Handlers) -> None:
    await handlers.remember(Remember(text="likes tea"), desk.context(user="u-dana"))
    assert (await handlers.recall(Recall(query="tea"), desk.context("k", user="u-dana"))).memories
    assert not (await handlers.recall(Recall(query="tea"), desk.context("k", user="u-erin"))).memories


async def test_without_a_grant_it_is_refused_on_the_record(desk: Desk, handlers: Handlers) -> None:
    grants = Grants(namespaces=("shared",))
    with pytest.raises(Forbidden, match="granted"):
        await handlers.remember(Remember(text="likes tea"), desk.context(grants=grants))
    with pytest.raises(Forbidden, match="granted"):
        await handlers.recall(Recall(query="tea"), desk.context(grants=grants))
    assert await desk.types(MEMORY) == ["requested.v1", "finished.v1"] * 2


async def test_a_policy_may_forbid_it(desk: Desk, handlers: Handlers) -> None:
    await desk.publish(NO_SHARED)
    with pytest.raises(Forbidden, match="nothing is shared here"):
        await handlers.remember(Remember(namespace="shared", text="likes tea"), desk.context())
    assert await desk.types(MEMORY) == ["requested.v1", "decided.v1", "finished.v1"]


async def test_blank_text_is_refused_on_the_record(desk: Desk, handlers: Handlers) -> None:
    with pytest.raises(Invalid, match="blank"):
        await handlers.remember(Remember(text=" "), desk.context())
    assert await desk.types(MEMORY) == ["requested.v1", "decided.v1", "finished.v1"]


async def test_turns_come_back_in_order(desk: Desk, handlers: Handlers) -> None:
    roles: tuple[Role, ...] = ("user", "assistant", "user", "assistant")
    for number, role in enumerate(roles):
        await handlers.add_turn(AddTurn(role=role, text=f"turn {number}"), desk.context(session="t-17"))
    await handlers.add_turn(AddTurn(role="user", text="elsewhere"), desk.context(session="t-18"))
    turns = (await handlers.turns(ListTurns(limit=3), desk.context(session="t-17"))).turns
    assert [(turn.role, turn.text) for turn in turns] == [
        ("assistant", "turn 1"),
        ("user", "turn 2"),
        ("assistant", "turn 3"),
    ]
    assert not (await handlers.turns(ListTurns(), desk.context(session="t-17", user="u-erin"))).turns


async def test_without_a_session_there_are_no_turns(desk: Desk, handlers: Handlers) -> None:
    with pytest.raises(Invalid, match="session"):
        await handlers.add_turn(AddTurn(role="user", text="hello"), desk.context())
    with pytest.raises(Invalid, match="session"):
        await handlers.turns(ListTurns(), desk.context())
    assert await desk.types(MEMORY) == ["requested.v1", "finished.v1"] * 2


async def test_in_a_fork_nothing_is_kept_twice_and_the_same_is_found(desk: Desk, handlers: Handlers) -> None:
    def forked(key: str) -> Context:
        return desk.context(key, run="r-2", fork=Fork(run="r-1", at=10**6))

    kept = await handlers.remember(Remember(text="Dana prefers e-mail"), desk.context("k1"))
    desk.others.record = await desk.last(MEMORY)
    assert await handlers.remember(Remember(text="Dana prefers e-mail"), forked("k1")) == kept
    found = await handlers.recall(Recall(query="e-mail"), desk.context("k2"))
    desk.others.record = await desk.last(MEMORY)
    await handlers.remember(Remember(text="No e-mail on Sundays"), desk.context("k3"))
    assert await handlers.recall(Recall(query="e-mail"), forked("k2")) == found
    assert (await desk.types(MEMORY)).count("remembered.v1") == 2
