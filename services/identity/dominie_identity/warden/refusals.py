"""Many refusals, few events: what is refused to one principal is counted, and written for ever longer windows. Pure."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from dominie_contracts.identity import RefusalCount, Refused
from dominie_contracts.subjects import PLATFORM
from dominie_kit.edge.refusals import NOBODY

WINDOWS_S = (1.0, 10.0, 60.0)
"""The first event comes soon, the next ones seldom; after a window with nothing it begins again."""
MAX_KINDS = 20
"""In one event; the rest is summed up."""
REST = "others"


@dataclass(slots=True)
class _Window:
    """What was refused to one principal since the last event of it."""

    from_s: float
    number: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def due_s(self) -> float:
        """When it is to be written."""
        return self.from_s + WINDOWS_S[min(self.number, len(WINDOWS_S) - 1)]


class RefusalLog:
    """What was refused to whom, and when that is to be written; `knows` says who is registered."""

    def __init__(self, knows: Callable[[str, str], bool]) -> None:
        self._knows = knows
        self._windows: dict[tuple[str, str], _Window] = {}

    def note(self, tenant: str, principal: str, what: str, count: int = 1, *, now_s: float) -> None:
        """Something was refused; who is not registered is nobody, whatever they call themselves."""
        who = (tenant, principal) if self._knows(tenant, principal) else (PLATFORM, NOBODY)
        counts = self._windows.setdefault(who, _Window(now_s)).counts
        counts[what if what in counts or len(counts) < MAX_KINDS else REST] += count

    def due(self, now_s: float, *, all_: bool = False) -> list[Refused]:
        """What is to be written now, and counts as written; everything where the service ends."""
        found = []
        for who, window in list(self._windows.items()):
            if now_s < window.due_s and not all_:
                continue
            if window.counts:
                found.append(_event(*who, window, now_s))
                self._windows[who] = _Window(now_s, window.number + 1)
            else:
                del self._windows[who]
        return found


def _event(tenant: str, principal: str, window: _Window, now_s: float) -> Refused:
    counts = tuple(RefusalCount(what=what, count=count) for what, count in window.counts.most_common())
    from_ms, to_ms = int(window.from_s * 1000), int(now_s * 1000)
    return Refused(tenant=tenant, principal=principal, counts=counts, from_ms=from_ms, to_ms=to_ms)
