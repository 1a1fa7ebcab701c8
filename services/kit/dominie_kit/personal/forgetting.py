"""What a service does when a person is erased: their keys go at once, and whatever was derived is built anew."""

import asyncio
import os
from pathlib import Path

import structlog

from dominie_contracts.identity import Erased
from dominie_kit.personal.keyring import Keyring
from dominie_kit.read_models import ReadModels

_RETRY_S = 1.0
log = structlog.get_logger()


class Forgetting:
    """Hears of erasures; read models are rebuilt from a log in which the person can be read no more.

    A service that was away hears of it when it starts. What is stored is rebuilt if it was not since; a file says so.
    """

    def __init__(self, keyring: Keyring, read_models: ReadModels, place: Path) -> None:
        self._keyring = keyring
        self._read_models = read_models
        self._place = place
        self._heard = 0
        self._changed = asyncio.Event()
        self.position = 0
        """Of the last erasure after which everything was built anew."""

    def hear(self, erased: Erased, position: int) -> None:
        """A person was erased."""
        self._keyring.drop(erased.keys)
        self._heard = max(self._heard, position)
        self._changed.set()

    async def run(self) -> None:
        """Rebuild after each erasure, for as long as the service lives."""
        stored = any(projector.stored for projector in self._read_models.projectors.values())
        self.position = _read(self._place) if stored else self._heard
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._heard > self.position:
                await self._rebuild(self._heard, stored)

    async def _rebuild(self, heard: int, stored: bool) -> None:
        if not await self._read_models.rebuild_all():
            log.error("forgetting.failed", position=heard)
            await asyncio.sleep(_RETRY_S)
            return
        if stored:
            _write(self._place, heard)
        self.position = heard


def _read(place: Path) -> int:
    try:
        return int(place.read_text())
    except (OSError, ValueError):
        return 0


def _write(place: Path, position: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(".new")
    draft.write_text(f"{position}\n")
    os.replace(draft, place)
