"""One line for an agent made by LangChain's `create_agent`."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio.to_thread
from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command

from dominie import Held
from dominie_langgraph._asking import DEFAULT_WAIT_S
from dominie_langgraph._chat import ChatDominie
from dominie_langgraph._runs import current_run
from dominie_langgraph._toolnode import acall_tool
from dominie_langgraph._tools import call_tool

HELD = "This answer was held back for review."
Result = ToolMessage | Command[Any]


class DominieMiddleware(AgentMiddleware[AgentState[Any], None, Any]):
    """Every model call, tool call and final answer of the agent goes through Dominie.

    Args:
        model: Which of the deployment's models to call, in place of the agent's own.
        held: What the user reads when the judges keep an answer back.
        approval_wait_s: How long a call waits for a person where the graph has no checkpointer.
    """

    def __init__(self, model: str = "auto", *, held: str = HELD, approval_wait_s: float = DEFAULT_WAIT_S) -> None:
        super().__init__()
        self._model = ChatDominie(model)
        self._held = held
        self._wait_s = approval_wait_s

    def before_agent(self, state: AgentState[Any], runtime: Runtime[None]) -> dict[str, Any] | None:
        """Keep what the user said as a turn of the session."""
        humans = [message for message in state["messages"] if isinstance(message, HumanMessage)]
        run = current_run(state["messages"])
        if humans and humans[-1].text and run.session is not None:
            run.say(humans[-1].text)
        return None

    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[None]) -> dict[str, Any] | None:
        """As `before_agent`."""
        return await anyio.to_thread.run_sync(lambda: self.before_agent(state, runtime))

    def wrap_model_call(
        self, request: ModelRequest[None], handler: Callable[[ModelRequest[None]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model through Dominie."""
        return handler(request.override(model=self._model))

    async def awrap_model_call(
        self, request: ModelRequest[None], handler: Callable[[ModelRequest[None]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model through Dominie."""
        return await handler(request.override(model=self._model))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Result:
        """Run the tool under Dominie."""
        return call_tool(request, handler, wait_s=self._wait_s)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """Run the tool under Dominie."""
        return await acall_tool(request, handler, wait_s=self._wait_s)

    def after_agent(self, state: AgentState[Any], runtime: Runtime[None]) -> dict[str, Any] | None:
        """Have the final answer judged before the user sees it."""
        last = state["messages"][-1]
        if not isinstance(last, AIMessage) or last.tool_calls or not last.text:
            return None
        try:
            current_run(state["messages"]).reply(last.text)
        except Held as held:
            kept = {"dominie": {"held": True, "action": held.extra.get("action"), "why": held.detail}}
            return {"messages": [AIMessage(self._held, id=last.id, response_metadata=kept)]}
        return None

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[None]) -> dict[str, Any] | None:
        """As `after_agent`."""
        return await anyio.to_thread.run_sync(lambda: self.after_agent(state, runtime))
