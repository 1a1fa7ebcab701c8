"""Finds the run that a graph's step belongs to.

A run is one request to the agent: its id is the digest of the thread and of the last human message, so an agent that
was killed and started again with the same thread and message finds its run, and everything done in it.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables.config import ensure_config

import dominie

DEFAULT_USER = "dev"
_RUNS = 1024
_lock = threading.Lock()
_client: dominie.Client | None = None
_open: OrderedDict[str, dominie.Run] = OrderedDict()


def use_client(client: dominie.Client) -> None:
    """Use this client instead of the one found from the surroundings."""
    global _client
    with _lock:
        _client = client
        _open.clear()


def current_run(messages: Sequence[BaseMessage]) -> dominie.Run:
    """The run of the step that is running now.

    The thread is the configuration's `thread_id`, the user its `user` (by default the developer).
    """
    configurable = _configurable()
    thread = str(configurable.get("thread_id") or "")
    human, number = _last_human(messages)
    named = human.id if human is not None and human.id else f"{number}\0{human.text if human else ''}"
    id_ = hashlib.sha256(f"{thread}\0{named}".encode()).hexdigest()[:32]
    with _lock:
        return _run(id_, str(configurable.get("user") or DEFAULT_USER), thread or None)


def _run(id_: str, user: str, session: str | None) -> dominie.Run:
    global _client
    if _client is None:
        _client = dominie.Client()
    run = _open.get(id_)
    if run is None:
        run = _open[id_] = _client.run(user=user, session=session, id=id_)
        if len(_open) > _RUNS:
            _open.popitem(last=False)[1].close()
    _open.move_to_end(id_)
    return run


def step_name() -> str:
    """The name of the graph's step, the same when it is run again after an interrupt; empty outside a graph."""
    return str(_configurable().get("checkpoint_ns") or "")


def has_checkpointer() -> bool:
    """Whether an interrupt of this graph could be resumed."""
    return _configurable().get("__pregel_checkpointer") is not None


def _configurable() -> Mapping[str, Any]:
    return ensure_config().get("configurable", {})


def _last_human(messages: Sequence[BaseMessage]) -> tuple[HumanMessage | None, int]:
    humans = [message for message in messages if isinstance(message, HumanMessage)]
    return (humans[-1] if humans else None), len(humans)
