"""Boxes that wait for a call: each is built beforehand, takes one call, and is gone. None is ever used twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from dominie_tool.sandbox.box import Box, open_box
from dominie_tool.sandbox.values import Host, Limits

_START_S = 30.0


@dataclass(slots=True, eq=False)
class _Spare:
    """A box that is built ahead of a call; there is none yet while it starts."""

    host: Host
    box: Box | None = None
    used: anyio.Event = field(default_factory=anyio.Event)


class Pool:
    """Keeps a number of boxes waiting, from the first call on: who runs no sandboxed tools pays nothing.

    A box gets the limits of its call when the call gets the box. The size of its scratch folder is fixed before, and
    its memory can only become less: a call that wants another folder, or more, has a box built for it. Where what the
    machine offers has changed, as when cgroups are found late, what waited or starts without is given to nobody.
    """

    def __init__(self, limits: Limits, size: int) -> None:
        self._limits = limits
        self._size = size
        self._ahead: dict[_Spare, None] = {}
        self._built = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._host: Host | None = None

    async def one_waits(self) -> None:
        """Wait until a box waits."""
        while not any(spare.box for spare in self._ahead):
            await self._built.wait()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have boxes waiting, for as long as this is open; then none is left."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    def take(self, host: Host, limits: Limits) -> AbstractAsyncContextManager[Box]:
        """A box for one call: one that waits, or else a new one.

        Raises:
            OSError: It could not be started.
        """
        self._abandon(host)
        alike = limits.scratch_mb == self._limits.scratch_mb and limits.memory_mb <= self._limits.memory_mb
        spare = self._next() if alike else None
        return self._new(host, limits) if spare is None else self._used(spare, limits)

    def _abandon(self, host: Host) -> None:
        """End what was built for another host than that of the latest call."""
        for spare in [each for each in self._ahead if each.host != host]:
            del self._ahead[spare]
            spare.used.set()
        self._host = host

    def _next(self) -> _Spare | None:
        for spare in [each for each in self._ahead if each.box is not None]:
            del self._ahead[spare]
            assert spare.box is not None
            if spare.box.process.returncode is None:
                return spare
            spare.used.set()  # it died while it waited
        return None

    @asynccontextmanager
    async def _new(self, host: Host, limits: Limits) -> AsyncIterator[Box]:
        try:
            async with open_box(host, limits) as box:
                yield box
        finally:
            self._fill()

    @asynccontextmanager
    async def _used(self, spare: _Spare, limits: Limits) -> AsyncIterator[Box]:
        """A box that waited. Who used it does not wait for its end, which begins at once."""
        assert spare.box is not None
        try:
            if spare.box.cgroup is not None:
                spare.box.cgroup.bound(limits)
            yield spare.box
        finally:
            spare.used.set()

    def _fill(self) -> None:
        """Build what is wanting: after a call, not beside it, and no more than the calls before have left room for."""
        if self._tasks is None or self._host is None:
            return
        for spare in [_Spare(self._host) for _ in range(self._size - len(self._ahead))]:
            self._ahead[spare] = None
            self._tasks.start_soon(self._keep, spare)

    async def _keep(self, spare: _Spare) -> None:
        """Build a box, let it wait, see it end, and then have another one built."""
        try:
            async with open_box(spare.host, self._limits) as box:
                with anyio.fail_after(_START_S):
                    await anyio.wait_readable(box.result)
                spare.box = box
                self._built.set()
                self._built = anyio.Event()
                await spare.used.wait()
        except OSError:
            self._ahead.pop(spare, None)  # the next call meets what is wrong, and tells it
        else:
            self._fill()
