"""An OpenAI-compatible HTTP server that plays a script: a model that needs no key and always says the same.

`POST /v1/chat/completions` (streamed or not, tools, usage, images accepted) and `GET /v1/models`.

`python -m dominie_model.adapters.play` runs it by itself; `script` tells what a script holds.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dominie_model.adapters.completion import Json, chunks, completion
from dominie_model.adapters.conversation import Conversation
from dominie_model.adapters.script import Script
from dominie_model.adapters.script_errors import NoRule, Unfillable
from dominie_model.adapters.script_rule import Answer


def scripted_app(script: Script) -> Starlette:
    """The server, as an application."""

    async def chat(request: Request) -> Response:
        try:
            conversation = Conversation.model_validate_json(await request.body())
        except ValidationError as fault:
            return _error(400, fault.errors(include_url=False)[0]["msg"])
        try:
            answer = script.play(conversation)
        except NoRule as fault:
            return _error(400, str(fault))
        except Unfillable as fault:
            return _error(500, str(fault))
        await _delay(request, answer.delay_s)
        return _response(conversation, answer)

    async def models(_: Request) -> Response:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "dominie"} for name in script.models()]
        return JSONResponse({"object": "list", "data": listed})

    return Starlette(
        routes=[Route("/v1/chat/completions", chat, methods=["POST"]), Route("/v1/models", models, methods=["GET"])]
    )


@asynccontextmanager
async def serve_scripted(script: Script, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a script while the context is open, on a free port unless one is given.

    Yields:
        The base URL, which ends in `/v1`.

    Raises:
        OSError: The port is taken.
    """
    listener = socket.create_server((host, port))
    server = _Server(
        uvicorn.Config(
            scripted_app(script), lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
    )
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.play, listener)
        try:
            await server.ready.wait()
            yield f"http://{host}:{listener.getsockname()[1]}/v1"
        except Exception as error:  # the task group would wrap the caller's error
            failure = error
        finally:
            server.should_exit = True
    if failure is not None:
        raise failure


class _Server(uvicorn.Server):
    """A server inside another program: it leaves signals alone, and tells when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def play(self, listener: socket.socket) -> None:
        with anyio.CancelScope(shield=True):  # it ends by `should_exit`, and so closes what it opened
            await self.serve([listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in self.server_state.connections:
            connection.transport.abort()  # whoever still waits would hold up the stop
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _response(conversation: Conversation, answer: Answer) -> Response:
    if answer.status is not None:
        return _error(answer.status, answer.content or "a failure of the script", answer.retry_after_s)
    if conversation.stream:
        return StreamingResponse(_events(chunks(conversation, answer)), media_type="text/event-stream")
    return JSONResponse(completion(conversation, answer))


async def _delay(request: Request, delay_s: float) -> None:
    """Wait, but not for a client that has gone: its body is read, so all that can still arrive is its leaving."""
    if delay_s:
        with anyio.move_on_after(delay_s):
            await request.receive()


async def _events(parts: Iterable[Json]) -> AsyncIterator[str]:
    for part in parts:
        yield f"data: {json.dumps(part, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


def _error(status: int, message: str, retry_after_s: float | None = None) -> Response:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
    body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSONResponse(body, status_code=status, headers=headers)
