"""One conversation with a server, by the `mcp` library: imported where a server is mounted: it takes 80 MB.

Nothing that a server says is relied on: what it lists is bounded, and it is told that it can ask for nothing.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib.metadata import version

import anyio
import mcp_types as types
from mcp import Client
from mcp.client._transport import TransportStreams
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_json

from dominie_contracts.servers import Listing, Served
from dominie_tool.mcp.errors import OURS, Broken, Failed

_MOST_TOOLS, _MOST_PAGES, _MOST_BYTES = 256, 50, 96_000
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_RESULT: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)
_OURS = types.Implementation(name="dominie", version=version("dominie-tool"))


class Conversation:
    """What can be asked of a server that is connected."""

    def __init__(self, client: Client, refused: Counter[str]) -> None:
        self._client = client
        self._refused = refused

    async def listing(self, program: Mapping[str, str]) -> Listing:
        """What it offers now.

        Raises:
            Broken: It does not say so as the protocol wants, or it is too much.
            Invalid: What it says has no canonical form.
        """
        with _speaking("tools/list"):
            tools = [_served(tool) async for tool in self._tools()]
            found = Listing(
                instructions=self._client.instructions or "",
                tools=tuple(sorted(tools, key=lambda tool: tool.name)),
                program=dict(program),
            )
        if len(to_json(found)) > _MOST_BYTES:
            raise Broken(f"what it says of itself and its tools is more than {_MOST_BYTES} bytes")
        return found

    async def call(self, tool: str, arguments: dict[str, JsonValue]) -> JsonValue:
        """Call a tool.

        Raises:
            Failed: The tool says that it failed.
            Broken: The answer is none.
        """
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=arguments))
        with _speaking("tools/call"):
            answer = await self._client.session.send_request(request, _RESULT)
        if isinstance(answer, types.InputRequiredResult):
            self._refused.update(asked.method for asked in (answer.input_requests or {}).values())
            raise Failed("the server asks for more before it answers, which no server is given")
        if answer.is_error:
            raise Failed(" ".join(str(_plain(block)) for block in answer.content) or "it does not say why")
        with _speaking("tools/call"):
            return _result(answer)

    async def _tools(self) -> AsyncIterator[types.Tool]:
        cursor: str | None = None
        count = 0
        for _ in range(_MOST_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            count += len(page.tools)
            if count > _MOST_TOOLS:
                raise Broken(f"it lists more than {_MOST_TOOLS} tools")
            for tool in page.tools:
                yield tool
            cursor = page.next_cursor
            if cursor is None:
                return
        raise Broken(f"it lists its tools on more than {_MOST_PAGES} pages")


@asynccontextmanager
async def converse(
    streams: AbstractAsyncContextManager[TransportStreams], refused: Counter[str]
) -> AsyncIterator[Conversation]:
    """Connect: agree on a version of the protocol.

    Raises:
        Broken: It does not speak one that is known here, or does not answer as the protocol wants.
    """
    client = Client(streams, client_info=_OURS, cache=None)
    with _speaking("the handshake"):
        await client.__aenter__()
    try:
        yield Conversation(client, refused)
    finally:
        await client.__aexit__(None, None, None)


@contextmanager
def _speaking(about: str) -> Iterator[None]:
    """What goes wrong in the library, said as what the server did."""
    try:
        yield
    except Exception as error:
        found = _cause(error)
        said = _said(found, about)
        if said is None:
            raise
        raise said from found


def _cause(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _said(error: Exception, about: str) -> Exception | None:
    match error:
        case MCPError() if error.error.code == OURS:
            return Broken(error.error.message[:500])
        case MCPError():
            gone = error.error.code == types.CONNECTION_CLOSED or about != "tools/call"
            return (Broken if gone else Failed)(f"it answers {about} with: {error.error.message[:500]}")
        case ValidationError():
            return Broken(f"its answer to {about} is not what the protocol says, in {error.error_count()} places")
        case RuntimeError() | RecursionError():
            return Broken(f"its answer to {about} is not what the protocol says: {str(error)[:500]}")
        case anyio.ClosedResourceError() | anyio.BrokenResourceError() | anyio.EndOfStream():
            return Broken(f"it ended before it had answered {about}")
        case _:
            return None


def _served(tool: types.Tool) -> Served:
    said = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return Served(
        name=tool.name,
        title=tool.title or "",
        description=tool.description or "",
        input_schema=said.get("inputSchema", {}),
        output_schema=said.get("outputSchema", {}),
        annotations=said.get("annotations", {}),
    )


def _result(answer: types.CallToolResult) -> JsonValue:
    """The structured result where there is one; a single text as it is; else the blocks."""
    if answer.structured_content is not None:
        return _JSON.validate_python(answer.structured_content)
    blocks = [_plain(block) for block in answer.content]
    return blocks[0] if len(blocks) == 1 and isinstance(blocks[0], str) else blocks


def _plain(block: types.ContentBlock) -> JsonValue:
    if isinstance(block, types.TextContent):
        return block.text
    found: JsonValue = block.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found
