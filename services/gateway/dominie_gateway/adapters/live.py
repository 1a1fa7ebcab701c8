"""The live page and its events (server-sent events, WHATWG HTML; an event's id is its position in the log)."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from dominie_contracts import Forbidden, Invalid, Problem, Unavailable
from dominie_gateway.adapters.page import ASSETS, HEADERS, fragments, page, sorry
from dominie_gateway.aggregate import NotFound
from dominie_gateway.people.entrance import Entrance, SignInNeeded
from dominie_gateway.projection import Recent

_PACE_S = 0.1
"""Events that come faster are sent together."""
_ALIVE_S = 15.0
_MAX_PAGES = 32


class LivePage:
    """Shows the latest events to whoever may look, and of them what they may see."""

    def __init__(self, recent: Recent, entrance: Entrance) -> None:
        self._recent = recent
        self._entrance = entrance
        self._pages = 0

    async def show(self, request: Request) -> Response:
        """`GET /`: the page; a token in the query moves into a cookie, and whoever has to sign in is sent there."""
        moved = RedirectResponse("./", status_code=303)
        if await self._entrance.takes_token(request, moved):
            return moved
        try:
            view = await self._entrance.admit(request)
        except SignInNeeded:
            next_ = f"/?{request.url.query}" if request.url.query else "/"
            return RedirectResponse(f"login?next={quote(next_, safe='')}", status_code=303, headers=HEADERS)
        except Forbidden as problem:
            if not await self._entrance.issuers():
                raise
            return HTMLResponse(sorry(problem.detail, signed_in=True), status_code=problem.status, headers=HEADERS)
        position, lines = self._recent.position, self._recent.of(view.tenant)
        return HTMLResponse(page(lines, position=position, session=view.session), headers=HEADERS)

    async def asset(self, request: Request) -> Response:
        """`GET /assets/…`: what the page is drawn with; nothing in it is anybody's."""
        found = ASSETS.get(request.path_params["name"])
        if found is None:
            raise NotFound("there is no such asset")
        media_type, body = found
        return Response(body, media_type=media_type, headers={**HEADERS, "cache-control": "no-cache"})

    async def events(self, request: Request) -> Response:
        """`GET /events?after=POSITION`: the parts of the page that change, for ever; `Last-Event-ID` goes on."""
        view = await self._entrance.admit(request)
        after = _position(request.headers.get("last-event-id") or request.query_params.get("after") or "0")
        if self._pages >= _MAX_PAGES:
            raise Unavailable(f"{_MAX_PAGES} pages are open already", retry_after_s=5)
        headers = {**HEADERS, "x-accel-buffering": "no"}
        return StreamingResponse(
            self._feed(request, view.tenant, after), media_type="text/event-stream", headers=headers
        )

    async def _feed(self, request: Request, tenant: str | None, after: int) -> AsyncIterator[str]:
        position = after if after <= self._recent.position else 0  # beyond the end: it was another log's
        self._pages += 1
        try:
            yield "retry: 1000\n\n"
            while not self._recent.closed:
                fresh = await self._recent.beyond(tenant, position, _ALIVE_S)
                try:  # by now the session may be over, or its person stopped
                    if (await self._entrance.admit(request)).tenant != tenant:
                        raise Forbidden("this browser shows another tenant by now")
                except Problem:
                    yield "event: over\ndata:\n\n"
                    return
                if not fresh:
                    yield ": alive\n\n"
                    continue
                position = fresh[-1].position
                yield f"id: {position}\ndata: {fragments(self._recent.of(tenant), fresh)}\n\n"
                await anyio.sleep(_PACE_S)
        finally:
            self._pages -= 1


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Invalid("`after` is a position in the log: a whole number")
    return int(text)
