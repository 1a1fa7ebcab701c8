"""MCP servers over HTTP, through the handlers: a small one of this test's own, that does what it is told."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import h11
import pytest
from anyio.abc import ByteStream

from dominie_contracts.servers import Server
from dominie_contracts.tool import TOOL
from dominie_kit.handler_testing import Desk
from dominie_tool.egress import Egress
from dominie_tool.egress.testing import HOST, PUBLIC, Authority, Internet, served
from dominie_tool.mcp.testing import House, keeping

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
URL = f"https://{HOST}/mcp"
SERVER = Server(name="test", url=URL)
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
Json = dict[str, Any]


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
class Server_:
    """Answers as the tests say: `trouble`, by the method of a message."""

    tools: list[Json] = field(default_factory=lambda: tools("echo"))
    instructions: str = ""
    sessions: bool = True
    sse: bool = False
    asked: list[Asked] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    trouble: dict[str, Callable[["Server_", ByteStream, Asked], Any]] = field(default_factory=dict)

    def counts(self) -> Counter[str]:
        return Counter(each.message.get("method", each.method) for each in self.asked)

    async def __call__(self, stream: ByteStream) -> None:
        async with stream:
            try:
                asked = await self._heard(stream)
                self.asked.append(asked)
                what = asked.message.get("method", asked.method)
                await self.trouble.get(what, Server_.answer)(self, stream, asked)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
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
    kind: str = "application/json",
) -> None:
    body = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
    lines = [f"HTTP/1.1 {status} {'OK' if status < 300 else 'No'}", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {kind}"] if body else []
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    await stream.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


async def events(stream: ByteStream, *said: Any, headers: dict[str, str] | None = None) -> None:
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    await stream.send(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{more}\r\n".encode())
    for each in said:
        data = each if isinstance(each, bytes) else b"event: message\ndata: " + json.dumps(each).encode() + b"\n\n"
        await stream.send(data)


@pytest.fixture
def internet() -> Internet:
    return Internet({HOST: [[PUBLIC]], "inside.example.com": [["10.0.0.1"]]})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def server(internet: Internet, authority: Authority) -> AsyncIterator[Server_]:
    found = Server_()
    async with served(internet, found, port=443, tls=authority.certificate(HOST)):
        yield found


@asynccontextmanager
async def at_home(desk: Desk, internet: Internet, authority: Authority, **more: Any) -> AsyncIterator[House]:
    egress = Egress(internet.ground(), dial=internet.dial, tls=authority.trust)
    async with keeping(desk, SERVER, egress=egress, **more) as found:
        yield found


@pytest.fixture
async def house(desk: Desk, internet: Internet, authority: Authority, server: Server_) -> AsyncIterator[House]:
    async with at_home(desk, internet, authority) as found:
        yield found


@pytest.mark.parametrize("sse", [False, True], ids=["json", "sse"])
@pytest.mark.parametrize("sessions", [False, True], ids=["stateless", "sessions"])
async def test_a_server_is_mounted_and_called(house: House, server: Server_, sse: bool, sessions: bool) -> None:
    server.sse, server.sessions = sse, sessions
    mounted = await house.mount()
    assert [tool.name for tool in mounted.server.tools] == ["mcp.test.echo"]
    assert await house.call(text="hello") == "hello"
    trail = [event.envelope async for event in house.desk.store.read_all(category=TOOL)]
    assert [each.type.split(".")[1] for each in trail] == ["requested", "decided", "started", "reached", "finished"]
