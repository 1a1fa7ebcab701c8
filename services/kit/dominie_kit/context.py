"""What is known of a command while it is handled."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dominie_contracts import DeadlineExceeded, RunClaims
from dominie_contracts.token import Fork, Grants
from dominie_kit.personal.sealing import PersonKey

ALL = 2**63 - 1
"""A position that no event has."""


@dataclass(frozen=True, slots=True)
class About:
    """The run that a person's command is about, and whose that is."""

    run: str
    user: str


@dataclass(slots=True, kw_only=True)
class Context:
    """One command: who asks, for whom, under which key, and how long it may take.

    `principal` is the agent, person or worker of the subject; `svc-{service}` for a command between services
    that carries no run token.
    """

    tenant: str
    principal: str
    key: str
    deadline: float
    """On the monotonic clock, in seconds."""
    resource: str | None = None
    claims: RunClaims | None = None
    token: str | None = None
    """The run token itself, to hand on."""
    person: PersonKey | None = field(default=None, repr=False)
    """The key of the user, which what is written for them is sealed under."""
    traceparent: str | None = None
    after: int = 0
    groups: tuple[str, ...] = ()
    """A person's groups."""
    about: About | None = None
    """What a person does about somebody's run is told in its trail, sealed under that user's key."""
    position: int = 0
    """Of the last event written for this command."""
    caught_up: Callable[[int, float], Awaitable[None]] | None = field(default=None, repr=False)
    _cause: str | None = field(default=None, init=False, repr=False)

    @property
    def user(self) -> str | None:
        """On whose behalf."""
        return self.claims.sub if self.claims else self.about.user if self.about else None

    @property
    def cause(self) -> str:
        """What the log calls the idempotency key, which a client may have made from what was said."""
        if self._cause is None:
            self._cause = self.person.digest(self.own_key)[:32] if self.person else self.own_key
        return self._cause

    @property
    def digests(self) -> bytes | None:
        """The key for digests of what the user said."""
        return self.person.digests if self.person else None

    @property
    def run(self) -> str | None:
        """The run's id."""
        return self.claims.run if self.claims else self.about.run if self.about else None

    @property
    def fork(self) -> Fork | None:
        """What the run was forked from, if it was."""
        return self.claims.fork if self.claims else None

    @property
    def own_key(self) -> str:
        """The key, that of a forked run apart from its parent's, whose keys it may repeat."""
        return self.key if self.fork is None else f"{self.run}\0{self.key}"

    @property
    def chain(self) -> str:
        """The principals that act, the outermost first."""
        return self.claims.chain if self.claims else self.principal

    @property
    def grants(self) -> Grants:
        """What the run token grants; nothing without one."""
        return self.claims.grants if self.claims else Grants()

    @property
    def left_s(self) -> float:
        """Seconds left.

        Raises:
            DeadlineExceeded: None are.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the time for this command ran out; ask again with the same key")
        return left

    async def read_your_writes(self) -> None:
        """Wait until this service's read models hold everything that the caller has seen (`Dominie-After`)."""
        if self.after and self.caught_up is not None:
            await self.caught_up(self.after, self.left_s)

    async def read_everything(self) -> None:
        """The same, for decisions by what the caller has seen: they may say less, so all that is stored counts."""
        if self.caught_up is not None:
            await self.caught_up(ALL, self.left_s)


def deadline_in(seconds: float) -> float:
    """A deadline so many seconds from now, on the monotonic clock."""
    return time.monotonic() + seconds
