"""Serving tools until a signal."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from importlib import import_module
from typing import Any

from dominie._config import find
from dominie._register import make_link
from dominie._tool import AnyTool
from dominie._worker import Worker


def serve(*tools: AnyTool, name: str | None = None, ready: Callable[[], None] = lambda: None) -> None:
    """Run a tool worker in this process until it is interrupted or terminated.

    Args:
        tools: What it serves; each is registered first.
        name: The worker's own name, `w-NAME`; None: as the environment says, else the script's.
        ready: Called when calls can come.

    Raises:
        Problem: It could not be registered, or may not serve them.
    """
    _run(_serve(tools, name, ready))


def _run(serving: Coroutine[Any, Any, None]) -> None:
    """On uvloop, where it is installed: it is the faster one."""
    with suppress(ImportError):
        uvloop = import_module("uvloop")
        uvloop.run(serving)
        return
    asyncio.run(serving)


async def _serve(tools: tuple[AnyTool, ...], name: str | None, ready: Callable[[], None]) -> None:
    link = make_link(find("w", name))
    stop = asyncio.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await Worker(link, tools).run(stop, ready)
    finally:
        await link.close()
