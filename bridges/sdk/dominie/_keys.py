"""Idempotency keys: the same step of a run has the same key, in this process and after a restart.

(run, tool call id), else (run, tool, argument digest, occurrence); for model calls (run, model, message digest,
occurrence). An occurrence is used up by an outcome: a call that had none (it waits for a person, or nobody answered)
is the same step when it is made again.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from pydantic import JsonValue

from dominie_contracts import ApprovalRequired, DeadlineExceeded, Unavailable
from dominie_contracts.digests import digest_bytes, digest_json

MAX_KEY_CHARS = 200
_NO_OUTCOME = (ApprovalRequired, DeadlineExceeded, Unavailable)
_PLAIN = re.compile(r"[\x21-\x7e]+")


def plain(*parts: str) -> str:
    """The parts as one key; a digest of them where they do not fit into a header."""
    key = "/".join(parts)
    return key if len(key) <= MAX_KEY_CHARS and _PLAIN.fullmatch(key) else digest_bytes("\0".join(parts).encode())


@dataclass(frozen=True, slots=True)
class Step:
    """One step's key; as a context it gives the occurrence back where the step had no outcome."""

    key: str
    give_back: Callable[[], None] = lambda: None

    def __enter__(self) -> str:
        return self.key

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and (issubclass(kind, _NO_OUTCOME) or not issubclass(kind, Exception)):
            self.give_back()


@dataclass(slots=True)
class _Count:
    """How many equal steps there were, and which of their numbers were given back, the smallest first."""

    next: int = 0
    free: list[int] = field(default_factory=list)

    def take(self) -> int:
        if self.free:
            return heappop(self.free)
        self.next += 1
        return self.next - 1

    def give_back(self, number: int) -> None:
        if number not in self.free:
            heappush(self.free, number)


class Occurrences:
    """Counts the equal steps of one run."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._counts: defaultdict[str, _Count] = defaultdict(_Count)

    def take(self, what: str, value: Mapping[str, JsonValue]) -> Step:
        """The next occurrence of a step with this value."""
        base = plain(self._run, what, digest_json(value)[:32])
        count = self._counts[base]
        number = count.take()
        return Step(plain(base, str(number)), lambda: count.give_back(number))

    def call(self, tool_call_id: str) -> Step:
        """The step of a framework's tool call."""
        return Step(plain(self._run, "call", tool_call_id))
