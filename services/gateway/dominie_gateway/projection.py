"""What the gateway reads of the log: which API keys hold, and the latest events for the live page."""

from collections import OrderedDict, deque
from typing import Self

import anyio

from dominie_contracts import Recorded
from dominie_contracts.identity import Revoked
from dominie_contracts.keys import KeyIssued, KeyRevoked
from dominie_contracts.line import Line, line
from dominie_contracts.registry import parse_event
from dominie_eventstore import InMemory

_INDEX_BITS = 8
"""The bits of a position below its append's sequence (see `pack_position`)."""
_SMALL_BYTES = 4096
_BACK = 20
"""So many times what a page shows is read at the beginning: a quiet tenant's last events may be some way back."""
TENANTS = 64
"""So many have their latest events kept."""


class Keys(InMemory):
    """A projection of the category `principal`: the digests of the API keys that hold."""

    def __init__(self) -> None:
        self.position = 0
        self._held: dict[str, tuple[str, str, str]] = {}
        """By digest: tenant, principal and the key's id."""

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        match parse_event(event.envelope.type, event.envelope.data):
            case KeyIssued() as issued:
                self._held[issued.digest] = (issued.tenant, issued.principal, issued.id)
            case KeyRevoked() as key:
                self._forget((key.tenant, key.principal, key.id))
            case Revoked() as gone:
                self._forget((gone.tenant, gone.principal))
            case _:
                pass

    def hold(self, digest: str) -> bool:
        """Whether the key with this digest was issued, and neither it nor its principal was revoked."""
        return digest in self._held

    def _forget(self, owner: tuple[str, ...]) -> None:
        self._held = {digest: key for digest, key in self._held.items() if key[: len(owner)] != owner}


class Recent(InMemory):
    """A projection of all events: the lines of the latest ones of each tenant, and no more of them than a page shows.

    An event becomes a line when somebody looks; a large one at once, so that it is not kept. Of more tenants than there
    is room for, those that were quiet for the longest are forgotten.
    """

    def __init__(self, size: int) -> None:
        self.position = 0
        self._size = size
        self._kept: OrderedDict[str | None, deque[Line | Recorded]] = OrderedDict()
        """By tenant; under None the latest of all of them."""
        self._changed = anyio.Event()
        self.closed = False

    def begin_near(self, last_position: int) -> None:
        """Skip what is not likely to be shown: an append has one event or more."""
        self.position = max(0, last_position - (self._size * _BACK << _INDEX_BITS))

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        kept = event if len(event.raw) <= _SMALL_BYTES else line(event)
        for whose in (event.envelope.tenant, None):
            self._kept.setdefault(whose, deque(maxlen=self._size)).append(kept)
            self._kept.move_to_end(whose)
        if len(self._kept) > TENANTS + 1:
            self._kept.popitem(last=False)
        self._wake()

    def fresh(self) -> Self:
        """One that begins where this one's page does."""
        built = type(self)(self._size)
        built.begin_near(self.position)
        return built

    def become(self, built: Self) -> None:
        """Take over the built one's lines; whoever waits goes on waiting here."""
        self.position, self._kept = built.position, built._kept
        self._wake()

    def reset(self) -> None:
        """Forget everything."""
        self.become(type(self)(self._size))

    def close(self) -> None:
        """Nobody needs to wait any more."""
        self.closed = True
        self._wake()

    def of(self, tenant: str | None) -> tuple[Line, ...]:
        """The latest events of a tenant, oldest first; None: of all of them."""
        found = tuple(kept if isinstance(kept, Line) else line(kept) for kept in self._kept.get(tenant, ()))
        if found:
            self._kept[tenant] = deque(found, maxlen=self._size)
        return found

    async def beyond(self, tenant: str | None, position: int, timeout_s: float) -> tuple[Line, ...]:
        """Those beyond a position, once there are some; none when the time is up or the service ends."""
        with anyio.move_on_after(timeout_s):
            while self._last(tenant) <= position and not self.closed:
                await self._changed.wait()
        return tuple(found for found in self.of(tenant) if found.position > position)

    def _last(self, tenant: str | None) -> int:
        kept = self._kept.get(tenant)
        return kept[-1].position if kept else 0

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
