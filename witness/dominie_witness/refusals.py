"""Why a witness does not sign; each has the status that c2sp.org/tlog-witness gives it.

Refusal
├── Malformed      400  that is no request, or it goes backwards
├── NotTheLogs     403  no key of this log signed it
├── UnknownLog     404  nobody told this witness of that log
├── TooSlow        408  the body did not come
├── OtherSize      409  the witness has another size, or another root at this one
├── TooLarge       413  the body is too long
├── Inconsistent   422  it does not extend what the witness has
└── Failed         503  the witness cannot write it down
"""

from typing import ClassVar

from dominie_contracts import Conflict, Forbidden, Invalid, Problem, ProblemDetails, Unavailable
from dominie_contracts.problems import PROBLEM_BASE


class Refusal(Exception):
    """It is not signed."""

    kind: ClassVar[type[Problem]] = Invalid
    title: ClassVar[str] = Invalid.title
    status: ClassVar[int] = Invalid.status

    @property
    def details(self) -> ProblemDetails:
        """The refusal as it is answered (RFC 9457)."""
        return ProblemDetails(
            type=PROBLEM_BASE + self.kind.type, title=self.title, status=self.status, detail=str(self)
        )


class Malformed(Refusal):
    """That is no request, or it goes backwards."""


class NotTheLogs(Refusal):
    """No key of this log signed it."""

    kind, title, status = Forbidden, Forbidden.title, 403


class UnknownLog(Refusal):
    """Nobody told this witness of that log."""

    title, status = "Unknown log", 404


class TooSlow(Refusal):
    """The body did not come."""

    title, status = "Too slow", 408


class OtherSize(Refusal):
    """The witness has a checkpoint of another size, or with another root at this one."""

    kind, title, status = Conflict, Conflict.title, 409

    def __init__(self, size: int) -> None:
        super().__init__(f"the last checkpoint that was signed here is of {size} events")
        self.size = size


class TooLarge(Refusal):
    """The body is too long."""

    title, status = "Too large", 413


class Inconsistent(Refusal):
    """It does not extend what the witness has: the log's history was changed."""

    title, status = "Not the same log", 422


class Failed(Refusal):
    """The witness cannot write it down."""

    kind, title, status = Unavailable, Unavailable.title, 503
