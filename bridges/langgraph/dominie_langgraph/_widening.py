"""Asks people, from within a graph, to let its run do more than it may."""

from collections.abc import Iterable
from typing import Any

import anyio.to_thread

from dominie_langgraph._asking import DEFAULT_WAIT_S, answered, messages_of
from dominie_langgraph._runs import current_run


def widen(
    state: Any,
    *,
    tools: Iterable[str] = (),
    models: Iterable[str] = (),
    namespaces: Iterable[str] = (),
    max_cost_usd: float | None = None,
    reason: str,
    approval_wait_s: float = DEFAULT_WAIT_S,
) -> None:
    """As `Run.widen`, in a node or a tool; what people are asked interrupts the graph, if it has a checkpointer.

    Args:
        state: The graph's, or its messages: they say which run it is.
        tools: Those that it needs, by name.
        models: Those that it needs, by name.
        namespaces: Those that it needs, by name.
        max_cost_usd: What the run has to spend, instead of what it was given.
        reason: Why, for whoever is asked.
        approval_wait_s: How long it waits for them where the graph has no checkpointer.

    Raises:
        ApprovalRequired: Nobody answered in that time.
        Forbidden: The answer is no; or the agent is not registered with so much.
    """
    run = current_run(messages_of(state))
    more: dict[str, Any] = {"tools": [*tools], "models": [*models], "namespaces": [*namespaces]}
    more |= {"max_cost_usd": max_cost_usd, "reason": reason}
    wants = {name: value for name, value in more.items() if value}
    answered(lambda: run.widen(**more), {"widen": wants}, wait_s=approval_wait_s)


async def awiden(state: Any, **more: Any) -> None:
    """`widen` for an asynchronous graph: the waiting is done in a thread."""
    await anyio.to_thread.run_sync(lambda: widen(state, **more))
