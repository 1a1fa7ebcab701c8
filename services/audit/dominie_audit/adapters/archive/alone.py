"""Audit without what people search in: the signed tree over the log, and the archive.

The index costs more than all the rest, and is no part of what `dominie bench growth` measures.
"""

import signal
from collections.abc import Callable, Sequence

import anyio

from dominie_audit.adapters.archive import Archiver
from dominie_audit.adapters.tlog.keeper import Keeper
from dominie_audit.adapters.tlog.published import Own
from dominie_audit.app import origin_of
from dominie_audit.settings import Settings
from dominie_contracts import Recorded
from dominie_contracts.audit import ArchiveSegment
from dominie_eventstore import InMemory
from dominie_kit import Service
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.store import open_archive


class Tree(InMemory):
    """The tree as a projection; nothing but its position is its own, since the tree needs no event twice."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def fresh(self) -> "Tree":
        """One that has seen nothing."""
        return Tree(self._keeper)

    def apply(self, event: Recorded) -> None:
        """Take in one event."""
        self._keeper.apply(event)
        self.position = event.position


def main(names: Sequence[str], *, on_ready: Callable[[], None]) -> None:
    """What `dominie up` runs in place of audit (see `Plan.runner`)."""
    anyio.run(_run, on_ready, backend_options={"use_uvloop": True})


async def _run(on_ready: Callable[[], None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with _build().running():
            on_ready()
            await anext(signals)


def _build() -> Service:
    settings = Settings()
    service = Service("audit", settings)
    folder = settings.state / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    own = Own.open(folder, origin_of(KeyFolder(settings.keys)))
    keeper = Keeper(own, interval_s=settings.audit_checkpoint_s, max_events=settings.audit_checkpoint_events)
    tree, archiver = Tree(keeper), Archiver(service.log, own.published, open_archive(settings))

    async def keep() -> None:
        await keeper.run(service.log, lambda: tree.position, anyio.sleep_forever)

    service.follow(tree, None, name="tree")
    service.background(keep)
    service.background(archiver.run)
    service.route(ArchiveSegment, archiver.answer, token=False, direct=False, between=True)
    return service
