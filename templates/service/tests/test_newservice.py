"""Given events, when a command, then events; and the whole service over a log in memory."""

import time
from pathlib import Path

import pytest

from dominie_contracts.newservice import NEWSERVICE, ListNotes, Note, Noted
from dominie_eventstore import MemoryEventStore
from dominie_kit import Context, Service
from dominie_kit.keys import KeyFolder
from dominie_newservice import build
from dominie_newservice.aggregate import State, decide, evolve
from dominie_newservice.handlers import Handlers
from dominie_newservice.projection import Kept
from dominie_newservice.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store() -> MemoryEventStore:
    return MemoryEventStore()


@pytest.fixture
def service(tmp_path: Path, store: MemoryEventStore) -> Service:
    keys = KeyFolder(tmp_path).create(["newservice"])
    return build(Settings(keys=keys.path), store)


def context(key: str) -> Context:
    return Context(tenant="acme", principal="a-desk", key=key, deadline=time.monotonic() + 5)


async def rebuilt(store: MemoryEventStore) -> Kept:
    kept = Kept()
    async for event in store.read_all(category=NEWSERVICE):
        kept.apply(event)
    return kept


def test_a_new_note_is_kept() -> None:
    assert decide(State(), Note(text="hello")) == [Noted(text="hello")]


def test_a_note_is_kept_once() -> None:
    state = evolve(State(), Noted(text="hello"))
    assert decide(state, Note(text="hello")) == []
    assert evolve(state, Noted(text="hello")) == state


def test_it_serves_its_commands(service: Service) -> None:
    assert {route.command for route in service.routes} == {Note, ListNotes}


async def test_a_repeated_command_changes_nothing(service: Service, store: MemoryEventStore) -> None:
    handlers = Handlers(service.actions(NEWSERVICE), Kept(), list_max=10)
    first = await handlers.note(Note(text="hello"), context("k"))
    assert await handlers.note(Note(text="hello"), context("k")) == first
    assert (await rebuilt(store)).of("acme") == State(("hello",))


async def test_the_latest_notes_are_listed_oldest_first(service: Service, store: MemoryEventStore) -> None:
    handlers = Handlers(service.actions(NEWSERVICE), Kept(), list_max=2)
    for text in ("one", "two", "three"):
        await handlers.note(Note(text=text), context(text))
    handlers = Handlers(service.actions(NEWSERVICE), await rebuilt(store), list_max=2)
    assert (await handlers.list_notes(ListNotes(), context("l"))).texts == ("two", "three")
