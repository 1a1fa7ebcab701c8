"""Where browsers sign in and out: `/login`, the issuer's answer at `/callback`, `/logout`."""

import re
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dominie_contracts import Problem
from dominie_gateway.adapters.page import HEADERS, door, sorry
from dominie_gateway.adapters.people import People
from dominie_gateway.aggregate import NotFound
from dominie_gateway.people.code_flow import BEGUN_S, CodeFlow
from dominie_gateway.people.entrance import Entrance
from dominie_gateway.people.sessions import Sessions

_BEGUN = "dominie_login"
_NEXT = re.compile(r"/(\?[A-Za-z0-9._~%=&+:-]{0,500})?")
"""There is one page; what it is to look for may come along."""
log = structlog.get_logger()


def page_for_people(
    endpoint: "Callable[[SigningIn, Request], Awaitable[Response]]",
) -> "Callable[[SigningIn, Request], Awaitable[Response]]":
    """Problems are shown as a page: whoever opens these addresses is a person."""

    async def answer(self: "SigningIn", request: Request) -> Response:
        try:
            return await endpoint(self, request)
        except Problem as problem:
            log.info("http.problem", path=request.url.path, type=problem.type)
            return HTMLResponse(sorry(problem.detail), status_code=problem.status, headers=HEADERS)

    return answer


class SigningIn:
    """Signs people in and out."""

    def __init__(self, people: People, entrance: Entrance, sessions: Sessions, flow: CodeFlow) -> None:
        self._people = people
        self._entrance = entrance
        self._sessions = sessions
        self._flow = flow

    @page_for_people
    async def login(self, request: Request) -> Response:
        """`GET /login?issuer=NAME&next=PATH`: on to the issuer; which one is asked where there are several."""
        issuers = await self._entrance.issuers()
        if not issuers:
            raise NotFound("nobody signs in here: identity has no issuer (DOMINIE_IDENTITY_ISSUERS)")
        next_ = _next(request.query_params.get("next", ""))
        name = request.query_params.get("issuer", "")
        if not name and (len(issuers) > 1 or "ask" in request.query_params):
            return HTMLResponse(door([issuer.name for issuer in issuers], next_), headers=HEADERS)
        issuer = await self._entrance.issuer(name)
        address, cookie = await self._flow.begin(issuer, f"{self._entrance.base(request)}/callback", next_)
        answer = RedirectResponse(address, status_code=303, headers=HEADERS)
        self._entrance.keep(answer, _BEGUN, cookie, BEGUN_S)
        return answer

    @page_for_people
    async def callback(self, request: Request) -> Response:
        """`GET /callback`: the issuer's answer. Identity says who it is; then they have a session."""
        base, said = self._entrance.base(request), request.query_params
        begun = self._flow.take(request.cookies.get(self._entrance.cookie(_BEGUN), ""), said)
        issuer = await self._entrance.issuer(begun.issuer)
        token = await self._flow.redeem(issuer, begun, f"{base}/callback", said)
        who = await self._people.vouched(issuer.name, token, begun.nonce)
        answer = RedirectResponse(base + begun.next, status_code=303, headers=HEADERS)
        self._entrance.leave(request, answer)
        self._entrance.let_in(answer, *self._sessions.open(who))
        self._entrance.drop(answer, _BEGUN)
        return answer

    @page_for_people
    async def logout(self, request: Request) -> Response:
        """`POST /logout`: this browser's session is over; at the issuer they stay signed in."""
        answer = RedirectResponse("login?ask", status_code=303, headers=HEADERS)
        self._entrance.leave(request, answer)
        return answer


def _next(asked: str) -> str:
    """Where to go then: the page, and nowhere else."""
    return asked if _NEXT.fullmatch(asked) else "/"
