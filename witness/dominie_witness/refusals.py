"""Why a witness does not sign; each has the status that c2sp.org/tlog-witness gives it.

Problem
├── Malformed      400  that is no request, or it goes backwards
├── NotTheLogs     403  no key of this log signed it
├── UnknownLog     404  nobody told this witness of that log
├── OtherSize      409  the witness has another size, or another root at this one
├── TooSlow        408  the body did not come
├── TooLarge       413  the body is too long
└── Inconsistent   422  it does not extend what the witness has
"""

from dominie_contracts import Conflict, Forbidden, Invalid


class Malformed(Invalid):
    """That is no request, or it goes backwards."""


class NotTheLogs(Forbidden):
    """No key of this log signed it."""


class UnknownLog(Invalid):
    """Nobody told this witness of that log."""

    title, status = "Unknown log", 404


class OtherSize(Conflict):
    """The witness has a checkpoint of another size, or with another root at this one."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the last checkpoint that was signed here is of {size} events", size=size)
        self.size = size


class TooSlow(Invalid):
    """The body did not come."""

    title, status = "Too slow", 408


class TooLarge(Invalid):
    """The body is too long."""

    title, status = "Too large", 413


class Inconsistent(Invalid):
    """It does not extend what the witness has: the log's history was changed."""

    title, status = "Not the same log", 422
