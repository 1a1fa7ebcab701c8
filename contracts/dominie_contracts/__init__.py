"""The language of Dominie: commands, events, their envelope, subjects, tokens and problems. No I/O.

One module a service (`dominie_contracts.tool`, …) holds its commands, replies and events; the rest is shared.
"""

from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.envelope import Draft, Envelope, Recorded
from dominie_contracts.problems import (
    ApprovalRequired,
    BudgetExceeded,
    Conflict,
    DeadlineExceeded,
    Diverged,
    Forbidden,
    Held,
    Invalid,
    Problem,
    ProblemDetails,
    QuotaExceeded,
    ReviewRequired,
    ToolFailed,
    Unauthenticated,
    Unavailable,
)
from dominie_contracts.subjects import CommandSubject, StreamName
from dominie_contracts.token import Grants, RunClaims

__all__ = [
    "ApprovalRequired",
    "BudgetExceeded",
    "Command",
    "CommandSubject",
    "Conflict",
    "DeadlineExceeded",
    "Diverged",
    "Draft",
    "Envelope",
    "Forbidden",
    "Grants",
    "Held",
    "Invalid",
    "Message",
    "Payload",
    "Problem",
    "ProblemDetails",
    "QuotaExceeded",
    "Recorded",
    "ReviewRequired",
    "RunClaims",
    "StreamName",
    "ToolFailed",
    "Unauthenticated",
    "Unavailable",
]
