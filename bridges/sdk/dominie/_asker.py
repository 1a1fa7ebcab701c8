"""How a run asks: with its token, under a key, after what it has seen, in one trace."""

import hashlib
import itertools
import secrets
import time
from typing import TypeVar

from dominie._artifacts import Artifacts
from dominie._ask import Question, ask
from dominie._keys import Occurrences
from dominie._link import Link
from dominie._tokens import RunTokens
from dominie_contracts import BudgetExceeded, Command, Message, Unauthenticated, headers
from dominie_contracts.runs import MintRunToken, RunToken

R = TypeVar("R", bound=Message)


class Asker:
    """Asks on behalf of one run."""

    def __init__(self, link: Link, mint: MintRunToken, timeout_s: float) -> None:
        self.link = link
        self.agent = link.credentials.principal
        self.user = mint.user
        self.run = mint.run
        self.steps = Occurrences(mint.run)
        self.artifacts = Artifacts(self.ask)
        self.position = 0
        self._timeout_s = timeout_s
        self._tokens = RunTokens(link, mint)
        self._trace = hashlib.sha256(f"{link.credentials.tenant}\0{mint.run}".encode()).hexdigest()[:32]
        self._spans = itertools.count(secrets.randbits(63))

    def take(self, token: RunToken, max_cost_usd: float | None) -> None:
        """Go on with a token that allows more, and what the run may spend."""
        self._tokens.take(token, max_cost_usd)

    async def ask(
        self,
        command: Command,
        reply: type[R],
        *,
        key: str,
        resource: str | None = None,
        timeout_s: float | None = None,
    ) -> R:
        """Ask one command; a token that is not taken any more is replaced once."""
        try:
            return await self._ask(command, reply, key, resource, timeout_s)
        except Unauthenticated:
            return await self._ask(command, reply, key, resource, timeout_s)

    async def _ask(
        self, command: Command, reply: type[R], key: str, resource: str | None, timeout_s: float | None
    ) -> R:
        until_s = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        token = await self._tokens.current(until_s - time.monotonic())
        question = Question(
            command=command,
            key=key,
            timeout_s=until_s - time.monotonic(),
            resource=resource,
            headers=self._headers(token),
        )
        try:
            found, position = await ask(self.link, question, reply)
        except Unauthenticated:
            self._tokens.drop(token)
            raise
        except BudgetExceeded as spent:
            if "run" in spent.extra:  # its ceiling, or that of a run that it is part of
                self._tokens.renew()
            raise
        self.position = max(self.position, position)
        return found

    def _headers(self, token: str) -> dict[str, str]:
        after = {headers.AFTER: str(self.position)} if self.position else {}
        span = f"00-{self._trace}-{next(self._spans):016x}-01"
        return {headers.TOKEN: token, headers.TRACEPARENT: span, **after}
