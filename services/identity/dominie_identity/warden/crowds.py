"""How many connections a principal has: so many were there when that was last counted, and so many were let in since.

What has ended is not seen here; so nobody is refused by what is remembered, but only by a count that was made just
then. Pure: time is passed in.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf
from typing import Literal

Who = tuple[str, str]
Connection = tuple[str, int]
"""A server's id and its number for the connection."""
TRUST_S = 10.0
"""So long a count is relied on, while nothing but this instance's own admissions changes it."""
UNSEEN = 8
"""After that so many more are let in before it is counted again: another instance may have let in others."""
JUST_NOW_S = 0.25
ARRIVING_S = 1.0
"""Who was let in so shortly before may not be listed yet."""


@dataclass(slots=True)
class _Crowd:
    counted_s: float
    listed: int = 0
    since: dict[Connection, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.listed + len(self.since)


class Crowds:
    """Who may connect once more; each principal may have `most` connections."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._crowds: dict[Who, _Crowd] = {}

    def admit(self, who: Who, connection: Connection, now_s: float) -> Literal["yes", "no", "count"]:
        """Let a connection in, or not, or have its principal's connections counted first and ask again."""
        crowd = self._crowds.setdefault(who, _Crowd(-inf))
        age_s = now_s - crowd.counted_s
        bound = self.most if age_s <= TRUST_S else min(self.most, UNSEEN if crowd.counted_s > -inf else 0)
        held = len(crowd) if age_s <= TRUST_S else len(crowd.since)
        if held < bound and len(crowd) < self.most:
            crowd.since[connection] = now_s
            return "yes"
        return "no" if age_s <= JUST_NOW_S else "count"

    def counted(self, who: Who, found: Collection[Connection] | None, now_s: float) -> None:
        """What the servers list of a principal; None: they do not answer, and a few are let in until they do."""
        crowd = self._crowds.setdefault(who, _Crowd(-inf))
        if found is None:
            crowd.counted_s = max(crowd.counted_s, now_s - TRUST_S - JUST_NOW_S)
            return
        crowd.counted_s = now_s
        since = crowd.since.items()
        crowd.since = {each: at_s for each, at_s in since if at_s > now_s - ARRIVING_S and each not in found}
        crowd.listed = len(found)

    def forget(self) -> None:
        """The broker is gone, and perhaps everybody's connections with it."""
        self._crowds.clear()
