"""What the gateway does for an HTTP client: it turns an API key into a run token, and asks the others with it."""

import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dominie_contracts import Command, Held, Message, Unauthenticated, Unavailable
from dominie_contracts.digests import digest_bytes
from dominie_contracts.judge import Review, Verdict
from dominie_contracts.keys import ExchangeApiKey
from dominie_contracts.model import Completion, ListModels, Models
from dominie_contracts.runs import RunToken
from dominie_contracts.subjects import PLATFORM
from dominie_eventstore import StoreUnavailable
from dominie_gateway.aggregate import Asked, Json, answer, final_text
from dominie_gateway.projection import Keys
from dominie_kit import Context

R = TypeVar("R", bound=Message)
MAX_JUDGED_CHARS = 100_000
_CACHE = 4096
_SPARE_S = 60
"""A run token is used while it lives at least this long."""


class Calls(Protocol):
    """The services, as `dominie_kit.bus.Inner` reaches them."""

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        """Ask; raises the other side's problem."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, in which run, and until when."""

    api_key: str
    run: str
    session: str | None = None
    key: str
    """The idempotency key."""
    deadline: float
    """On the monotonic clock, in seconds."""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion that may be shown, and what it cost."""

    completion: Json
    action: str
    cost_usd: float | None


class Handlers:
    """Answers a client's requests."""

    def __init__(self, services: Calls, keys: Keys, log_end: Callable[[], Awaitable[int]]) -> None:
        self._services = services
        self._keys = keys
        self._log_end = log_end
        self._tokens: OrderedDict[tuple[str, str, str | None], RunToken] = OrderedDict()

    async def chat(self, asked: Asked, caller: Caller) -> Answer:
        """A completion; one that ends the agent's turn is judged first.

        Raises:
            Problem: What a service refused with; `Held` where the judges kept the answer back.
        """
        context, found = await self._ask(asked.chat, Completion, caller)
        text = final_text(found.completion)
        if text:
            await self._review(text, context)
        return Answer(answer(found.completion), found.action, found.cost_usd)

    async def models(self, caller: Caller) -> Models:
        """The models that are offered; with a key that is known to hold, no run is opened to ask.

        Raises:
            Problem: What a service refused with.
        """
        if self._keys.hold(digest_bytes(caller.api_key.encode())):
            return await self._services.call(_context(caller, None), ListModels(), Models)
        _, found = await self._ask(ListModels(), Models, caller)
        return found

    async def _review(self, text: str, context: Context) -> None:
        if len(text) > MAX_JUDGED_CHARS:
            raise Held(f"the answer has {len(text)} characters; more than {MAX_JUDGED_CHARS} cannot be judged")
        try:
            context.after = await self._log_end()  # the judges weigh the answer against all that the run has done
        except StoreUnavailable as error:
            raise Unavailable(f"the log is away: {error}", retry_after_s=1) from error
        verdict = await self._services.call(context, Review(output=text), Verdict)
        if verdict.verdict != "released":
            why = "; ".join(vote.why for vote in verdict.votes if vote.vote == "reject" and vote.why)
            votes = [vote.model_dump(mode="json") for vote in verdict.votes]
            raise Held(f"the judges held the answer back: {why or 'no quorum'}", action=verdict.action, votes=votes)

    async def _ask(self, command: Command, reply: type[R], caller: Caller) -> tuple[Context, R]:
        """Ask with the caller's run token; one that a service no longer takes is exchanged once more."""
        name = (digest_bytes(caller.api_key.encode()), caller.run, caller.session)
        cached = self._cached(name)
        if cached is not None:
            context = _context(caller, cached.token)
            try:
                return context, await self._services.call(context, command, reply)
            except Unauthenticated:
                self._tokens.pop(name, None)
        context = _context(caller, (await self._exchange(name, caller)).token)
        return context, await self._services.call(context, command, reply)

    def _cached(self, name: tuple[str, str, str | None]) -> RunToken | None:
        found = self._tokens.get(name)
        fresh = found is not None and found.expires_s - time.time() >= _SPARE_S
        return found if fresh and self._keys.hold(name[0]) else None

    async def _exchange(self, name: tuple[str, str, str | None], caller: Caller) -> RunToken:
        command = ExchangeApiKey(key=caller.api_key, run=caller.run, session=caller.session)
        token = await self._services.call(_context(caller, None), command, RunToken, key=uuid.uuid4().hex)
        self._tokens[name] = token
        if len(self._tokens) > _CACHE:
            self._tokens.popitem(last=False)
        return token


def _context(caller: Caller, token: str | None) -> Context:
    return Context(
        tenant=PLATFORM,
        principal="svc-gateway",
        key=caller.key,
        deadline=caller.deadline,
        token=token,
        traceparent=caller.traceparent,
    )
