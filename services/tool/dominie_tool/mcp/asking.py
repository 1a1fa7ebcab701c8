"""What is under way for one call: whether its tool may have begun, and what was reached.

It goes with whoever asks into the tasks that the library starts for them: two calls in one session are told apart.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self

from dominie_tool.egress.ledger import Ledger
from dominie_tool.egress.values import Bounds


@dataclass(slots=True, eq=False)
class Asking:
    """One call, or one look at what a server offers.

    Attributes:
        ledger: What it has reached.
        sent: Its tool was asked for, over HTTP or in a box with a network: something may have happened from then on.
        settled: The server has answered that, or said that it does not begin it; in a box, what breaks has failed.
        expired: It said so since it does not know its session any more.
        resumed: How often an answer that broke off was asked for again.
        refused: What the server asked for and was not given.
    """

    ledger: Ledger
    sent: bool = False
    settled: bool = False
    expired: bool = False
    resumed: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @classmethod
    def within(cls, bounds: Bounds) -> Self:
        """Nothing yet; what is reached is counted within bounds."""
        return cls(Ledger(bounds))

    @property
    def unsure(self) -> bool:
        """Whether nobody can tell what happened."""
        return self.sent and not self.settled


_ASKING: ContextVar[Asking] = ContextVar("asking")


@contextmanager
def asking(under_way: Asking) -> Iterator[None]:
    """What is done until this ends is done for one call."""
    token = _ASKING.set(under_way)
    try:
        yield
    finally:
        _ASKING.reset(token)


def asked() -> Asking:
    """The call that this is done for."""
    return _ASKING.get()
