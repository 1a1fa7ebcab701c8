"""Is the log what was written? Each event holds the SHA-256 of the stored bytes of the one before it in its stream."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from dominie_contracts.envelope import GENESIS, Recorded
from dominie_eventstore._errors import CorruptEvent
from dominie_eventstore._seal import digest


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a check of the chains found; the last four name the first event that is not what was written."""

    events: int
    streams: int
    ok: bool
    broken_at: int | None = None
    """Its position."""
    stream: str | None = None
    version: int | None = None
    why: str | None = None


class _Link(NamedTuple):
    """An event as the next one of its stream has to know it."""

    position: int
    version: int
    digest: str


_BEGIN = _Link(0, 0, GENESIS)
"""Before a stream's first event."""


@dataclass(frozen=True, slots=True)
class _Break:
    position: int
    stream: str
    version: int | None
    why: str


@dataclass(slots=True)
class _Chains:
    """The chains of all streams, as far as they were read."""

    events: int = 0
    ends: dict[str, _Link] = field(default_factory=dict)
    suspects: dict[str, tuple[_Link, _Link]] = field(default_factory=dict)
    """By stream: two events that do not fit. The one after them shows which of the two was changed."""

    def take(self, event: Recorded) -> _Break | None:
        """Check one event against the one before it."""
        self.events += 1
        envelope = event.envelope
        name, version = envelope.stream, envelope.version
        before = self.ends.get(name, _BEGIN)
        link = _Link(event.position, version, digest(event.raw))
        self.ends[name] = link
        if name in self.suspects:
            return self._tell(name, *self.suspects.pop(name), later_prev=envelope.prev)
        if version != before.version + 1:
            return _Break(event.position, name, version, f"it follows version {before.version}")
        if envelope.prev == before.digest:
            return None
        if before.version == 0 or _nearly(envelope.prev, before.digest):
            return _Break(event.position, name, version, "its own `prev` was changed")
        self.suspects[name] = (before, link)
        return None

    def first(self, found: _Break | None) -> _Break | None:
        """The first of what was `found`, and of what the streams' last events say of those before them."""
        breaks = [self._tell(name, *pair, later_prev=pair[1].digest) for name, pair in self.suspects.items()]
        return min(breaks if found is None else [*breaks, found], key=lambda each: each.position, default=None)

    def _tell(self, name: str, first: _Link, second: _Link, *, later_prev: str) -> _Break:
        if later_prev == second.digest:
            why = f"the SHA-256 of its bytes is not the `prev` of version {second.version}"
            return _Break(first.position, name, first.version, why)
        return _Break(second.position, name, second.version, "its bytes were changed, its `prev` among them")


def _nearly(one: str, other: str) -> bool:
    """Whether two digests differ in a few digits only: then it was the digest itself that was changed."""
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) <= 4


async def verify_chain(events: AsyncIterator[Recorded] | Iterable[Recorded]) -> ChainReport:
    """Check the chain of every stream from its beginning, and name the first event whose bytes were changed.

    An iterator that raises `CorruptEvent` ends the check there. A stream's last event has no successor to vouch for
    it; the transparency log does that. A generator is closed afterwards.
    """
    chains = _Chains()
    try:
        found = await _check(chains, events)
    except CorruptEvent as error:
        found = _Break(error.position, error.stream, None, error.why)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
    counts = (chains.events, len(chains.ends))
    first = chains.first(found)
    if first is None:
        return ChainReport(*counts, ok=True)
    return ChainReport(*counts, False, first.position, first.stream, first.version, first.why)


async def _check(chains: _Chains, events: AsyncIterator[Recorded] | Iterable[Recorded]) -> _Break | None:
    if isinstance(events, AsyncIterator):
        async for event in events:
            if found := chains.take(event):
                return found
    else:
        for event in events:
            if found := chains.take(event):
                return found
    return None
