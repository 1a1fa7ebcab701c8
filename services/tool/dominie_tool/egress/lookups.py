"""Looks names up in threads of its own: who has slow names takes none that others of this process need."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Thread
from weakref import WeakValueDictionary

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

from dominie_tool.egress.addresses import Address

Names = Callable[[str], Sequence[Address]]
_MOST, _MOST_EACH = 32, 4


@dataclass(slots=True)
class _Asked:
    """A lookup that is under way."""

    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: Sequence[Address] | Exception = ()


class Lookups:
    """Those of this process, and of each tenant, a bounded number at once.

    A system's resolver cannot be stopped: whoever does not wait for it any more still has its thread until it answers,
    and counts until then.
    """

    def __init__(self, names: Names | None = None, *, most: int = _MOST, most_each: int = _MOST_EACH) -> None:
        self._names = names or look_up
        self._room = anyio.Semaphore(most)
        self._most_each = most_each
        self._each: WeakValueDictionary[str, anyio.Semaphore] = WeakValueDictionary()

    async def __call__(self, tenant: str, name: str) -> Sequence[Address]:
        """What a name stands for.

        Raises:
            OSError: Nothing.
        """
        own = self._each.get(tenant)
        if own is None:
            own = self._each[tenant] = anyio.Semaphore(self._most_each)
        asked = await self._started(own, name)
        await asked.answered.wait()
        if isinstance(asked.answer, Exception):
            raise asked.answer
        return asked.answer

    async def _started(self, own: anyio.Semaphore, name: str) -> _Asked:
        await own.acquire()
        try:
            await self._room.acquire()
        except BaseException:
            own.release()
            raise
        asked = _Asked()

        def tell(answer: Sequence[Address] | Exception) -> None:
            own.release()
            self._room.release()
            asked.answer = answer
            asked.answered.set()

        try:
            Thread(target=_look, args=(self._names, name, tell, current_token()), name="lookup", daemon=True).start()
        except RuntimeError as error:  # there are too many threads
            tell(OSError(str(error)))
        return asked


def _look(names: Names, name: str, tell: Callable[[Sequence[Address] | Exception], None], loop: EventLoopToken) -> None:
    answer: Sequence[Address] | Exception
    try:
        answer = names(name)
    except Exception as error:  # a name that has no form in the DNS is a `UnicodeError`
        answer = error if isinstance(error, OSError) else OSError(str(error))
    with suppress(RuntimeError):  # the loop is gone, and whoever asked
        from_thread.run_sync(tell, answer, token=loop)


def look_up(name: str) -> Sequence[Address]:
    """What a name stands for, by this machine's own resolver. One that ends in a dot is whole."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(each[4][0]) for each in found))
