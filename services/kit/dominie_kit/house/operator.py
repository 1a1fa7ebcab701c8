"""What the operator asks of services, over a connection of its own."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import nats.errors
from nats.aio.client import Client

from dominie_contracts import Command, Message, ProblemDetails, Unavailable, headers
from dominie_contracts.problems import problem_from
from dominie_contracts.subjects import service_subject
from dominie_kit.house.broker import connect_operator
from dominie_kit.keys.folder import KeyFolder

R = TypeVar("R", bound=Message)
ATTEMPT_S = 2.0


class Operator:
    """Sends commands to services as the operator.

    Attributes:
        client: The connection, which hears heartbeats too.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(
        self, command: Command, reply: type[R], *, service: str | None = None, timeout_s: float = ATTEMPT_S
    ) -> R:
        """Send a command once and wait for its answer.

        Args:
            command: What is asked.
            reply: What the answer must be.
            service: Whom to ask, where every service answers the command.
            timeout_s: How long to wait.

        Raises:
            Problem: What the service answered; `Unavailable` if it did not.
        """
        owner, _, name = command.NAME.rpartition(".")
        target = service or owner
        sent = {headers.KEY: uuid.uuid4().hex, headers.DEADLINE: str(int(timeout_s * 1000))}
        try:
            answer = await self.client.request(
                service_subject(target, name), command.model_dump_json().encode(), timeout=timeout_s, headers=sent
            )
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"{target} does not answer: `dominie status` says more") from error
        if headers.PROBLEM in (answer.headers or {}):
            raise problem_from(ProblemDetails.model_validate_json(answer.data))
        return reply.model_validate_json(answer.data)


@asynccontextmanager
async def operator(nats_url: str, keys: KeyFolder) -> AsyncIterator[Operator]:
    """The operator, connected.

    Raises:
        BrokerFailed: The broker is away, or does not know this operator.
    """
    client = await connect_operator(nats_url, keys)
    try:
        yield Operator(client)
    finally:
        await client.close()
