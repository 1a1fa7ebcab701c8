"""What one call of a tool has reached, and what it was refused; as its trail tells it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dominie_contracts.egress import MAX_TOLD, Reach, Reached, Unreached
from dominie_tool.egress.values import Bounds, Refused

_HOST_CHARS = 255


@dataclass(slots=True)
class Tally:
    """What went to and came from one host."""

    connections: int = 0
    sent: int = 0
    received: int = 0


@dataclass(slots=True)
class Ledger:
    """Counts, and says when it is enough."""

    bounds: Bounds
    moved: int = 0
    connections: int = 0
    _tallies: dict[tuple[str, int, str], Tally] = field(default_factory=dict)
    _refused: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    _more: int = 0

    def connected(self, host: str, port: int, address: str) -> Tally:
        """A connection was made."""
        tally = self._tallies.setdefault((host, port, address), Tally())
        tally.connections += 1
        return tally

    def spend(self, amount: int) -> bool:
        """So many bytes are moved; whether that is not too much."""
        self.moved += amount
        return self.moved <= self.bounds.moved_bytes

    def refuse(self, refused: Refused) -> None:
        """Something was refused. Only so many different ones are told apart."""
        key = (refused.host[:_HOST_CHARS], refused.port, refused.why)
        if key in self._refused or len(self._refused) < MAX_TOLD:
            self._refused[key] += 1
        else:
            self._more += 1

    def event(self) -> Reached | None:
        """All of it; None where nothing was tried."""
        if not self._tallies and not self._refused:
            return None
        tallies = list(self._tallies.items())
        return Reached(
            hosts=tuple(
                Reach(
                    host=host,
                    port=port,
                    address=address,
                    connections=tally.connections,
                    sent_bytes=tally.sent,
                    received_bytes=tally.received,
                )
                for (host, port, address), tally in tallies
            ),
            refused=tuple(
                Unreached(host=host, port=port, why=why, count=count)
                for (host, port, why), count in self._refused.items()
            ),
            more=self._more,
        )
