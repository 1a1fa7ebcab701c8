"""An MCP server over HTTP that does as a test tells it, right or wrong, a request at a time; raw, on a stream."""

import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import h11
from anyio.abc import ByteStream

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
Json = dict[str, Any]
Trouble = Callable[["Script", ByteStream, "Asked"], Awaitable[None]]


def tools(*names: str, **more: Any) -> list[Json]:
    return [{"name": name, "description": f"It can {name}.", "inputSchema": TEXT, **more} for name in names]


@dataclass
class Asked:
    """A request as the server got it."""

    method: str
    path: str
    headers: dict[str, str]
    message: Json


@dataclass
class Script:
    """An MCP server that does as it is told: `trouble`, by the method of a message."""

    tools: list[Json] = field(default_factory=lambda: tools("echo"))
    instructions: str = ""
    sessions: bool = True
    sse: bool = False
    asked: list[Asked] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    trouble: dict[str, Trouble] = field(default_factory=dict)

    def counts(self) -> Counter[str]:
        return Counter(each.message.get("method", each.method) for each in self.asked)

    async def __call__(self, stream: ByteStream) -> None:
        async with stream:
            try:
                asked = await self._heard(stream)
                self.asked.append(asked)
                what = asked.message.get("method", asked.method)
                await self.trouble.get(what, Script.answer)(self, stream, asked)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
                pass

    async def _heard(self, stream: ByteStream) -> Asked:
        spoken, body = h11.Connection(h11.SERVER), b""
        first: h11.Request | None = None
        while True:
            event = spoken.next_event()
            if event is h11.NEED_DATA:
                spoken.receive_data(await stream.receive())
            elif isinstance(event, h11.Request):
                first = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert first is not None
                headers = {name.decode(): value.decode() for name, value in first.headers}
                return Asked(first.method.decode(), first.target.decode(), headers, json.loads(body or b"{}"))

    async def answer(self, stream: ByteStream, asked: Asked) -> None:
        """As it should be."""
        message, session = asked.message, asked.headers.get("mcp-session-id")
        method = message.get("method")
        if asked.method == "DELETE":
            self.known.discard(session or "")
            await respond(stream, 200)
        elif method == "server/discover":
            await respond(stream, 400, error(message, -32600, "no session"))
        elif self.sessions and method != "initialize" and session not in self.known:
            await respond(stream, 404, error(message, -32001, "Session not found"))
        elif "id" not in message or "method" not in message:
            await respond(stream, 202)
        elif method == "initialize":
            await self.initialize(stream, message)
        elif method == "tools/list":
            await self.say(stream, message, {"tools": self.tools})
        else:
            text = message["params"].get("arguments", {}).get("text", "")
            await self.say(stream, message, {"content": [{"type": "text", "text": text}]})

    async def initialize(self, stream: ByteStream, message: Json) -> None:
        headers = {}
        if self.sessions:
            session = f"s{len(self.asked)}"
            self.known.add(session)
            headers = {"Mcp-Session-Id": session}
        found = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "test", "version": "1"},
            "instructions": self.instructions,
        }
        await self.say(stream, message, found, headers)

    async def say(self, stream: ByteStream, message: Json, result: Json, headers: dict[str, str] | None = None) -> None:
        said = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        if self.sse:
            await events(stream, said, headers=headers)
        else:
            await respond(stream, 200, said, headers)


def error(message: Json, code: int, text: str) -> Json:
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": text}}


async def respond(
    stream: ByteStream,
    status: int,
    said: Any = None,
    headers: dict[str, str] | None = None,
    *,
    kind: str = "application/json",
    reason: str = "",
) -> None:
    body = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
    lines = [f"HTTP/1.1 {status} {reason or ('OK' if status < 300 else 'No')}", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {kind}"] if body else []
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    await stream.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


async def events(stream: ByteStream, *said: Any, headers: dict[str, str] | None = None) -> None:
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    await stream.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{more}\r\n".encode())
    for each in said:
        data = each if isinstance(each, bytes) else b"event: message\ndata: " + json.dumps(each).encode() + b"\n\n"
        await stream.send(data)


def instead(status: int = 200, said: Any = None, **more: Any) -> Trouble:
    """Answers everything with this."""

    async def answer(server: Script, stream: ByteStream, asked: Asked) -> None:
        await respond(stream, status, said, **more)

    return answer


def raw(*parts: bytes, then: str = "") -> Trouble:
    """Sends these bytes, and then closes, goes on for ever, or says nothing more."""

    async def answer(server: Script, stream: ByteStream, asked: Asked) -> None:
        for part in parts:
            await stream.send(part)
        while then == "again":
            await stream.send(parts[-1])
        if then == "silence":
            await anyio.sleep_forever()

    return answer


def streamed(*said: Any, then: str = "") -> Trouble:
    """Answers with a stream of these events; a function makes one of the request."""

    async def answer(server: Script, stream: ByteStream, asked: Asked) -> None:
        await events(stream, *[each(asked.message) if callable(each) else each for each in said])
        await raw(*([said[-1]] if then == "again" else []), then=then)(server, stream, asked)

    return answer


def wrong(**more: Any) -> Callable[[Json], Json]:
    """An answer with something in it that should not be."""
    return lambda message: {"jsonrpc": "2.0", "id": message["id"], "result": {}, **more}


async def forgets(server: Script, stream: ByteStream, asked: Asked) -> None:
    """Knows no session, once."""
    server.known.clear()
    server.trouble.clear()
    await server.answer(stream, asked)


async def forgets_always(server: Script, stream: ByteStream, asked: Asked) -> None:
    server.known.clear()
    await server.answer(stream, asked)


async def another_version(server: Script, stream: ByteStream, asked: Asked) -> None:
    asked.message["params"]["protocolVersion"] = "1999-01-01"
    await server.answer(stream, asked)


async def another_id(server: Script, stream: ByteStream, asked: Asked) -> None:
    await server.answer(stream, replace(asked, message={**asked.message, "id": "another"}))


CHUNKS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"
HANGS_UP = raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
PING = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
