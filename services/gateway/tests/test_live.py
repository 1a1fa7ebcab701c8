"""Who may look at the live page, and what it is sent, over a real server."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dominie_contracts import Draft, Problem, Recorded
from dominie_contracts.envelope import GENESIS
from dominie_gateway.adapters.live import LivePage
from dominie_gateway.adapters.server import HttpServer
from dominie_gateway.projection import Recent

pytestmark = pytest.mark.anyio


def event(position: int, why: str = "lost") -> Recorded:
    draft = Draft(
        id="e",
        source="dominie/tool",
        type="tool.unknown.v1",
        time=datetime(2026, 7, 2, tzinfo=UTC),
        actor="a-desk",
        correlation_id="r-1",
        data=json.dumps({"why": why}),
    )
    return Recorded(position, draft.seal(f"acme.tool.a{position}", "acme", version=1, prev=GENESIS))


@pytest.fixture
def recent() -> Recent:
    found = Recent(3)
    for position in range(1, 6):
        found.apply(event(position, f"lost-{position}"))
    return found


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return JSONResponse({}, status_code=error.status)


def routes(live: LivePage) -> Starlette:
    paths = {"/": live.show, "/events": live.events, "/assets/{name}": live.asset}
    return Starlette(
        routes=[Route(path, endpoint) for path, endpoint in paths.items()], exception_handlers={Problem: refused}
    )


@asynccontextmanager
async def at(
    live: LivePage, *, client: str = "127.0.0.1", url: str = "http://127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(routes(live), client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url=url) as found:
        yield found


async def test_this_machine_may_look(recent: Recent) -> None:
    async with at(LivePage(recent, None)) as client:
        shown = await client.get("/")
    assert shown.status_code == 200 and "lost-5" in shown.text and "lost-2" not in shown.text
    assert "script-src 'self'" in shown.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("client", "url", "header"),
    [
        ("10.0.0.9", "http://127.0.0.1", {}),
        ("127.0.0.1", "http://rebound.example", {}),
        ("127.0.0.1", "http://127.0.0.1", {"x-forwarded-for": "10.0.0.9"}),
    ],
    ids=["from elsewhere", "by another name", "through a proxy"],
)
@pytest.mark.parametrize("path", ["/", "/events"])
async def test_nobody_else_may(recent: Recent, client: str, url: str, header: dict[str, str], path: str) -> None:
    async with at(LivePage(recent, None), client=client, url=url) as asker:
        assert (await asker.get(path, headers=header)).status_code == 403


async def test_a_token_opens_it_to_others_and_closes_it_to_everybody_else(recent: Recent) -> None:
    async with at(LivePage(recent, "open"), client="10.0.0.9", url="http://house.example") as client:
        assert (await client.get("/")).status_code == 401
        assert (await client.get("/?token=wrong")).status_code == 401
        moved = await client.get("/?token=open")
        assert (moved.status_code, moved.headers["location"]) == (303, "./")
        assert "HttpOnly" in moved.headers["set-cookie"]
        assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize(("name", "status"), [("page.css", 200), ("page.js", 200), ("page.html", 404)])
async def test_assets(recent: Recent, name: str, status: int) -> None:
    async with at(LivePage(recent, None)) as client:
        assert (await client.get(f"/assets/{name}")).status_code == status


@pytest.mark.parametrize("after", ["x", "-1", "9" * 30])
async def test_a_position_that_is_none_is_refused(recent: Recent, after: str) -> None:
    async with at(LivePage(recent, None)) as client:
        assert (await client.get("/events", params={"after": after})).status_code == 400


@pytest.fixture
async def url(recent: Recent, tmp_path: Path) -> AsyncIterator[str]:
    """A real server of the page."""
    server = HttpServer(
        routes(LivePage(recent, None)), host="127.0.0.1", port=0, place=tmp_path / "gateway.json", stopping=recent.close
    )
    async with server.opened(), anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        yield server.url
        tasks.cancel_scope.cancel()


async def messages(reply: httpx.Response) -> AsyncGenerator[tuple[int, str], None]:
    position = 0
    async for text in reply.aiter_lines():
        name, _, value = text.partition(": ")
        if name == "id":
            position = int(value)
        elif name == "data":
            yield position, value


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [
        ({}, {}, {"lost-3", "lost-4", "lost-5"}),
        ({"after": "4"}, {}, {"lost-5"}),
        ({"after": "0"}, {"last-event-id": "4"}, {"lost-5"}),
        ({"after": "999"}, {}, {"lost-3", "lost-4", "lost-5"}),
    ],
    ids=["from the beginning", "after a position", "after the last one that came", "of another log"],
)
async def test_events_come_from_where_the_page_stopped_and_go_on(
    recent: Recent, url: str, query: dict[str, str], headers: dict[str, str], first: set[str]
) -> None:
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{url}/events", params=query, headers=headers) as reply,
    ):
        found = messages(reply)
        position, html = await anext(found)
        assert (position, {word for word in ("lost-3", "lost-4", "lost-5") if word in html}) == (5, first)
        recent.apply(event(6, "lost-6"))
        position, html = await anext(found)
        assert position == 6 and "lost-6" in html and "lost-5" not in html
        await found.aclose()


async def test_an_open_page_does_not_keep_the_server_from_ending(recent: Recent, url: str) -> None:
    async with httpx.AsyncClient() as client, client.stream("GET", f"{url}/events") as reply:
        found = messages(reply)
        await anext(found)
        recent.close()
        with pytest.raises(StopAsyncIteration):
            await anext(found)
