"""The HTTP application: OpenAI's API for clients, the live page for people, a health check for machines."""

import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import anyio
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dominie_contracts import Invalid, Problem, Unauthenticated, Unavailable
from dominie_contracts.headers import MAX_COMMAND_BYTES
from dominie_gateway.adapters.live import LivePage
from dominie_gateway.adapters.people import People
from dominie_gateway.aggregate import (
    Json,
    NotFound,
    TooLarge,
    TooSlow,
    WrongMethod,
    chunks,
    error_body,
    error_headers,
    listed,
    parse_chat,
)
from dominie_gateway.handlers import Caller, Handlers
from dominie_gateway.people.devices import Devices
from dominie_gateway.people.signing_in import SigningIn
from dominie_gateway.settings import Settings

Endpoint = Callable[[Request], Awaitable[Response]]
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
log = structlog.get_logger()


class Api:
    """OpenAI's API, as far as it is spoken here."""

    def __init__(self, handlers: Handlers, settings: Settings, is_connected: Callable[[], bool]) -> None:
        self._handlers = handlers
        self._settings = settings
        self._is_connected = is_connected
        self._in_flight = 0

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        caller = self._caller(request)
        asked = parse_chat(await self.body(request))
        found = await self._handlers.chat(asked, caller)
        headers = {"x-dominie-run": caller.run, "x-dominie-action": found.action}
        if found.cost_usd is not None:
            headers["x-dominie-cost-usd"] = f"{found.cost_usd:.6f}"
        if not asked.stream:
            return JSONResponse(found.completion, headers=headers)
        parts = chunks(found.completion, include_usage=asked.include_usage)
        return StreamingResponse(_sent(parts), media_type="text/event-stream", headers=headers)

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        return JSONResponse(listed(await self._handlers.models(self._caller(request))))

    async def health(self, request: Request) -> Response:
        """`GET /healthz`: 200 while the broker can be reached."""
        well = self._is_connected()
        return JSONResponse({"status": "ok" if well else "the broker is away"}, status_code=200 if well else 503)

    def bounded(self, endpoint: Endpoint) -> Endpoint:
        """Take so many requests at once, and no more."""

        async def take(request: Request) -> Response:
            if self._in_flight >= self._settings.max_in_flight:
                raise Unavailable(f"the gateway is busy with {self._in_flight} requests", retry_after_s=0.25)
            self._in_flight += 1
            try:
                return await endpoint(request)
            finally:
                self._in_flight -= 1

        return take

    def _caller(self, request: Request) -> Caller:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated("send an API key: `Authorization: Bearer KEY`; `dominie agent key` issues one")
        traceparent = request.headers.get("traceparent", "")
        return Caller(
            api_key=key.strip(),
            run=_named(request, "x-dominie-run") or uuid.uuid4().hex,
            session=_named(request, "x-dominie-session"),
            key=_named(request, "idempotency-key") or uuid.uuid4().hex,
            deadline=time.monotonic() + self._settings.gateway_answer_s,
            traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        )

    async def body(self, request: Request) -> bytes:
        """A request's body, of bounded size, within a bounded time."""
        said = request.headers.get("content-length", "0")
        if said.isdigit() and int(said) > MAX_COMMAND_BYTES:
            raise TooLarge(f"the request has {said} bytes; at most {MAX_COMMAND_BYTES} are taken")
        body = bytearray()
        try:
            with anyio.fail_after(self._settings.gateway_body_s):
                async for part in request.stream():
                    body += part
                    if len(body) > MAX_COMMAND_BYTES:
                        raise TooLarge(f"the request has more than {MAX_COMMAND_BYTES} bytes")
        except TimeoutError as error:
            raise TooSlow(f"the request's body took more than {self._settings.gateway_body_s:g} s") from error
        return bytes(body)


def application(api: Api, live: LivePage, people: People, devices: Devices, signing_in: SigningIn) -> Starlette:
    """Every route there is; whatever goes wrong is answered as a problem."""
    routes = [
        Route("/v1/chat/completions", _guarded(api.bounded(api.chat)), methods=["POST"]),
        Route("/v1/models", _guarded(api.bounded(api.models)), methods=["GET"]),
        Route("/people/issuers", _guarded(api.bounded(people.issuers)), methods=["GET"]),
        Route("/people/sign-in", _guarded(api.bounded(people.sign_in)), methods=["POST"]),
        Route("/people/issuers/{name}/device", _guarded(api.bounded(devices.begin)), methods=["POST"]),
        Route("/people/issuers/{name}/token", _guarded(api.bounded(devices.token)), methods=["POST"]),
        Route("/login", _guarded(api.bounded(signing_in.login)), methods=["GET"]),
        Route("/callback", _guarded(api.bounded(signing_in.callback)), methods=["GET"]),
        Route("/logout", _guarded(signing_in.logout), methods=["POST"]),
        Route("/healthz", _guarded(api.health), methods=["GET"]),
        Route("/", _guarded(live.show), methods=["GET"]),
        Route("/events", _guarded(live.events), methods=["GET"]),
        Route("/assets/{name}", _guarded(live.asset), methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_such_route})


def _guarded(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Problem as problem:
            log.info("http.problem", path=request.url.path, type=problem.type)
            return _refusal(problem)
        except Exception as error:
            log.exception("http.failed", path=request.url.path, error=type(error).__name__)
            return _refusal(Problem("the gateway failed; its log says why"))

    return answer


async def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = WrongMethod if error.status_code == WrongMethod.status else NotFound
    answer = _refusal(kind(f"{request.method} {request.url.path[:200]} is not served here"))
    answer.headers.update(error.headers or {})
    return answer


def _refusal(problem: Problem) -> Response:
    return JSONResponse(
        error_body(problem),
        status_code=problem.status,
        headers=error_headers(problem),
        media_type="application/problem+json",
    )


def _named(request: Request, header: str) -> str | None:
    text = request.headers.get(header)
    if text is not None and not _NAME.fullmatch(text):
        raise Invalid(f"the header {header} holds 1 to 100 of [A-Za-z0-9._:-]")
    return text


async def _sent(parts: Iterable[Json]) -> AsyncIterator[str]:
    for part in parts:
        yield f"data: {json.dumps(part, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"
