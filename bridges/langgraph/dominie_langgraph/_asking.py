"""Waits, within a graph, until people have answered."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage
from langgraph.types import interrupt

from dominie import ApprovalRequired
from dominie_langgraph._runs import has_checkpointer

DEFAULT_WAIT_S = 600.0
_POLL_S = 0.5
T = TypeVar("T")


def answered(attempt: Callable[[], T], wants: dict[str, Any], *, wait_s: float) -> T:
    """Try until people have answered; what they are asked interrupts the graph, if it has a checkpointer.

    The resume only wakes it, and the record is asked again. Without a checkpointer it waits.

    Raises:
        ApprovalRequired: Nobody answered within `wait_s` seconds, and there is no checkpointer.
    """
    until = time.monotonic() + wait_s
    while True:
        try:
            return attempt()
        except ApprovalRequired as asked:
            if has_checkpointer():
                interrupt(_question(asked) | wants)
            elif time.monotonic() >= until:
                raise
            else:
                time.sleep(_POLL_S)


def _question(asked: ApprovalRequired) -> dict[str, Any]:
    """What an interrupt shows beside what is wanted: for whose yes it waits (and how many of them), and its id."""
    return {
        "approval": asked.extra.get("action"),
        "digest": asked.extra.get("digest"),
        "groups": asked.extra.get("groups"),
        "asks": asked.extra.get("asks"),
        "why": asked.detail,
    }


def messages_of(state: Any) -> Sequence[BaseMessage]:
    """The messages of a graph's state, whatever its shape."""
    if isinstance(state, list):
        return state
    found = state.get("messages", []) if isinstance(state, dict) else getattr(state, "messages", [])
    return list(found)
