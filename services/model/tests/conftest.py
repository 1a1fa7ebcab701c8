"""The model service on a log in memory, with a provider and a scheduler that only note what they are asked."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from dominie_contracts import Command, Message, Problem
from dominie_contracts.model import MODEL, Delta, Offer
from dominie_contracts.scheduler import AskPermit, Permit, Released, ReleasePermit
from dominie_kit.bus import Inner
from dominie_kit.context import Context
from dominie_kit.handler_testing import Desk
from dominie_model.adapters.provider import Chunk, ProviderError, ProviderRequest, ProviderResult, Target
from dominie_model.handlers import Handlers

R = TypeVar("R", bound=Message)
OFFERED = (Offer(name="auto", provider="openai/x", slots=2), Offer(name="fast", provider="openai/y", slots=1))


@dataclass
class FixedProvider:
    """Answers always the same; `fails` is raised, of a stream after its chunks."""

    words: tuple[str, ...] = ("Good", " day", ".")
    fails: ProviderError | None = None
    asked: list[ProviderRequest] = field(default_factory=list)
    closed: int = 0

    async def complete(self, request: ProviderRequest) -> ProviderResult:
        self.asked.append(request)
        if self.fails is not None:
            raise self.fails
        message = {"role": "assistant", "content": "".join(self.words)}
        return ProviderResult("c-1", request.target.model, message, "stop", 2, 3, 0.25)

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Chunk | ProviderResult, None]:
        try:
            for word in self.words:
                yield {"choices": [{"delta": {"content": word}}]}
            yield await self.complete(request)
        finally:
            self.closed += 1


class FixedScheduler(Inner):
    """The way to the scheduler: grants every permit, or refuses with `problem`."""

    def __init__(self) -> None:
        self.sent: list[AskPermit | ReleasePermit] = []
        self.keys: list[str | None] = []
        self.problem: Problem | None = None

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        assert isinstance(command, AskPermit)
        self.sent.append(command)
        self.keys.append(key)
        if self.problem is not None:
            raise self.problem
        found = Permit(permit=command.permit, waited_ms=7, lease_until_ms=9)
        assert isinstance(found, reply)
        return found

    async def tell(self, context: Context, command: Command, reply: type[R], *, key: str) -> None:
        assert isinstance(command, ReleasePermit) and reply is Released
        self.sent.append(command)
        self.keys.append(key)


@dataclass
class Out:
    """What was streamed to the agent."""

    deltas: list[Delta] = field(default_factory=list)

    async def send(self, context: Context, message: Message) -> None:
        assert isinstance(message, Delta)
        self.deltas.append(message)


@dataclass
class House:
    """One instance of the service and its surroundings."""

    desk: Desk
    provider: FixedProvider
    scheduler: FixedScheduler
    out: Out

    def handlers(self) -> Handlers:
        """Another instance at each call."""
        targets = {offer.name: Target(offer.provider) for offer in OFFERED}
        actions = self.desk.actions(MODEL)
        return Handlers(actions, self.scheduler, self.out.send, lambda: self.provider, targets, OFFERED, timeout_s=30)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def house() -> House:
    desk = Desk("model")
    await desk.publish()
    return House(desk, FixedProvider(), FixedScheduler(), Out())
