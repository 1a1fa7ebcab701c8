"""Follows the log, and publishes: one process at a time for one folder."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import structlog
from anyio.to_thread import run_sync

from dominie.notes import Checkpoint
from dominie_audit.adapters.tlog.published import LogDiffers, Own
from dominie_audit.adapters.tlog.tiles import TilesDamaged
from dominie_audit.adapters.tlog.tree import Tree
from dominie_contracts import Recorded
from dominie_eventstore import EventStore, StoreUnavailable

Beside = Callable[[], Coroutine[None, None, None]]
log = structlog.get_logger()
_ASK_S = 1.0
"""More than a log that is there takes to say how it is kept; a stop waits no longer either."""


class Keeper:
    """The transparency log's tree: each event is added once, whoever hands it over.

    What is stored is the last checkpoint and the tiles below it, no more: a tree that is ahead of them when its process
    dies reads those events again. A tree whose tiles are lost is rebuilt from the log, and has to pass through the last
    checkpoint's root on its way.
    """

    def __init__(self, own: Own, *, interval_s: float, max_events: int) -> None:
        self._own = own
        self._interval_s = interval_s
        self._max_events = max_events
        self._tree: Tree | None = None
        self._due = anyio.Event()
        self._stored = 0

    def apply(self, event: Recorded) -> None:
        """Add an event, where this process is the one that keeps the tree and it is a new one."""
        tree = self._tree
        if tree is not None and event.position > tree.position:
            tree.append(event)
            if tree.size - self._stored >= self._max_events:
                self._due.set()

    async def run(self, store: EventStore, followed: Callable[[], int], beside: Beside) -> None:
        """Keep the tree and publish it, for ever.

        Args:
            store: The event log.
            followed: The position up to which `apply` was called.
            beside: What else one process at a time does with the folder.

        Raises:
            LogDiffers, StoreUnavailable, and what `beside` raises
        """
        async with self._alone():
            tree = await self.catch_up(store, followed)
            self._tree = tree
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(beside)
                    await self._keep_publishing(tree, store)
            finally:
                self._tree = None
                with anyio.CancelScope(shield=True):
                    await self.publish(tree, store)

    async def _keep_publishing(self, tree: Tree, store: EventStore) -> None:
        while True:
            await self.publish(tree, store)
            with anyio.move_on_after(self._interval_s):
                await self._due.wait()
            self._due = anyio.Event()

    async def catch_up(self, store: EventStore, followed: Callable[[], int]) -> Tree:
        """The stored tree, with all that was written since.

        Raises:
            LogDiffers: The log does not lead through the last checkpoint.
        """
        latest = self._own.published.latest()
        last = latest.checkpoint if latest else None
        tree = Tree() if last is None else await run_sync(self._load, last)
        self._stored = tree.size
        while True:
            async for event in store.read_all(after=tree.position):
                tree.append(event)
                if last is not None and tree.size == last.size and tree.root() != last.root:
                    raise self._differs(tree, last, "the events up to here have another root")
                if (last is None or tree.size > last.size) and tree.size - self._stored >= self._max_events:
                    await self.publish(tree, store)
            if last is not None and tree.size < last.size:
                raise self._differs(tree, last, f"the log ends after {tree.size} events")
            if tree.position >= followed():
                return tree

    async def publish(self, tree: Tree, store: EventStore) -> None:
        """Store and sign what is new, if anything is; a disk that is full, or a log that is away, is tried again later.

        How the log is kept is asked each time: somebody may have changed it.
        """
        if tree.size == self._stored and self._own.published.tiles.note() is not None:
            return
        try:
            async with asyncio.timeout(_ASK_S):
                durability = str(await store.durability())
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("checkpoint.not_signed", size=tree.size, error=str(error))
            return
        cut = tree.cut()
        checkpoint = Checkpoint.kept(self._own.signer.name, cut.size, cut.root, durability=durability)
        note = self._own.signer.sign(checkpoint.text)
        try:
            await run_sync(self._own.published.tiles.store, cut, note)
        except OSError as error:
            log.warning("checkpoint.not_written", size=cut.size, error=str(error))
            return
        tree.stored(cut)
        self._stored = cut.size

    def _load(self, last: Checkpoint) -> Tree:
        with suppress(TilesDamaged):
            tree = self._own.published.tiles.tree(last.size)
            if tree.root() == last.root:
                return tree
        log.warning("tiles.rebuilt", size=last.size)
        return Tree()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Once no other process keeps this folder."""
        held = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _locked(held):  # noqa: ASYNC110 - a file's lock that another process holds
                await anyio.sleep(self._interval_s)
            yield
        finally:
            os.close(held)

    @property
    def _lock(self) -> Path:
        return self._own.published.tiles.folder / ".lock"

    def _differs(self, tree: Tree, last: Checkpoint, why: str) -> LogDiffers:
        return LogDiffers(tree.position, index=tree.size, stream="?", why=why, size=last.size)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
