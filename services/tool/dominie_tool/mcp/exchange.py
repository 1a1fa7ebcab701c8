"""One request to a server over HTTP, and what it answers, message by message. Imported where one is called."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

import anyio
import h11
import httpx2
import mcp_types as types
from anyio import to_thread
from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

from dominie_tool.egress import Refused, Way
from dominie_tool.egress.exchange import Side
from dominie_tool.egress.head import CLOSE, Headers, end_to_end
from dominie_tool.egress.line import Line
from dominie_tool.egress.redaction import Redactor
from dominie_tool.mcp.address import Address
from dominie_tool.mcp.asking import asked
from dominie_tool.mcp.ears import Ears, check_size
from dominie_tool.mcp.errors import OURS, Broken

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_HEAD_BYTES = 16_384
_MOST_EVENTS, _MOST_ASKED = 1_000, 20
_LONGEST_PAUSE_MS, _LONGEST_NAME = 5_000, 1_024
_EVENTS, _MESSAGE = "text/event-stream", "application/json"
_HUNG_UP = "it hung up before it had answered"
_GONE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
FAULTS = (Broken, Refused, TimeoutError, h11.ProtocolError, httpx2.SSEError, RecursionError, *_GONE)
"""What is an answer's fault, or that of its way."""
_Answer: TypeAlias = types.JSONRPCResponse | types.JSONRPCError


@dataclass(frozen=True, slots=True)
class _Head:
    status: int
    reason: str
    kind: str
    encoded: bool
    session: str | None


