"""What an edge refuses is counted, not written down one by one: identity writes one event for many (ADR 0023)."""

import uuid
from collections import Counter
from collections.abc import Callable

import anyio

from dominie_contracts import Problem
from dominie_contracts.identity import Done, RefusalCount, Refusals, ReportRefusals
from dominie_contracts.subjects import PLATFORM
from dominie_kit.bus import Inner
from dominie_kit.context import Context, deadline_in

NOBODY = "nobody"
"""Whoever has no name that the broker vouches for."""
ANSWERED = 500
"""So many refusals within a second are answered to one principal; after that it is not heard until the next second."""
MAX_PRINCIPALS = 1000
REPORT_S, _DEADLINE_S = 1.0, 5.0
COUNTED = frozenset({"unauthenticated", "forbidden", "invalid", "conflict", "quota-exceeded", "diverged"})
"""Problems that say that the asker was wrong, and not that something is away."""
Who = tuple[str, str]


class RefusalTally:
    """What was refused to whom since it was last reported, and who is refused too much to be heard."""

    def __init__(self, service: str, clock: Callable[[], float]) -> None:
        self._service = service
        self._clock = clock
        self._second = 0
        self._recent: Counter[Who] = Counter()
        self._counts: dict[Who, Counter[str]] = {}

    def note(self, who: Who, why: str, count: int = 1) -> None:
        """Something was refused to a principal."""
        self._now()
        self._recent[who] += count
        known = who in self._counts or len(self._counts) < MAX_PRINCIPALS
        counts = self._counts.setdefault(who if known else (PLATFORM, NOBODY), Counter())
        counts[f"{self._service}: {why}"] += count

    def is_shut(self, who: Who) -> bool:
        """Whether a principal is not heard in this second; what it says then counts as unheard."""
        self._now()
        if self._recent[who] < ANSWERED:
            return False
        self.note(who, "unheard")
        return True

    def take(self) -> tuple[Refusals, ...]:
        """What was refused since this was last asked."""
        counts, self._counts = self._counts, {}
        return tuple(
            Refusals(
                tenant=tenant,
                principal=principal,
                counts=tuple(RefusalCount(what=what, count=count) for what, count in found.items()),
            )
            for (tenant, principal), found in counts.items()
        )

    def put_back(self, refusals: tuple[Refusals, ...]) -> None:
        """They could not be reported, and count on."""
        for each in refusals:
            found = self._counts.setdefault((each.tenant, each.principal), Counter())
            found.update({count.what: count.count for count in each.counts})

    def _now(self) -> None:
        if int(self._clock()) != self._second:
            self._second = int(self._clock())
            self._recent.clear()


async def report(tally: RefusalTally, inner: Inner) -> None:
    """Tell identity every second what was refused, for ever; what it does not hear is told again."""
    while True:
        await anyio.sleep(REPORT_S)
        if refusals := tally.take()[:MAX_PRINCIPALS]:
            deadline = deadline_in(_DEADLINE_S)
            context = Context(tenant=PLATFORM, principal=NOBODY, key=uuid.uuid4().hex, deadline=deadline)
            try:
                await inner.call(context, ReportRefusals(refusals=refusals), Done)
            except Problem:
                tally.put_back(refusals)
