"""The run token: minted when it is first needed, renewed in time, shared by everything the run does."""

import asyncio
import time
import uuid

from dominie._ask import Question, ask
from dominie._link import Link
from dominie_contracts import Unavailable
from dominie_contracts.problems import DeadlineExceeded
from dominie_contracts.runs import MintRunToken, RunToken

RENEW_S = 60.0
GRACE_S = 5.0
"""A token that lasts so much longer is used on when identity is away."""
TRY_S = 2.0


class RunTokens:
    """The current token of one run."""

    def __init__(self, link: Link, mint: MintRunToken) -> None:
        self._link = link
        self._mint = mint
        self._token: RunToken | None = None
        self._renew_at_s = 0.0
        self._one = asyncio.Lock()

    async def current(self, timeout_s: float) -> str:
        """A token that is still good.

        Raises:
            Problem: Identity refuses, or is away for longer than the last token lasts.
        """
        if self._token is None or time.time() >= self._renew_at_s:
            async with self._one:
                if self._token is None or time.time() >= self._renew_at_s:
                    await self._refresh(timeout_s)
        assert self._token is not None
        return self._token.token

    def drop(self, token: str) -> None:
        """Use this one no more: a service did not take it."""
        if self._token is not None and self._token.token == token:
            self._token = None

    def renew(self) -> None:
        """Ask for another before the next question: what it may spend may be more by now."""
        self._renew_at_s = 0.0

    def take(self, token: RunToken, max_cost_usd: float | None) -> None:
        """Use this one, and ask for as much from now on: what the run began with is no longer all that it may spend."""
        if max_cost_usd is not None and self._mint.max_cost_usd is not None:
            self._mint = self._mint.model_copy(update={"max_cost_usd": max_cost_usd})
        self._hold(token)

    async def _refresh(self, timeout_s: float) -> None:
        left_s = self._token.expires_s - time.time() if self._token else 0.0
        usable = left_s > GRACE_S
        question = Question(
            command=self._mint, key=uuid.uuid4().hex, timeout_s=min(TRY_S, timeout_s) if usable else timeout_s
        )
        try:
            token, _ = await ask(self._link, question, RunToken)
            self._mint = self._mint.model_copy(update={"subject_token": None})  # it is shown once, and short-lived
        except (Unavailable, DeadlineExceeded):
            if not usable:
                raise
            self._renew_at_s = time.time() + min(GRACE_S, left_s / 2)
        else:
            self._hold(token)

    def _hold(self, token: RunToken) -> None:
        self._token = token
        self._renew_at_s = token.expires_s - min(RENEW_S, (token.expires_s - time.time()) / 2)
