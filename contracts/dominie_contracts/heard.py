"""How a message of the bus is heard at once, in the loop that reads it, with no queue and no task between.

nats-py takes a future for a subscription's next message and sets it for each one; this is such a future. It works for
handlers that do little and never wait.
"""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

M = TypeVar("M")
log = logging.getLogger("dominie")


class AtOnce(Generic[M]):
    """Hands each message to `heard`: `subscribe(subject, future=AtOnce(heard))`.

    What comes on a subject that `ignores` knows need not even be read.
    """

    __slots__ = ("_heard", "ignores")

    def __init__(self, heard: Callable[[M], None], *, ignores: Callable[[bytes], bool] | None = None) -> None:
        self._heard = heard
        self.ignores = ignores

    def cancelled(self) -> bool:
        """Never."""
        return False

    def set_result(self, message: M) -> None:
        """Take a message. What `heard` raises is logged: it would end the reading of the whole connection."""
        try:
            self._heard(message)
        except Exception:
            log.exception("a message could not be handled")
