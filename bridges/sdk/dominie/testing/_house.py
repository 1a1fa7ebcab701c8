"""A tiny house: it speaks the protocol of the services, and says what a test tells it to."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from dominie.testing._broker import lasting
from dominie_contracts import Command, CommandSubject, Invalid, Message, Problem, headers
from dominie_contracts.registry import COMMANDS
from dominie_contracts.runs import MintRunToken, RunToken


@dataclass(frozen=True)
class Asked:
    """One command as the house got it."""

    subject: CommandSubject
    command: Any
    headers: dict[str, str]

    @property
    def key(self) -> str:
        return self.headers[headers.KEY]


Handler = Callable[[Any, Asked], Message | Awaitable[Message | None] | None]


@dataclass
class House:
    """Answers commands by its handlers; one that is repeated while it is under way joins the first."""

    nats: Nats
    tasks: asyncio.TaskGroup
    handlers: dict[type[Command], Handler] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    position: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)
    flights: dict[tuple[type[Command], str], asyncio.Task[tuple[bytes, dict[str, str]] | None]] = field(
        default_factory=dict
    )

    def on(self, command: type[Command], handler: Handler) -> None:
        self.handlers[command] = handler

    def commands(self, kind: type[Command]) -> list[Asked]:
        return [asked for asked in self.asked if isinstance(asked.command, kind)]

    async def until(self, kind: type[Command], count: int = 1) -> None:
        """Wait until so many of these commands have come."""
        while len(self.commands(kind)) < count:
            self.came.clear()
            await self.came.wait()

    async def take(self, message: Msg) -> None:
        self.tasks.create_task(self._serve(message))

    async def _serve(self, message: Msg) -> None:
        subject = CommandSubject.parse(message.subject)
        kind = COMMANDS[f"{subject.service}.{subject.command}"]
        asked = Asked(subject, kind.model_validate_json(message.data), dict(message.headers or {}))
        self.asked.append(asked)
        self.came.set()
        flight = self.flights.get((kind, asked.key))
        if flight is None:
            flight = self.flights[kind, asked.key] = self.tasks.create_task(self._answer(asked))
            flight.add_done_callback(lambda _: self.flights.pop((kind, asked.key)))
        answer = await flight
        if answer is not None:
            await self.nats.publish(message.reply, answer[0], headers=answer[1])

    async def _answer(self, asked: Asked) -> tuple[bytes, dict[str, str]] | None:
        try:
            reply = self.handlers[type(asked.command)](asked.command, asked)
            if isinstance(reply, Awaitable):
                reply = await reply
        except Problem as problem:
            return problem.details.model_dump_json().encode(), {headers.PROBLEM: problem.type}
        if reply is None:
            return None
        self.position += 1
        return reply.model_dump_json().encode(), {headers.POSITION: str(self.position)}


def _mint(command: MintRunToken, asked: Asked) -> RunToken:
    if command.user == "u-nobody":
        raise Invalid("nobody is nobody")
    return RunToken(token=f"token-of-{command.run}", expires_s=int(time.time()) + 300, run=command.run)


@asynccontextmanager
async def keeping_house(url: str, seed: str | None = None) -> AsyncIterator[House]:
    """A house at a broker; it mints run tokens, and answers what else a test tells it to."""
    client = await lasting(url, nkeys_seed_str=seed)
    try:
        async with asyncio.TaskGroup() as tasks:
            found = House(client, tasks, {MintRunToken: _mint})
            await client.subscribe("cmd.>", cb=found.take)
            await client.flush()
            yield found
            for task in found.flights.values():
                task.cancel()
    finally:
        await client.close()
