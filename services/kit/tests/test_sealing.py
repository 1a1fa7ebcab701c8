"""What is written for a person is sealed in its place, opened while their key is there, and not after."""

import base64
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Recorded, StreamName, Unavailable
from dominie_contracts.action import Finished, Requested
from dominie_contracts.keys import AskSubjectKeys, SubjectKeys
from dominie_contracts.memory import MEMORY, Remembered
from dominie_contracts.personal import is_erased
from dominie_contracts.tool import TOOL
from dominie_kit import Actions, Outcome, Request, Work
from dominie_kit.context import Context
from dominie_kit.governed.work import Action
from dominie_kit.handler_testing import Desk, Keys
from dominie_kit.personal.keyring import Keyring
from dominie_kit.personal.opened import OpenedStore
from dominie_kit.personal.sealing import PersonKey, Unreadable, new_key

pytestmark = pytest.mark.anyio
SECRET = "the cellar key hangs by the door"
TEXT = Remembered(id="m", namespace="user", subject="u-dana", text=SECRET)
STREAM = StreamName("acme", MEMORY, "m")
DANA = ("acme", "u-dana")


@pytest.fixture
def desk() -> Desk:
    return Desk("memory")


async def remember(desk: Desk, stream: StreamName = STREAM) -> Recorded:
    """Dana's memory, as it is stored."""
    drafts = desk.actions(MEMORY).drafts(desk.context(), stream, TEXT)
    return (await desk.log.append(stream, drafts, expected_version=0)).recorded[0]


def text(events: Sequence[Recorded]) -> object:
    return events[0].envelope.data["text"]


@given(st.binary(max_size=300), st.text(max_size=40))
def test_a_token_opens_where_it_was_sealed_and_nowhere_else(data: bytes, place: str) -> None:
    key, other = (PersonKey.of("acme", new_key("u-dana")) for _ in range(2))
    sealed = json.dumps(data.hex()).encode()
    token = key.seal(sealed, place)
    assert key.unseal(token, place) == data.hex()
    flipped = bytearray(base64.b64decode(token.partition(".")[2]))
    flipped[-1] ^= 1
    broken = f"{key.id}.{base64.b64encode(flipped).decode()}"
    for who, what, where in ((other, token, place), (key, token, place + "x"), (key, broken, place), (key, "x", place)):
        with pytest.raises(Unreadable):
            who.unseal(what, where)


def test_nothing_is_sealed_twice_alike() -> None:
    key = PersonKey.of("acme", new_key("u-dana"))
    assert key.seal(b"1", "p") != key.seal(b"1", "p")


def test_digests_and_terms_are_each_persons_own() -> None:
    one, other = (PersonKey.of("acme", new_key("u-dana")) for _ in range(2))
    found = [key.digest("a") for key in (one, other)] + [key.term("a") for key in (one, other)]
    assert len(set(found)) == 4
    assert one.digest("a") == one.digest("a") != one.digest("b")


async def test_the_log_holds_nothing_that_can_be_read(desk: Desk) -> None:
    stored = await remember(desk)
    assert b"cellar" not in stored.raw
    (opened,) = await desk.store.read(STREAM)
    assert (text([opened]), opened.raw, opened.stream) == (SECRET, stored.raw, str(STREAM))


async def test_no_part_of_an_action_can_be_read(desk: Desk) -> None:
    async def work(action: Action) -> Outcome:
        return Outcome(Finished(outcome="ok", result={"to": "dana"}, labels={"/to": "record"}, duration_ms=1))

    actions = desk.actions(TOOL)
    action = actions.open(desk.context("r-1/tool/mail/dana/0"))
    await actions.perform(action, Request("tool.invoke", {"to": "dana"}), None, Work(work))
    raw = [event.raw async for event in desk.log.read_all(category=TOOL)]
    assert raw and not [event for event in raw if b"dana" in event.replace(b"u-dana", b"")]
    opened = [event.envelope.data for event in await desk.store.read(action.stream)]
    assert (opened[0]["arguments"], opened[1]["result"]) == ({"to": "dana"}, {"to": "dana"})


async def test_equal_requests_of_two_people_have_nothing_in_common(desk: Desk) -> None:
    async def work(action: Action) -> Outcome:
        return Outcome(Finished(outcome="ok", duration_ms=1))

    digests, streams = set(), set()
    for user in ("u-dana", "u-erin"):
        actions = desk.actions(TOOL)
        action = actions.open(desk.context("k", user=user))
        await actions.perform(action, Request("tool.invoke", {"to": "x"}), None, Work(work))
        (first, *_) = await desk.store.read(action.stream)
        digests.add(Requested.model_validate(first.envelope.data).digest)
        streams.add(action.id)
    assert (len(digests), len(streams)) == (2, 2)


