"""What our streams are called in KurrentDB: `dominie.{category}-{name}`.

The server filters by the beginning of a name. Its projection `$by_category` cuts at the first `-`, which neither part
before it holds, so that `$ce-dominie.tool` has one category's events, too.
"""

import re

from dominie_contracts.subjects import StreamName
from dominie_eventstore._filters import category_filter

HOUSE = "dominie"
_HOUSE = re.compile(r"[a-z][a-z0-9_]{0,40}")


class Names:
    """The names in one house: several deployments can share a database.

    Raises:
        ValueError: The house is not 1 to 41 of `[a-z0-9_]`.
    """

    def __init__(self, house: str = HOUSE) -> None:
        if not _HOUSE.fullmatch(house):
            raise ValueError(f"{house!r} cannot begin the names of streams: use 1 to 41 of [a-z0-9_]")
        self._house = house

    def stored(self, stream: StreamName) -> str:
        """What a stream is called there."""
        return f"{self.prefix(stream.category)}{stream}"

    def prefix(self, category: str | None) -> str:
        """How the names of one category's streams begin, or of all of ours.

        Raises:
            ValueError: It is no category.
        """
        category_filter(category)
        return f"{self._house}." if category is None else f"{self._house}.{category}-"


def own(stored: str) -> str:
    """What we call the stream with this name."""
    return stored.partition("-")[2]
