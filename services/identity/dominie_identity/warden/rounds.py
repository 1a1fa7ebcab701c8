"""Which connections are looked at: those that sent something since the last look, on as many pages as that takes.

A server lists first who sent last, so whoever floods is on its first page, however many are connected and however much
they sent before. Pure: time is passed in.
"""

from dataclasses import dataclass

from dominie_identity.warden.flooding import Connected

PAGE = 64
"""Connections on one page, services' too."""
SLACK_S = 1.0
"""A server notes that somebody sent something a little later than it counts it."""
GIVE_UP_S = 1.0
"""A look takes no longer, or it is begun anew."""
AWAY_S = 60.0


@dataclass(frozen=True, slots=True)
class Page:
    """What one server lists of its connections from `offset` on: `listed`, of which some are principals'."""

    server: str
    at_s: float
    offset: int
    listed: int
    least_active_s: float
    """When the last one of them last sent something."""
    connections: tuple[Connected, ...]


@dataclass(frozen=True, slots=True)
class Next:
    """What follows on a page: the offset of another one, or the look is over."""

    offset: int | None = None
    listed_since_s: float | None = None
    """When the look began, by the server's clock, if it is over and has listed all connections."""


@dataclass(slots=True)
class _Round:
    begun_s: float
    """By the server's clock."""
    asked_s: float
    whole: bool
    """Whether all connections are listed, and not only those that sent something."""
    over: bool = False


class Rounds:
    """One look after the other, at each server."""

    def __init__(self) -> None:
        self._rounds: dict[str, _Round] = {}
        self._covered_s: dict[str, float] = {}
        self._listed = set[str]()

    def covered_s(self, server: str) -> float:
        """Until when, by its clock, all is seen that was sent there."""
        return self._covered_s.get(server, 0.0)

    def is_open(self, now_s: float) -> bool:
        """Whether a page is awaited."""
        return any(not each.over and now_s - each.asked_s < GIVE_UP_S for each in self._rounds.values())

    def list_all(self, now_s: float) -> frozenset[str]:
        """List silent connections too the next time; the servers that are there still."""
        self._listed.clear()
        self._rounds = {name: each for name, each in self._rounds.items() if now_s - each.asked_s < AWAY_S}
        self._covered_s = {name: at_s for name, at_s in self._covered_s.items() if name in self._rounds}
        return frozenset(self._rounds)

    def turn(self, page: Page, now_s: float) -> Next:
        """What follows on a page."""
        if page.offset == 0:
            self._rounds[page.server] = _Round(page.at_s, now_s, whole=page.server not in self._listed)
        found = self._rounds.get(page.server)
        if found is None or found.over:
            return Next()
        more = found.whole or page.least_active_s >= self.covered_s(page.server) - SLACK_S
        if page.listed == PAGE and more:
            return Next(offset=page.offset + page.listed)
        found.over = True
        self._covered_s[page.server] = found.begun_s
        if not found.whole:
            return Next()
        self._listed.add(page.server)
        return Next(listed_since_s=found.begun_s)
