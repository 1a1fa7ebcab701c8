"""A real MCP server over streamable HTTP, made with the `mcp` package, that says its port and serves until it is ended.

python mcp_http_server.py CERTIFICATE WORDS KEY: the file `WORDS` describes its first tool, read at each request.
"""

import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import PlainTextResponse

CERTIFICATE, WORDS, KEY = sys.argv[1:]
server = MCPServer("orders", instructions="Orders of the shop.")
app = server.streamable_http_app(transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False))


def order(number: str) -> str:
    return f"{number} is on its way"


@server.tool()
def told(ctx: Context[Any, Any]) -> dict[str, str]:
    """Says back the headers of its request."""
    return dict(ctx.headers or {})


@server.tool(name="break")
def broken() -> str:
    """Does what it does, and somebody on the way says that it did not."""
    return "never"


async def locked(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    """Lets in who has the key."""
    if scope["type"] == "http":
        if dict(scope["headers"]).get(b"authorization") != f"Bearer {KEY}".encode():
            await PlainTextResponse("no", 401)(scope, receive, send)
            return
        if dict(scope["headers"]).get(b"mcp-name") == b"break":
            await send({"type": "http.response.start", "status": 502, "headers": []})
            await send({"type": "http.response.body", "body": b"half of an"})
            return
        if "order" in {tool.name for tool in await server.list_tools()}:
            server.remove_tool("order")
        server.add_tool(order, description=await anyio.Path(WORDS).read_text())
    await app(scope, receive, send)


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(locked, ssl_certfile=CERTIFICATE, log_level="warning", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])
