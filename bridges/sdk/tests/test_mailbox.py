"""What comes for one who waits."""

import asyncio

import anyio
import pytest

from dominie._mailbox import Mailbox

pytestmark = pytest.mark.anyio
LONG_S = 60.0


async def test_what_came_is_there_at_once_and_in_order() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.put(2)
    assert [await box.get(0.0), await box.get(0.0), await box.get(0.0)] == [1, 2, None]


async def test_who_waits_is_woken() -> None:
    box: Mailbox[int] = Mailbox()
    with anyio.fail_after(30):
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(box.get(LONG_S))
            await asyncio.sleep(0)
            box.put(1)
            box.put(2)
    assert (waiting.result(), await box.get(0.0)) == (1, 2)


async def test_who_is_cancelled_loses_nothing() -> None:
    box: Mailbox[int] = Mailbox()
    waiting = asyncio.ensure_future(box.get(LONG_S))
    await asyncio.sleep(0)
    box.put(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled() and await box.get(0.0) == 1
