"""Problems: every error that crosses the bus, as RFC 9457 says, each with a stable `type`.

Problem
├── Unauthenticated    who you are was not shown, or no longer holds
├── Forbidden          who you are may not do this
│   ├── Held           the judges kept an answer back
│   └── ReviewRequired somebody has to look at what changed first
├── ApprovalRequired   a person has to say yes first
├── QuotaExceeded      too much at once
├── BudgetExceeded     too much spent
├── DeadlineExceeded   the time ran out
├── Conflict           the same key was used for something else
├── Diverged           a forked run asked for what its parent's record does not hold next
├── Invalid            the request itself is wrong
├── ToolFailed         the tool ran, and failed
└── Unavailable        a part is away; try again
    └── UnknownEvent   the log holds an event of a newer version of the service that owns it
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue

from dominie_contracts.base import Message
from dominie_contracts.personal import PERSONAL

PROBLEM_BASE = "urn:dominie:problem:"


class ProblemDetails(Message):
    """The body of a problem (RFC 9457, media type `application/problem+json`)."""

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: Annotated[str, PERSONAL]
    instance: str | None = None
    retry_after_s: float | None = None
    extra: Annotated[dict[str, JsonValue], PERSONAL] = Field(default_factory=dict)


class Problem(Exception):
    """An error with a stable type, a text that says what to do next, and fields for programs."""

    type: ClassVar[str] = "unavailable"
    title: ClassVar[str] = "Problem"
    status: ClassVar[int] = 500

    def __init__(self, detail: str, *, retry_after_s: float | None = None, instance: str | None = None, **extra: Any):
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.instance = instance
        self.extra: dict[str, JsonValue] = extra

    @property
    def details(self) -> ProblemDetails:
        """The problem as it crosses the bus."""
        return ProblemDetails(
            type=PROBLEM_BASE + self.type,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=self.instance,
            retry_after_s=self.retry_after_s,
            extra=self.extra,
        )


class Unauthenticated(Problem):
    """Who you are was not shown, or no longer holds."""

    type, title, status = "unauthenticated", "Not authenticated", 401


class Forbidden(Problem):
    """Who you are may not do this."""

    type, title, status = "forbidden", "Not allowed", 403


class Held(Forbidden):
    """The judges kept an answer back; `extra` holds the verdict."""

    type, title, status = "held", "Answer held back", 403


class ReviewRequired(Forbidden):
    """An MCP server is not what was accepted of it; `extra` holds `server` and what `differs`."""

    type, title, status = "review-required", "Review required", 403


class ApprovalRequired(Problem):
    """A person has to say yes first; `extra` holds `action`, `digest`, `groups` and the `asks` that are left."""

    type, title, status = "approval-required", "Approval required", 403


class QuotaExceeded(Problem):
    """Too much at once."""

    type, title, status = "quota-exceeded", "Quota exceeded", 429


class BudgetExceeded(Problem):
    """Too much spent."""

    type, title, status = "budget-exceeded", "Budget exceeded", 402


class DeadlineExceeded(Problem):
    """The time ran out."""

    type, title, status = "deadline-exceeded", "Deadline exceeded", 504


class Conflict(Problem):
    """The same key was used for something else."""

    type, title, status = "conflict", "Conflict", 409


class Diverged(Problem):
    """A forked run asked for something that its parent's record does not hold next; `extra` has both."""

    type, title, status = "diverged", "Diverged from the record", 409


class Invalid(Problem):
    """The request itself is wrong."""

    type, title, status = "invalid", "Invalid request", 400


class ToolFailed(Problem):
    """The tool ran, and failed."""

    type, title, status = "tool-failed", "Tool failed", 422


class Unavailable(Problem):
    """A part is away; try again."""

    type, title, status = "unavailable", "Unavailable", 503


class UnknownEvent(Unavailable):
    """A service met an event of its own that it does not know; `extra` holds the event's type, position and stream."""

    type, title, status = "unknown-event", "Unknown event", 503


_BY_TYPE: dict[str, type[Problem]] = {
    PROBLEM_BASE + kind.type: kind
    for kind in (
        Unauthenticated,
        Forbidden,
        Held,
        ReviewRequired,
        ApprovalRequired,
        QuotaExceeded,
        BudgetExceeded,
        DeadlineExceeded,
        Conflict,
        Diverged,
        Invalid,
        ToolFailed,
        Unavailable,
        UnknownEvent,
    )
}


def problem_from(details: ProblemDetails) -> Problem:
    """The exception for a problem that crossed the bus; an unknown type becomes `Unavailable`."""
    kind = _BY_TYPE.get(details.type, Unavailable)
    found = kind(details.detail, retry_after_s=details.retry_after_s, instance=details.instance)
    found.extra = dict(details.extra)
    return found
