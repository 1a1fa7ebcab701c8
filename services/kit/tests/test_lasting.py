"""A task beside a service begins again when the log is back, and ends with any other error."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from dominie_contracts import Unavailable
from dominie_eventstore import StoreUnavailable
from dominie_kit.lasting import lasting

pytestmark = pytest.mark.anyio
AWAY = StoreUnavailable("reading: nothing within 5 s")


def raising(*errors: Exception) -> tuple[list[int], Callable[[], Awaitable[None]]]:
    """A task that raises these, one at each call, and then ends."""
    left, calls = list(errors), [0]

    async def task() -> None:
        calls[0] += 1
        if left:
            raise left.pop(0)

    return calls, task


@pytest.mark.parametrize("away", [AWAY, Unavailable("identity is away"), ExceptionGroup("tasks", [AWAY])])
async def test_a_task_begins_again_when_what_it_needs_was_away(away: Exception) -> None:
    calls, task = raising(away, away)
    with anyio.fail_after(30):
        await lasting(task, pause_s=0)
    assert calls == [3]


@pytest.mark.parametrize("error", [ValueError("wrong"), ExceptionGroup("tasks", [AWAY, ValueError("wrong")])])
async def test_any_other_error_ends_it(error: Exception) -> None:
    calls, task = raising(error)
    with anyio.fail_after(30), pytest.raises((ValueError, ExceptionGroup)):
        await lasting(task, pause_s=0)
    assert calls == [1]
