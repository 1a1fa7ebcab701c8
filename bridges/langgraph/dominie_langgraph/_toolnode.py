"""LangGraph's own `ToolNode`, under Dominie."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio.from_thread
import anyio.to_thread
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt import tool_node
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from dominie_langgraph._asking import DEFAULT_WAIT_S
from dominie_langgraph._tools import call_tool

Result = ToolMessage | Command[Any]
Execute = Callable[[ToolCallRequest], Awaitable[Result]]


class ToolNode(tool_node.ToolNode):
    """A drop-in: registered tools run in the house, the rest here, all decided and recorded."""

    def __init__(
        self, tools: Sequence[BaseTool | Callable[..., Any]], *, approval_wait_s: float = DEFAULT_WAIT_S, **options: Any
    ) -> None:
        def governed(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Result]) -> Result:
            return call_tool(request, execute, wait_s=approval_wait_s)

        async def agoverned(
            request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Result]]
        ) -> Result:
            return await acall_tool(request, execute, wait_s=approval_wait_s)

        super().__init__(tools, wrap_tool_call=governed, awrap_tool_call=agoverned, **options)


async def _await(execute: Execute, request: ToolCallRequest) -> Result:
    return await execute(request)


async def acall_tool(request: ToolCallRequest, execute: Execute, *, wait_s: float) -> Result:
    """`call_tool` for an asynchronous graph: the waiting is done in a thread, the agent's own function here."""

    def local(request: ToolCallRequest) -> Result:
        return anyio.from_thread.run(_await, execute, request)

    return await anyio.to_thread.run_sync(lambda: call_tool(request, local, wait_s=wait_s))
