"""The read model is whatever the log says, however it came to read it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dominie_audit.projection import Log
from dominie_contracts.audit import Search
from dominie_eventstore import MemoryEventStore
from dominie_kit.handler_testing import term

Read = Callable[[Log], Awaitable[Log]]
pytestmark = pytest.mark.anyio


def answers(log: Log) -> list[object]:
    return [
        log.trail("acme", "r-1", after=0, limit=100),
        log.search("acme", Search(), limit=100),
        log.runs("acme", 100),
        log.steps("acme", "r-1"),
    ]


async def test_a_rebuilt_read_model_equals_the_live_one(refund: None, read: Read) -> None:
    with Log(term=term) as live:
        before = answers(await read(live))
        live.reset()
        assert answers(live) != before
        assert answers(await read(live)) == before


async def test_an_event_that_is_read_twice_counts_once(store: MemoryEventStore, refund: None, read: Read) -> None:
    with Log(term=term) as log:
        before = answers(await read(log))
        async for event in store.read_all():
            log.apply(event)
        assert answers(log) == before


async def test_it_goes_on_where_it_stopped(tmp_path: Path, refund: None, read: Read) -> None:
    with Log(tmp_path / "log.sqlite", term=term) as log:
        position = (await read(log)).position
    with Log(tmp_path / "log.sqlite", term=term) as log:
        assert log.position == position
        assert len(log.steps("acme", "r-1")) == 7
