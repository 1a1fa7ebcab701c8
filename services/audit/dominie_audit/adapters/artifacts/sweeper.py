"""Sweeps artifacts: what no event refers to after a time, and what is about people who were erased.

What there is, and its age, is asked of the broker each time, and what events refer to is in the read model; so a sweep
that was interrupted is begun again, and nothing has to be remembered. What is put anew meanwhile is another message,
and stays. Who refers to an artifact that is half an hour old has written it anew before (`dominie_kit.artifacts`).
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio
import structlog

from dominie_audit.projection import Log
from dominie_contracts import Problem
from dominie_contracts.artifact import Manifest
from dominie_contracts.audit import ArtifactsHeld
from dominie_contracts.subjects import ArtifactSubject
from dominie_eventstore import EventStoreError
from dominie_kit.blobs import Blob, Shelf

log = structlog.get_logger()
_CATCH_UP_S = 60.0


@dataclass(slots=True)
class _Person:
    """What is held of one person, by subject."""

    tenant: str
    key: str
    manifests: dict[str, str]
    """Their names."""
    chunks: dict[str, str]


class Sweeper:
    """Sweeps now and then, and when it is woken.

    Args:
        log: What events refer to.
        shelf: What is held.
        caught_up: Waits until `log` has all that is in the log now.
        grace_s: How old has to be what nothing refers to.
        interval_s: How often it looks.
    """

    def __init__(
        self,
        log: Log,
        shelf: Shelf,
        caught_up: Callable[[float], Awaitable[None]],
        *,
        grace_s: float,
        interval_s: float,
    ) -> None:
        self._log = log
        self._shelf = shelf
        self._caught_up = caught_up
        self._grace = timedelta(seconds=grace_s)
        self._interval_s = interval_s
        self._woken = anyio.Event()
        self._settled: dict[tuple[str, str], int] = {}
        """Of people of whom everything is referred to: which subjects these were."""
        self._swept = self._swept_bytes = 0
        self._swept_at: str | None = None

    def wake(self) -> None:
        """Sweep soon."""
        self._woken.set()

    async def run(self) -> None:
        """Sweep for ever; what cannot be swept now is tried again."""
        while True:
            try:
                await self.sweep()
            except (Problem, EventStoreError) as error:
                log.warning("artifacts.not_swept", error=type(error).__name__)
            with anyio.move_on_after(self._interval_s):
                await self._woken.wait()
            self._woken = anyio.Event()

    async def sweep(self) -> None:
        """Sweep once.

        Raises:
            Problem, EventStoreError: Something is away; what is left is left for the next time.
        """
        before, held = self._swept, await self._shelf.held()
        for person in _people(held.subjects):
            if self._log.is_erased(person.key):
                await self._clear((*person.manifests, *person.chunks))
            elif held.steady:
                await self._tidy(person)
        if held.steady:
            self._swept_at = datetime.now(UTC).isoformat(timespec="seconds")
        else:  # the chunks of a manifest that is missing in the list would look as if nobody used them
            log.info("artifacts.changed_meanwhile")
        if self._swept != before:
            log.info("artifacts.swept", count=self._swept - before)

    async def count(self) -> ArtifactsHeld:
        """What is held now."""
        held = await self._shelf.held()
        people = _people(held.subjects)
        return ArtifactsHeld(
            artifacts=sum(len(set(person.manifests.values())) for person in people),
            chunks=sum(len(person.chunks) for person in people),
            bytes=held.size,
            swept=self._swept,
            swept_bytes=self._swept_bytes,
            swept_at=self._swept_at,
        )

    async def _tidy(self, person: _Person) -> None:
        """Take away what is old and no event refers to."""
        name, there = (person.tenant, person.key), hash(frozenset((*person.manifests, *person.chunks)))
        if self._settled.get(name) == there:
            return
        loose = [subject for subject, each in person.manifests.items() if not self._refers(person, each)]
        old = [blob for subject in loose if (blob := await self._shelf.get(subject)) and self._is_old(blob)]
        await self._caught_up(_CATCH_UP_S)
        unwanted = [blob for blob in old if not self._refers(person, person.manifests[blob.subject])]
        swept = {blob.subject for blob in unwanted if await self._remove(blob)}
        used = await self._chunks(person.manifests.keys() - swept)
        unused = [subject for subject, each in person.chunks.items() if each not in used]
        for subject in unused:
            chunk = await self._shelf.get(subject)
            if chunk is not None and self._is_old(chunk):
                await self._remove(chunk)
        if not loose and not unused:
            self._settled[name] = there

    def _refers(self, person: _Person, name: str) -> bool:
        """Whether an event refers to an artifact; who has events that could not be read keeps everything."""
        return self._log.refers(person.tenant, name) or self._log.refers(person.tenant, person.key)

    def _is_old(self, blob: Blob) -> bool:
        return datetime.now(UTC) - blob.stored > self._grace

    async def _chunks(self, manifests: Iterable[str]) -> set[str]:
        found = set[str]()
        for subject in manifests:
            blob = await self._shelf.get(subject)
            if blob is not None:
                found.update(Manifest.model_validate_json(blob.body).chunks)
        return found

    async def _clear(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            if (blob := await self._shelf.get(subject)) is not None:
                await self._remove(blob)

    async def _remove(self, blob: Blob) -> bool:
        """Whether it was taken away: what was put anew since stays."""
        removed = await self._shelf.remove(blob)
        if removed:
            self._swept += 1
            self._swept_bytes += len(blob.body)
        return removed


def _people(subjects: Iterable[str]) -> list[_Person]:
    people: defaultdict[tuple[str, str], list[tuple[str, ArtifactSubject]]] = defaultdict(list)
    for subject in subjects:
        parsed = ArtifactSubject.parse(subject)
        people[parsed.tenant, parsed.key].append((subject, parsed))
    return [
        _Person(
            tenant,
            key,
            {subject: each.name for subject, each in found if each.holder is not None},
            {subject: each.name for subject, each in found if each.holder is None},
        )
        for (tenant, key), found in people.items()
    ]