class Exchange(httpx2.AsyncByteStream):
    """One request and its answer, which is read as the library wants it.

    Attributes:
        waits: Whether it asks for an answer.
    """

    def __init__(self, request: httpx2.Request, body: bytes, address: Address, ears: Ears, redactor: Redactor) -> None:
        said = json.loads(body) if body else {}
        self._id: str | int | None = said.get("id") if "method" in said else None
        self._call = said.get("method") == "tools/call"
        self.waits = self._id is not None or request.method == "GET"
        self._request = request
        self._body = body
        self._address = address
        self._ears = ears
        self._redactor = redactor
        self._left = ears.most
        self._heard = 0
        self._asking = asked()
        self._open = AsyncExitStack()
        self._side: Side | None = None
        self._resumable = self._ended = False

    async def answer(self, way: Way, headers: Headers) -> httpx2.Response:
        """Send the request, and hear the head of the answer; and all of it, where that is one message.

        Raises:
            Broken: It is none, or like `FAULTS`.
        """
        line = await self._open.enter_async_context(
            way.line(self._address.host, self._address.port, self._asking.ledger)
        )
        self._side = Side(
            h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES), lambda: self._receive(line), line.send
        )
        await self._say(self._side, headers)
        head = await self._head(self._side)
        if not self.waits:
            await self.aclose()
            return httpx2.Response(204)
        if self._call and 400 <= head.status < 500:
            self._asking.settled = True
        self._check(head)
        more = {"mcp-session-id": head.session} if head.session else {}
        if head.kind == _EVENTS and head.status == 200:
            return httpx2.Response(200, headers={"content-type": _EVENTS, **more}, stream=self)
        found = await self._whole(head)
        await self.aclose()
        return httpx2.Response(head.status, headers={"content-type": _MESSAGE, **more}, content=found)

    def instead(self, fault: Exception) -> httpx2.Response:
        """What the library hears in the place of an answer that is none."""
        if not self.waits:
            return httpx2.Response(204)
        return httpx2.Response(502, headers={"content-type": _MESSAGE}, content=_said(self._error(fault)))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._open.aclose()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The events of a stream, each seen; an error of ours, and the end, where one is not what it should be."""
        heard = httpx2.Response(200, headers={"content-type": _EVENTS}, content=self._parts(), request=self._request)
        try:
            async for event in httpx2.EventSource(heard, max_event_size=self._ears.most):
                yield await self._event(event)
        except FAULTS as fault:
            if not (self._resumable and isinstance(fault, (*_GONE, h11.RemoteProtocolError))):
                yield b"data: " + _said(self._error(fault)) + b"\n\n"

    async def _say(self, side: Side, headers: Headers) -> None:
        method, target = self._request.method.encode(), self._address.target
        theirs = [(name.lower(), value) for name, value in self._request.headers.raw]
        kept = [each for each in end_to_end(theirs) if each[0] not in (b"accept-encoding", b"user-agent")]
        first = h11.Request(
            method=method, target=target, headers=[(b"host", self._address.authority), *kept, *headers, CLOSE]
        )
        if self._call:
            self._asking.sent, self._asking.settled = True, False
        await side.say(first)
        if self._body:
            await side.say(h11.Data(data=self._body))
        await side.say(h11.EndOfMessage())

    async def _head(self, side: Side) -> _Head:
        while not isinstance(event := await side.next(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise Broken(_HUNG_UP)
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        return _Head(
            status=event.status_code,
            reason=f"{event.status_code} {event.reason.decode('latin-1')[:80]}".strip(),
            kind=found.get("content-type", "").partition(";")[0].strip().lower(),
            encoded=found.get("content-encoding", "identity").lower() != "identity",
            session=found.get("mcp-session-id"),
        )

    def _check(self, head: _Head) -> None:
        if 300 <= head.status < 400:
            raise Broken(f"it answers {head.reason}, and nobody is followed elsewhere; add it where it is now")
        if head.status == 404 and "mcp-session-id" in self._request.headers:
            self._asking.expired = True
            raise Broken("it does not know its session any more")
        if head.session is not None and not _is_plain(head.session):
            raise Broken("the name of its session is none")
        if head.encoded:
            raise Broken("its answer is packed, which it was not asked for")
        if head.kind not in (_EVENTS, _MESSAGE) or head.status < 200 or (head.kind == _EVENTS and head.status != 200):
            of = f" with {head.kind[:80]!r}" if head.status < 300 else ""
            key = ": it wants a key, see `--header`" if head.status in (401, 403) else ""
            raise Broken(f"it answers {head.reason}{of}{key}")

    async def _whole(self, head: _Head) -> bytes:
        """An answer that is one message."""
        body = b"".join([part async for part in self._parts()])
        try:
            message = await self._read(body)
        except ValueError as error:
            if head.status >= 400:
                raise Broken(f"it answers {head.reason}") from error
            raise Broken(f"its answer is no message: {body[:80]!r}") from error
        if not isinstance(message, _Answer) or (head.status >= 300 and isinstance(message, types.JSONRPCResponse)):
            raise Broken(f"it answers {head.reason}, and not what it was asked")
        return _said(self._own(message))

    async def _parts(self) -> AsyncIterator[bytes]:
        assert self._side is not None
        while isinstance(part := await self._side.next(), h11.Data):
            yield bytes(part.data)

    async def _event(self, event: httpx2.ServerSentEvent) -> bytes:
        """One event, as the library gets it."""
        self._heard += 1
        if self._heard > _MOST_EVENTS:
            raise Broken(f"it says more than {_MOST_EVENTS} things before it answers")
        if event.event != "message":
            return b""
        lines = [f"id: {event.id}".encode()] if event.id and _is_plain(event.id) else []
        self._resumable = self._resumable or bool(lines)
        if event.retry is not None:
            lines.append(b"retry: %d" % min(max(event.retry, 0), _LONGEST_PAUSE_MS))
        lines.append(b"data: " + (_said(await self._heard_of(event.data.encode())) if event.data else b""))
        return b"\n".join(lines) + b"\n\n"

    async def _heard_of(self, said: bytes) -> types.JSONRPCMessage:
        try:
            message = await self._read(said)
        except ValueError as error:
            raise Broken(f"it says what is no message: {said[:80]!r}") from error
        if sum(self._ears.refused.values()) > _MOST_ASKED:
            raise Broken(f"it asks for what it is not given, more than {_MOST_ASKED} times")
        return self._own(message) if isinstance(message, _Answer) else message

    def _own(self, answer: _Answer) -> _Answer:
        """An answer to this request, under the id that it has; so it is known what came of it."""
        if self._id is not None:
            if answer.id is not None and str(answer.id) != str(self._id):
                raise Broken("it answers what it was not asked")
            answer.id = self._id
        self._asking.settled = True
        return answer

    async def _read(self, said: bytes) -> types.JSONRPCMessage:
        if self._redactor:
            check_size(said)
            found = _JSON.validate_json(said)
            said = to_json(await to_thread.run_sync(self._redactor.value, found))
        return self._ears.read(said)

    def _error(self, fault: Exception) -> types.JSONRPCError:
        if isinstance(fault, Refused) and not fault.told:
            self._asking.ledger.refuse(fault)
        broken_off = self._ended and isinstance(fault, h11.RemoteProtocolError)
        error = types.ErrorData(code=OURS, message=_HUNG_UP if broken_off else _words(fault))
        return types.JSONRPCError(jsonrpc="2.0", id=self._id, error=error)

    async def _receive(self, line: Line) -> bytes:
        try:
            data = await line.receive()
        except anyio.EndOfStream:
            self._ended = True
            raise
        self._left -= len(data)
        if self._left < 0:
            raise Broken(f"its answer has more than {self._ears.most} bytes")
        return data


def _is_plain(name: str) -> bool:
    """Whether a header can say it."""
    return len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable()


def _said(message: types.JSONRPCMessage) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _words(fault: Exception) -> str:
    match fault:
        case TimeoutError():
            return "it took too long"
        case h11.ProtocolError():
            return f"it does not speak HTTP as it should: {fault}"
        case httpx2.SSEError():
            return f"its stream is none: {fault}"
        case RecursionError():
            return "its answer is nested too deeply"
        case Broken() | Refused():
            return str(fault)
        case _:
            return _HUNG_UP
