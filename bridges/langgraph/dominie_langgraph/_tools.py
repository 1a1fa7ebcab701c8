"""Runs a graph's tool call under Dominie: registered tools in the house, the agent's own functions here."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

import dominie
from dominie import Forbidden, Problem
from dominie_contracts.tool import ToolSpec
from dominie_langgraph._asking import answered, messages_of
from dominie_langgraph._runs import current_run

_NAMES_S = 5.0
Local = Callable[[ToolCallRequest], ToolMessage | Command[Any]]


@dataclass(slots=True)
class _Names:
    names: frozenset[str] = frozenset()
    read_at: float = float("-inf")


_registered: dict[str, _Names] = {}


def call_tool(request: ToolCallRequest, local: Local, *, wait_s: float) -> ToolMessage | Command[Any]:
    """Run one tool call; what the policies or a person refuse comes back as the tool's error.

    A call that a person has to allow interrupts the graph, or waits for them: see `answered`.

    Raises:
        ApprovalRequired: Nobody answered within `wait_s` seconds, and there is no checkpointer.
    """
    run = current_run(messages_of(request.state))
    wants = {"tool": request.tool_call["name"], "arguments": request.tool_call["args"]}
    try:
        return answered(lambda: _try(run, request, local), wants, wait_s=wait_s)
    except Forbidden as problem:
        return _refused(request, problem)
    except Problem as problem:
        if problem.type not in ("tool-failed", "invalid", "conflict"):
            raise
        return _refused(request, problem)


def _try(run: dominie.Run, request: ToolCallRequest, local: Local) -> ToolMessage | Command[Any]:
    name, arguments, id_ = request.tool_call["name"], request.tool_call["args"], request.tool_call["id"]
    key = f"{run.id}/{id_}"
    if request.tool is None or _is_registered(run, name):
        return _said(request, run.invoke(name, arguments, key=key).result)
    begun = run.begin(_spec(request.tool), arguments, key=key)
    if begun.then == "invoke":
        return _said(request, run.invoke(name, arguments, key=key).result)
    if begun.then == "finished":
        return _said(request, begun.result)
    began = time.perf_counter()
    message = local(request)
    took_ms = (time.perf_counter() - began) * 1000
    failed = isinstance(message, ToolMessage) and message.status == "error"
    text = message.text if isinstance(message, ToolMessage) else ""
    outcome = {"error": text or "failed"} if failed else {"result": text}
    try:
        run.finish(begun.action, key=key, duration_ms=took_ms, **outcome)
    except dominie.ToolFailed:
        pass  # it is on the record; the agent gets its own message
    return message


def _is_registered(run: dominie.Run, name: str) -> bool:
    found = _registered.setdefault(run.agent, _Names())
    if name not in found.names and time.monotonic() - found.read_at > _NAMES_S:
        found.names = frozenset(spec.name for spec in run.tools())
        found.read_at = time.monotonic()
    return name in found.names


def _spec(tool: BaseTool) -> ToolSpec:
    function = convert_to_openai_tool(tool)["function"]
    given = (tool.metadata or {}).get("dominie", {})
    return ToolSpec(
        name=tool.name,
        description=function.get("description", ""),
        input_schema=function.get("parameters") or {"type": "object", "properties": {}},
        kind="local",
        **given,
    )


def _said(request: ToolCallRequest, result: Any) -> ToolMessage:
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return ToolMessage(text, tool_call_id=request.tool_call["id"], name=request.tool_call["name"])


def _refused(request: ToolCallRequest, problem: Problem) -> ToolMessage:
    said = f"{problem.title}: {problem.detail}"
    return ToolMessage(said, tool_call_id=request.tool_call["id"], name=request.tool_call["name"], status="error")
