"""What runs beside a service outlives an absence of the log, or of another service."""

from collections.abc import Awaitable, Callable

import anyio
import structlog

from dominie_contracts import Unavailable
from dominie_eventstore import StoreUnavailable

AWAY_S = 1.0
"""Seconds between two tries."""
log = structlog.get_logger()


async def lasting(task: Callable[[], Awaitable[None]], *, pause_s: float = AWAY_S) -> None:
    """Run a task to its end, and from its beginning again whenever what it needs was away.

    Raises:
        Exception: Whatever else it raises, and what it raises beside an absence.
    """
    while True:
        try:
            return await task()
        except* (StoreUnavailable, Unavailable) as away:
            log.warning("task.away", error=str(away.exceptions[0]))
        await anyio.sleep(pause_s)
