"""What was found out of a machine, for as long as that holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from dominie_contracts.tool import Backend
from dominie_tool.sandbox.values import Fault, Host

_AGAIN_S = 60.0


@dataclass(slots=True)
class Known:
    """What each back end builds a box with here, or why it cannot.

    What is whole holds for this process. What was missing, a layer or a cgroup that there might be, is looked for again
    after a minute: a box may have been too slow on a busy machine.

    Attributes:
        look: Finds it out.
        whole: Whether a better host cannot come of looking again.
        now: The clock, in seconds.
    """

    look: Callable[[Backend, str], Host | Fault]
    whole: Callable[[Host], bool]
    now: Callable[[], float] = time.monotonic
    _found: dict[tuple[Backend, str], tuple[float, Host | Fault]] = field(default_factory=dict)
    _one_at_a_time: Lock = field(default_factory=Lock)

    def get(self, backend: Backend, runsc: str) -> Host | Fault:
        """What was found, or is found now."""
        with self._one_at_a_time:
            known = self._found.get((backend, runsc))
            if known is None or self.now() > known[0]:
                found = self.look(backend, runsc)
                holds = isinstance(found, Host) and self.whole(found)
                known = self._found[backend, runsc] = (float("inf") if holds else self.now() + _AGAIN_S, found)
            return known[1]
