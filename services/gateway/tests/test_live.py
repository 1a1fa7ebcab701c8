"""Who may look at the live page, and what it is sent, over a real server."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dominie_contracts import Command, Draft, Message, Problem, Recorded, Unavailable
from dominie_contracts.envelope import GENESIS
from dominie_contracts.identity import ListIssuers
from dominie_contracts.people import Issuers, IssuerView, Vouched
from dominie_contracts.rights import AUDITORS
from dominie_gateway.adapters.live import LivePage
from dominie_gateway.adapters.people import People
from dominie_gateway.adapters.server import HttpServer
from dominie_gateway.people.clients import Clients
from dominie_gateway.people.entrance import Entrance
from dominie_gateway.people.sessions import Sessions
from dominie_gateway.projection import TENANTS, Recent
from dominie_kit import Context
from dominie_kit.edge.standing import Standing

pytestmark = pytest.mark.anyio
R = TypeVar("R", bound=Message)
CORP = IssuerView(name="corp", url="https://login.example.com", client_id="dominie", scopes="openid")


def event(position: int, why: str = "lost", tenant: str = "acme") -> Recorded:
    draft = Draft(
        id="e",
        source="dominie/tool",
        type="tool.unknown.v1",
        time=datetime(2026, 7, 2, tzinfo=UTC),
        actor="a-desk",
        correlation_id="r-1",
        data=json.dumps({"why": why}),
    )
    return Recorded(position, draft.seal(f"{tenant}.tool.a{position}", tenant, version=1, prev=GENESIS))


@pytest.fixture
def recent() -> Recent:
    found = Recent(3)
    for position in range(1, 6):
        found.apply(event(position, f"lost-{position}"))
    return found


class Identity:
    """Identity as the page asks it: where people sign in."""

    def __init__(self, *issuers: IssuerView, away: bool = False) -> None:
        self.issuers, self.away = issuers, away

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        assert isinstance(command, ListIssuers)
        if self.away:
            raise Unavailable("identity is not running")
        found = Issuers(issuers=self.issuers)
        assert isinstance(found, reply)
        return found


async def no_body(request: Request) -> bytes:
    raise AssertionError("the page has none")


def page_of(
    recent: Recent, token: str | None = None, identity: Identity | None = None, sessions: Sessions | None = None
) -> LivePage:
    people = People(identity or Identity(), Clients({}), no_body)
    return LivePage(recent, Entrance(people, sessions or Sessions(Standing()), token=token, public_url=None))


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
    async with at(page_of(recent)) as client:
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
    async with at(page_of(recent), client=client, url=url) as asker:
        assert (await asker.get(path, headers=header)).status_code == 403


async def test_a_token_opens_it_to_others_and_closes_it_to_everybody_else(recent: Recent) -> None:
    async with at(page_of(recent, "open"), client="10.0.0.9", url="http://house.example") as client:
        assert (await client.get("/")).status_code == 401
        assert (await client.get("/?token=wrong")).status_code == 401
        moved = await client.get("/?token=open")
        assert (moved.status_code, moved.headers["location"]) == (303, "./")
        assert "HttpOnly" in moved.headers["set-cookie"]
        assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("token", [None, "open"])
async def test_where_people_sign_in_neither_this_machine_nor_the_token_is_enough(
    recent: Recent, token: str | None
) -> None:
    async with at(page_of(recent, token, Identity(CORP))) as client:
        shown = await client.get("/", params={"token": "open", "run": "r-1"})
        assert (shown.status_code, shown.headers["location"]) == (303, "login?next=%2F%3Ftoken%3Dopen%26run%3Dr-1")
        refused = await client.get("/events", headers={"cookie": "dominie_page=open; dominie_session="})
    assert refused.status_code == 401


async def test_nobody_sees_anything_before_it_is_known_whether_people_sign_in(recent: Recent) -> None:
    identity = Identity(away=True)
    async with at(page_of(recent, None, identity)) as client:
        assert [(await client.get(path)).status_code for path in ("/", "/events")] == [503, 503]
        identity.away = False
        assert (await client.get("/")).status_code == 200
        identity.away = True
        assert (await client.get("/")).status_code == 200


async def test_a_tenant_that_is_busy_takes_no_room_of_another(recent: Recent) -> None:
    for position in range(6, 100):
        recent.apply(event(position, f"theirs-{position}", "globex"))
    sessions = Sessions(Standing())
    dana = Vouched(tenant="acme", principal="u-dana", groups=(AUDITORS,), issuer="corp", until_s=int(time.time()) + 60)
    cookie = {"cookie": f"dominie_session={sessions.open(dana)[0]}"}
    async with at(page_of(recent, None, Identity(CORP), sessions)) as client:
        shown = (await client.get("/", headers=cookie)).text
    assert [word in shown for word in ("lost-2", "lost-3", "lost-5", "theirs")] == [False, True, True, False]
    async with at(page_of(recent)) as client:  # where nobody signs in, it is everybody's
        assert "theirs-99" in (await client.get("/")).text


async def test_a_page_waits_for_its_own_tenant_alone(recent: Recent) -> None:
    """Not even when others do something is to be seen."""
    found: list[tuple[str, ...]] = []

    async def wait() -> None:
        found.append(tuple(line.text for line in await recent.beyond("acme", 5, 30)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        for position in range(6, 9):
            recent.apply(event(position, "theirs", "globex"))
            await anyio.wait_all_tasks_blocked()
        assert found == []
        recent.apply(event(9, "ours"))
    assert len(found) == 1 and len(found[0]) == 1 and "ours" in found[0][0]


def test_of_more_tenants_than_there_is_room_for_the_quietest_is_forgotten(recent: Recent) -> None:
    for number in range(TENANTS):
        recent.apply(event(6 + number, tenant=f"t{number}"))
    assert recent.of("acme") == () and len(recent.of("t0")) == 1 and len(recent.of(None)) == 3
    built = recent.fresh()
    assert built.position == 0
    recent.become(built)
    assert recent.of("t0") == ()


@pytest.mark.parametrize(("name", "status"), [("page.css", 200), ("page.js", 200), ("page.html", 404)])
async def test_assets(recent: Recent, name: str, status: int) -> None:
    async with at(page_of(recent)) as client:
        assert (await client.get(f"/assets/{name}")).status_code == status


@pytest.mark.parametrize("after", ["x", "-1", "9" * 30])
async def test_a_position_that_is_none_is_refused(recent: Recent, after: str) -> None:
    async with at(page_of(recent)) as client:
        assert (await client.get("/events", params={"after": after})).status_code == 400


@pytest.fixture
async def url(recent: Recent, tmp_path: Path) -> AsyncIterator[str]:
    """A real server of the page."""
    server = HttpServer(
        routes(page_of(recent)), host="127.0.0.1", port=0, place=tmp_path / "gateway.json", stopping=recent.close
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
