"""The gateway on a real broker, as the runner runs it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from nats.aio.msg import Msg

from dominie_contracts import Draft, StreamName
from dominie_contracts.people import Issuers
from dominie_contracts.subjects import service_subject
from dominie_eventstore import JetStreamEventStore
from dominie_gateway import build
from dominie_gateway.settings import Settings
from dominie_kit import Service
from dominie_kit.bus import Connection, Inner
from dominie_kit.testing import House, house, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "house") as found:
        yield found


@pytest.fixture
def settings(acme: House, tmp_path: Path) -> Settings:
    return Settings(nats_url=acme.url, keys=acme.keys.path, state=tmp_path / "state", gateway_answer_s=0.3)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Service]:
    async with serving(build(settings)) as service:
        yield service


def url(settings: Settings) -> str:
    found = json.loads((settings.state / "gateway.json").read_bytes())["url"]
    assert isinstance(found, str)
    return found


async def write(settings: Settings, why: str) -> None:
    """Write an event as the tool service does."""
    tool = Inner("tool", settings)
    await tool.open()
    draft = Draft(
        id=why,
        source="dominie/tool",
        type="tool.unknown.v1",
        time=datetime.now(UTC),
        actor="a-desk",
        data=json.dumps({"why": why}),
        correlation_id="r-1",
    )
    await JetStreamEventStore(tool.client).append(StreamName("acme", "tool", why), [draft], expected_version=0)
    await tool.close()


@asynccontextmanager
async def nobody_signs_in(settings: Settings) -> AsyncIterator[None]:
    """Identity, as far as the page asks it."""
    identity = Connection("identity", "edge", settings)
    await identity.open()

    async def answer(message: Msg) -> None:
        await identity.client.publish(message.reply, Issuers(issuers=()).model_dump_json().encode())

    await identity.client.subscribe(service_subject("identity", "issuers"), cb=answer)
    await identity.client.flush()
    yield
    await identity.close()


async def told(reply: httpx.Response, words: str) -> None:
    """Wait until a stream tells of something."""
    async for line in reply.aiter_lines():
        if words in line:
            return


async def test_it_says_where_it_is_for_as_long_as_it_is_there(settings: Settings) -> None:
    async with serving(build(settings)):
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{url(settings)}/healthz")).json() == {"status": "ok"}
    assert not (settings.state / "gateway.json").exists()


async def test_while_the_others_are_away_it_says_so_in_time(gateway: Service, settings: Settings) -> None:
    async with httpx.AsyncClient(base_url=url(settings), headers={"authorization": "Bearer sk"}) as client:
        reply = await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
    assert (reply.status_code, reply.headers["x-should-retry"]) == (503, "true")
    assert "identity is not running" in reply.json()["detail"]


async def test_a_page_shows_what_happened_before_and_is_told_what_happens(settings: Settings) -> None:
    await write(settings, "before")
    async with nobody_signs_in(settings), serving(build(settings)), httpx.AsyncClient(base_url=url(settings)) as client:
        assert "unknown whether it happened: before" in (await client.get("/")).text
        async with client.stream("GET", "/events") as reply:
            await write(settings, "after")
            await told(reply, "unknown whether it happened: after")
