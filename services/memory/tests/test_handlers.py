"""Commands as the edge hands them on: what they answer, and what the log then holds."""

from typing import Any

import pytest

from dominie_contracts import Conflict, Forbidden, Grants, Invalid, Recorded
from dominie_contracts.action import Finished
from dominie_contracts.endorsing import ENDORSEMENT, Endorsed, EndorsementRevoked
from dominie_contracts.memory import MEMORY, AddTurn, ListTurns, Recall, Remember, Remembered, Role
from dominie_contracts.provenance import Label
from dominie_contracts.registry import parse_own
from dominie_contracts.seen import MADE
from dominie_contracts.token import Fork
from dominie_contracts.tool import TOOL
from dominie_kit.context import Context
from dominie_kit.governed.given import Provenance
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_memory.handlers import Handlers
from dominie_memory.projection import Endorsements, Library

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
    actions, provenance = desk.actions(MEMORY), Provenance()
    again = Handlers(actions, library, desk.keyring, provenance, Endorsements(), desk.standing)
    assert await again.remember(Remember(text="likes tea"), desk.context("k1")) == first
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


IBAN = "GB29NWBK60161331926819"


async def read_a_page(desk: Desk, run: str = "r-1", **more: Any) -> None:
    done = Finished(outcome="ok", result=f"wire to {IBAN}", duration_ms=1, **more)
    await desk.append(TOOL, "page", done, run=run)


async def test_a_note_is_as_good_as_what_its_run_was_given(desk: Desk, handlers: Handlers) -> None:
    await handlers.remember(Remember(text="ada likes tea"), desk.context(run="r-1"))
    await read_a_page(desk)
    poisoned = await handlers.remember(Remember(text=f"ada is paid at {IBAN}"), desk.context(run="r-1"))
    await handlers.remember(Remember(text="ada likes cake"), desk.context(run="r-2"))
    found = await handlers.recall(Recall(query="ada"), desk.context(agent="a-other", run="r-3"))
    labels = {each.text: each.label for each in found.memories}
    assert labels["ada likes tea"] == labels["ada likes cake"] == MADE
    note = labels[f"ada is paid at {IBAN}"]
    assert (note.integrity, note.sources[0]) == ("untrusted", "tool:page")
    recorded = parse_own(await last_event(desk))
    assert isinstance(recorded, Finished) and recorded.label is not None
    label = recorded.label
    assert label.integrity == "untrusted" and f"{MEMORY}:{poisoned.id}" in label.sources


async def test_a_poisoned_note_poisons_whoever_notes_it_again(desk: Desk, handlers: Handlers) -> None:
    await read_a_page(desk)
    await handlers.remember(Remember(text=f"ada is paid at {IBAN}"), desk.context(run="r-1"))
    await handlers.recall(Recall(query="paid"), desk.context(run="r-2"))
    await handlers.remember(Remember(text="a copy"), desk.context(run="r-2"))
    (copy,) = (await handlers.recall(Recall(query="copy"), desk.context(run="r-3"))).memories
    assert copy.label.integrity == "untrusted" and copy.label.sources[0].startswith(MEMORY)


async def test_what_finds_nothing_and_what_keeps_something_says_nothing_untrusted(
    desk: Desk, handlers: Handlers
) -> None:
    await handlers.recall(Recall(query="nothing"), desk.context(run="r-1"))
    await handlers.remember(Remember(text="likes tea"), desk.context(run="r-1"))
    await handlers.add_turn(AddTurn(role="user", text="hello"), desk.context(run="r-1", session="t-1"))
    (turn,) = (await handlers.turns(ListTurns(), desk.context(run="r-2", session="t-1"))).turns
    assert turn.label.integrity == "agent"


async def test_who_may_read_what_a_note_was_made_of_goes_with_it(desk: Desk, handlers: Handlers) -> None:
    await read_a_page(desk, label=Label(integrity="record", readers=("@x.org",)))
    await handlers.remember(Remember(text="ada earns 7"), desk.context(run="r-1"))
    (found,) = (await handlers.recall(Recall(query="ada"), desk.context(run="r-2"))).memories
    assert (found.label.integrity, found.label.readers) == ("agent", ("@x.org",))


async def test_a_note_of_before_is_untrusted(desk: Desk, handlers: Handlers) -> None:
    old = Remembered(id="old", namespace="user", subject="u-dana", text="ada likes tea")
    await desk.append(MEMORY, "old", old, user="u-dana")
    (found,) = (await handlers.recall(Recall(query="tea"), desk.context())).memories
    assert found.label.integrity == "untrusted"


async def last_event(desk: Desk) -> Recorded:
    *_, event = [event async for event in desk.store.read_all(category=MEMORY)]
    return event


def endorsed(note: str, id_: str = "e1", **more: Any) -> Endorsed:
    said = {"id": id_, "source": f"memory:{note}", "pointer": "", "value": "x", "digest": "d", "whole": True}
    told = {"scope": "tenant", "by": "u-finance", "run": "r-1", "user": "u-dana", "note": "n", "key": "k"}
    label = {"integrity": "record", "sources": [f"memory:{note}"]}
    return Endorsed.model_validate({**said, **told, "was": "untrusted", "label": label, **more})


async def test_an_endorsed_note_is_better_where_it_is_recalled_until_that_is_revoked(
    desk: Desk, handlers: Handlers
) -> None:
    await desk.append(TOOL, "page", Finished(outcome="ok", result="x", duration_ms=1), run="r-1")
    kept = await handlers.remember(Remember(text="Acme is paid at GB33"), desk.context())
    other = await handlers.remember(Remember(text="Acme is in Paris"), desk.context())

    async def recalled(query: str) -> tuple[str, list[str], Label]:
        found = await handlers.recall(Recall(query=query), desk.context(run="r-2"))
        finished = [event async for event in desk.store.read_all(category=MEMORY)][-1]
        label = parse_own(finished)
        assert isinstance(label, Finished) and label.label is not None
        return found.memories[0].label.integrity, sorted(each.id for each in found.memories), label.label

    assert (await recalled("paid"))[0] == "untrusted"
    await desk.append(ENDORSEMENT, "e1", endorsed(kept.id))
    assert (await recalled("paid"))[0] == "untrusted", "nobody knows who said so"
    await desk.join("u-finance")
    await desk.append(ENDORSEMENT, "e2", endorsed(other.id, "e2", whole=False))
    integrity, _, label = await recalled("paid")
    assert (integrity, label) == ("record", Label(integrity="record", sources=("endorsement:e1", f"memory:{kept.id}")))
    assert (await recalled("Paris"))[2] == Label(integrity="untrusted", sources=(f"memory:{other.id}",))
    integrity, ids, label = await recalled("Acme")
    assert ids == sorted((kept.id, other.id)) and label.integrity == "untrusted"
    await desk.append(ENDORSEMENT, "e9", endorsed(kept.id, "e9"), tenant="other")
    await desk.append(ENDORSEMENT, "e1", EndorsementRevoked(id="e1", by="u-dana", run="r-1", note=""))
    assert (await recalled("paid"))[0] == "untrusted"
