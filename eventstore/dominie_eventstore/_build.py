"""How far the building of a read model is."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Build:
    """From a position to the log's end as it was at the beginning."""

    begin: int = 0
    end: int = 0
    events: int = 0
    """How many were taken in."""
    position: int = 0
    done: bool = False
    error: BaseException | None = None
    _began_s: float = field(default_factory=time.monotonic)
    _ended_s: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return (self._ended_s or time.monotonic()) - self._began_s

    @property
    def rate_per_s(self) -> float:
        """Events a second."""
        return self.events / max(self.seconds, 1e-6)

    @property
    def fraction(self) -> float:
        """How much of the way is done, from 0 to 1, by positions; 1 means that it is finished."""
        if self.done:
            return 1.0
        way = self.end - self.begin
        return min(max(self.position - self.begin, 0) / way, 0.999) if way > 0 else 0.0

    @property
    def left_s(self) -> float:
        """How long it will take yet, if it goes on as it went."""
        return self.seconds * (1 - self.fraction) / max(self.fraction, 0.001)

    def count(self, events: int, position: int) -> None:
        """So many events more, the last one at this position."""
        self.events += events
        self.position = position

    def finish(self) -> None:
        """All is taken in, and serves."""
        self._ended_s = time.monotonic()
        self.done = True

    def fail(self, error: BaseException) -> None:
        """It came to nothing."""
        self._ended_s = time.monotonic()
        self.error = error
