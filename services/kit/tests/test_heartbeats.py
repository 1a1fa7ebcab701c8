"""Who is done with an erasure, and who is late, by their heartbeats."""

from types import SimpleNamespace

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


async def test_who_is_silent_is_late_whatever_they_said_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(heartbeats, "time", SimpleNamespace(monotonic=lambda: now))
    heard = Heartbeats()
    heard._hear(beat("memory", 0))
    heard._hear(beat("tool", 9))
    now += 6
    heard._hear(beat("audit", 9))
    heard._hear(beat("model", 3))
    assert await heard.forgotten(9, 0.01) == (("audit",), ("memory", "model", "tool"))
