"""Commands as the edge hands them on: what they answer, and what the log then holds."""

import pytest

from dominie_contracts import Conflict
from dominie_contracts.newservice import NEWSERVICE, ListNotes, Note
from dominie_kit.handler_testing import Desk
from dominie_newservice.handlers import Handlers

pytestmark = pytest.mark.anyio


async def test_a_note_is_one_append_with_its_whole_trail(desk: Desk, handlers: Handlers) -> None:
    await handlers.note(Note(text="hello"), desk.context())
    assert await desk.types(NEWSERVICE) == ["requested.v1", "noted.v1", "finished.v1"]


async def test_a_repeated_command_changes_nothing(desk: Desk, handlers: Handlers) -> None:
    first = await handlers.note(Note(text="hello"), desk.context("k"))
    assert await handlers.note(Note(text="hello"), desk.context("k")) == first
    assert len(await desk.types(NEWSERVICE)) == 3


async def test_a_key_stands_for_one_request(desk: Desk, handlers: Handlers) -> None:
    await handlers.note(Note(text="hello"), desk.context("k"))
    with pytest.raises(Conflict):
        await handlers.note(Note(text="good-bye"), desk.context("k"))


async def test_the_latest_notes_are_listed_oldest_first(desk: Desk, handlers: Handlers) -> None:
    for text in ("one", "two", "three"):
        await handlers.note(Note(text=text), desk.context())
    assert (await handlers.list_notes(ListNotes(), desk.context())).texts == ("two", "three")


async def test_a_tenant_sees_its_own_notes(desk: Desk, handlers: Handlers) -> None:
    await handlers.note(Note(text="hello"), desk.context())
    assert (await handlers.list_notes(ListNotes(), desk.context(tenant="other"))).texts == ()
