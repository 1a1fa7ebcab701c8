"""The live page and its events (server-sent events, WHATWG HTML; an event's id is its position in the log)."""

import hmac
from collections.abc import AsyncIterator
from ipaddress import ip_address

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from dominie_contracts import Forbidden, Invalid, Unauthenticated, Unavailable
from dominie_gateway.adapters.page import ASSETS, fragments, page
from dominie_gateway.aggregate import NotFound
from dominie_gateway.projection import Recent

_COOKIE = "dominie_page"
_PACE_S = 0.1
"""Events that come faster are sent together."""
_ALIVE_S = 15.0
_MAX_PAGES = 32
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class LivePage:
    """Shows the latest events to whoever may look: this machine, or who knows the token where one is set."""

    def __init__(self, recent: Recent, token: str | None) -> None:
        self._recent = recent
        self._token = token
        self._pages = 0

    async def show(self, request: Request) -> Response:
        """`GET /`: the page; a token in the query moves into a cookie."""
        given = request.query_params.get("token")
        if self._token is not None and given is not None:
            _check_token(self._token, given)
            answer: Response = RedirectResponse("./", status_code=303)
            answer.set_cookie(_COOKIE, given, httponly=True, samesite="strict")
            return answer
        self._admit(request)
        lines = self._recent.lines
        return HTMLResponse(page(lines, position=self._recent.position), headers=_HEADERS)

    async def asset(self, request: Request) -> Response:
        """`GET /assets/…`: what the page is drawn with; nothing in it is anybody's."""
        found = ASSETS.get(request.path_params["name"])
        if found is None:
            raise NotFound("there is no such asset")
        media_type, body = found
        return Response(body, media_type=media_type, headers={**_HEADERS, "cache-control": "no-cache"})

    async def events(self, request: Request) -> Response:
        """`GET /events?after=POSITION`: the parts of the page that change, for ever; `Last-Event-ID` goes on."""
        self._admit(request)
        after = _position(request.headers.get("last-event-id") or request.query_params.get("after") or "0")
        if self._pages >= _MAX_PAGES:
            raise Unavailable(f"{_MAX_PAGES} pages are open already", retry_after_s=5)
        headers = {**_HEADERS, "x-accel-buffering": "no"}
        return StreamingResponse(self._feed(after), media_type="text/event-stream", headers=headers)

    async def _feed(self, after: int) -> AsyncIterator[str]:
        position = after if after <= self._recent.position else 0  # beyond the end: it was another log's
        self._pages += 1
        try:
            yield "retry: 1000\n\n"
            while not self._recent.closed:
                fresh = await self._recent.beyond(position, _ALIVE_S)
                if not fresh:
                    yield ": alive\n\n"
                    continue
                position = fresh[-1].position
                yield f"id: {position}\ndata: {fragments(self._recent.lines, fresh)}\n\n"
                await anyio.sleep(_PACE_S)
        finally:
            self._pages -= 1

    def _admit(self, request: Request) -> None:
        if self._token is not None:
            _check_token(self._token, request.cookies.get(_COOKIE) or _bearer(request))
        elif not _is_local(request):
            raise Forbidden("the live page is for this machine; set DOMINIE_GATEWAY_PAGE_TOKEN to open it to others")


def _check_token(token: str, given: str) -> None:
    if not hmac.compare_digest(token.encode(), given.encode()):
        raise Unauthenticated("this page needs its token: open /?token=… once")


def _bearer(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _is_local(request: Request) -> bool:
    """Whether the request comes from this machine, is meant for it (no rebound name), and was not forwarded."""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "via"))
    return (
        not forwarded
        and request.client is not None
        and all(map(_is_loopback, (request.client.host, request.url.hostname or "")))
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Invalid("`after` is a position in the log: a whole number")
    return int(text)