async def test_without_a_key_nothing_is_written(desk: Desk) -> None:
    context = desk.context()
    context.person = None
    with pytest.raises(Unavailable, match="u-dana"):
        desk.actions(MEMORY).drafts(context, STREAM, TEXT)


async def test_what_is_about_nobody_is_written_as_it_is(desk: Desk) -> None:
    nobody = Context(tenant="acme", principal="svc-x", key="k", deadline=0.0)
    (draft,) = desk.actions(MEMORY).drafts(nobody, STREAM, TEXT)
    assert SECRET in draft.data


async def test_a_text_that_was_moved_is_not_read(desk: Desk) -> None:
    stored = await remember(desk)
    moved = Recorded(stored.position, stored.raw.replace(b"acme.memory.m", b"acme.memory.n"))
    assert is_erased(text(await desk.keyring.open([moved])))


async def test_a_key_that_was_dropped_is_not_taken_again(desk: Desk) -> None:
    stored = await remember(desk)
    assert text(await desk.keyring.open([stored])) == SECRET
    desk.keyring.drop([desk.keys.of(*DANA).id])
    assert is_erased(text(await desk.keyring.open([stored])))
    with pytest.raises(Unavailable, match="destroyed just now"):
        await desk.keyring.of(*DANA)


async def test_who_was_away_meets_a_key_that_is_gone(desk: Desk) -> None:
    stored = await remember(desk)
    desk.keys.destroy(*DANA)
    assert is_erased(text(await Keyring(desk.keys).open([stored])))


class Slow(Keys):
    """Answers with a key that is dropped meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.keyring = Keyring(self)

    async def keys(self, asked: AskSubjectKeys) -> SubjectKeys:
        found = await super().keys(asked)
        self.keyring.drop([key.id for key in found.keys])
        return found


async def test_an_erasure_overtakes_an_answer() -> None:
    with pytest.raises(Unavailable):
        await Slow().keyring.of(*DANA)


class Away(Keys):
    """Cannot be asked for a while."""

    left = 2

    async def keys(self, asked: AskSubjectKeys) -> SubjectKeys:
        self.left -= 1
        if self.left >= 0:
            raise Unavailable("identity is not running")
        return await super().keys(asked)


async def test_a_follower_waits_for_identity(desk: Desk) -> None:
    stored = await remember(desk)
    store = OpenedStore(desk.log, Keyring(away := Away()))
    with pytest.raises(Unavailable):
        await store.read(STREAM)
    away.of(*DANA)
    subscription = store.subscribe("memory-1", category=MEMORY)
    assert (text([event := await anext(subscription)]), event.position) == (SECRET, stored.position)
    await subscription.aclose()


async def test_who_reads_everything_again_can_write_terms_too(desk: Desk) -> None:
    await remember(desk)
    keyring = Keyring(desk.keys)
    with pytest.raises(Unavailable):
        keyring.term("acme", "word")
    async for _ in OpenedStore(desk.log, keyring, indexed=True).read_all(category=MEMORY):
        assert keyring.term("acme", "word")


async def test_a_keyring_keeps_the_keys_that_were_used_last() -> None:
    asked: list[str] = []

    class Counted(Keys):
        async def keys(self, found: AskSubjectKeys) -> SubjectKeys:
            asked.append(found.subject or "")
            return await super().keys(found)

    ring = Keyring(Counted(), size=2)
    for person in ("u-a", "u-b", "u-a", "u-c", "u-a", "u-b"):
        await ring.of("acme", person)
    assert asked == ["u-a", "u-b", "u-c", "u-b"]


async def test_an_erased_action_is_not_done_again(desk: Desk) -> None:
    done: list[str] = []

    async def work(action: Action) -> Outcome:
        done.append(action.id)
        return Outcome(Finished(outcome="ok", result="paid", duration_ms=1))

    async def pay(actions: Actions, context: Context) -> Action:
        return await actions.perform(actions.open(context), Request("tool.invoke", {"a": 1}), None, Work(work))

    actions = desk.actions(TOOL)
    first = await pay(actions, desk.context("k"))
    desk.keyring.drop([desk.keys.of(*DANA).id])
    found = await actions.load(desk.context("k"), first.id)
    assert found.state.status == "finished" and found.state.finished and is_erased(found.state.finished.result)
    assert done == [first.id]
