"""What is under way over HTTP for one call: whether its tool may have begun, and what was reached.

It goes with whoever asks into the tasks that the library starts for them: two calls in one session are told apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from dominie_tool.egress.ledger import Ledger
from dominie_tool.egress.values import Bounds


@dataclass(slots=True, eq=False)
class Asking:
    """One call, or one look at what a server offers.

    Attributes:
        ledger: What it has reached.
        sent: Its tool was asked for: from then on something may have happened.
        settled: The server has answered that, or said that it does not begin it.
        expired: It said so since it does not know its session any more.
        resumed: How often an answer that broke off was asked for again.
    """

    ledger: Ledger
    sent: bool = False
    settled: bool = False
    expired: bool = False
    resumed: int = 0

    @property
    def unsure(self) -> bool:
        """Whether nobody can tell what happened."""
        return self.sent and not self.settled


_ASKING: ContextVar[Asking] = ContextVar("asking")


@contextmanager
def asking(bounds: Bounds) -> Iterator[Asking]:
    """What is done until this ends is done for one call."""
    found = Asking(Ledger(bounds))
    token = _ASKING.set(found)
    try:
        yield found
    finally:
        _ASKING.reset(token)


def asked() -> Asking:
    """The call that this is done for."""
    return _ASKING.get()
