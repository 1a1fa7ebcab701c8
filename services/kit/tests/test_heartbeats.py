"""Who is done with an erasure, and who is late, by their heartbeats."""

from types import SimpleNamespace

import anyio
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from dominie_contracts.operations import ServiceStatus
from dominie_kit import heartbeats
from dominie_kit.heartbeats import Heartbeats

pytestmark = pytest.mark.anyio


def beat(service: str, forgotten: int) -> Msg:
    status = ServiceStatus(
        service=service,
        instance=f"{service}-1",
        version="1",
        pid=1,
        started="",
        ready=True,
        rss_mb=1,
        in_flight=0,
        handled=0,
        refused=0,
        forgotten=forgotten,
    )
    return Msg(_client=Client(), subject="hb.x", data=status.model_dump_json().encode())


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the time is."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(heartbeats, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


NOBODY, BOTH = frozenset[str](), frozenset(("audit", "memory"))


async def test_who_is_silent_is_late_whatever_they_said_last(now: SimpleNamespace) -> None:
    heard = Heartbeats()
    heard._hear(beat("memory", 0))
    heard._hear(beat("tool", 9))
    now.now += 6
    heard._hear(beat("audit", 9))
    heard._hear(beat("model", 3))
    assert await heard.forgotten(9, NOBODY, 0.01) == (("audit",), ("memory", "model", "tool"))


async def test_who_was_never_heard_is_late_too() -> None:
    heard = Heartbeats()
    heard._hear(beat("audit", 9))
    assert await heard.forgotten(9, BOTH, 0.01) == (("audit",), ("memory",))
    assert heard.late(9, BOTH) == ("memory",)


async def test_who_is_heard_while_it_waits_is_not_late() -> None:
    heard = Heartbeats()
    heard._hear(beat("audit", 9))
    async with anyio.create_task_group() as group:
        group.start_soon(beats, heard, beat("memory", 3), beat("memory", 9))
        assert await heard.forgotten(9, BOTH, 20) == (("audit", "memory"), ())


async def beats(heard: Heartbeats, *messages: Msg) -> None:
    """They come one after the other."""
    for message in messages:
        await anyio.wait_all_tasks_blocked()
        heard._hear(message)
