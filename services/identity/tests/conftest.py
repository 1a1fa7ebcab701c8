"""A broker, and identity running on it as the runner runs it; a connection as each kind of caller."""

import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from joserfc import jwt
from nats.aio.client import Client
from nats.errors import Error

from dominie.keys import KeyPair
from dominie_contracts import Command, Message, ProblemDetails, headers
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.problems import problem_from
from dominie_contracts.subjects import CommandSubject, inbox_prefix, service_subject
from dominie_contracts.token import CONNECT_AUDIENCE, Grants
from dominie_identity import build
from dominie_identity.settings import Settings
from dominie_kit import Service
from dominie_kit.broker import EmbeddedBroker, connect_operator, provision
from dominie_kit.keys import KeyFolder

R = TypeVar("R", bound=Message)
WAIT_S = 5.0


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def assertion(keys: KeyPair, tenant: str, principal: str) -> str:
    """What a principal connects with."""
    now = int(time.time())
    claims = {"sub": principal, "tenant": tenant, "aud": CONNECT_AUDIENCE, "iat": now, "exp": now + 60}
    return jwt.encode({"alg": "Ed25519"}, claims, keys.jwk, algorithms=["Ed25519"])


@dataclass
class Peer:
    """A connection as one principal, or as the operator."""

    client: Client
    tenant: str = ""
    principal: str = ""
    refused: list[str] = field(default_factory=list)

    async def ask(self, command: Command, reply: type[R], *, key: str | None = None) -> R:
        service, name = command.NAME.split(".")
        subject = (
            str(CommandSubject(self.tenant, self.principal, service, name))
            if self.principal
            else service_subject(service, name)
        )
        sent = {headers.KEY: key or uuid.uuid4().hex}
        answer = await self.client.request(subject, command.model_dump_json().encode(), timeout=WAIT_S, headers=sent)
        if headers.PROBLEM in (answer.headers or {}):
            raise problem_from(ProblemDetails.model_validate_json(answer.data))
        return reply.model_validate_json(answer.data)


@asynccontextmanager
async def connected(url: str, keys: KeyPair, tenant: str, principal: str) -> AsyncIterator[Peer]:
    """A connection as a principal; raises `nats.errors.Error` where the broker refuses it."""
    peer = Peer(Client(), tenant, principal)

    async def note(error: Exception) -> None:
        peer.refused.append(str(error))

    try:
        await peer.client.connect(
            url,
            nkeys_seed_str=keys.seed,
            token=assertion(keys, tenant, principal),
            inbox_prefix=inbox_prefix(tenant, principal).encode(),
            allow_reconnect=False,
            error_cb=note,
        )
        yield peer
    finally:
        await peer.client.close()


async def is_refused(url: str, keys: KeyPair, tenant: str, principal: str) -> bool:
    """Whether the broker refuses a connection."""
    try:
        async with connected(url, keys, tenant, principal):
            return False
    except (Error, OSError):
        return True


@dataclass
class House:
    """A broker with identity on it, and the operator."""

    url: str
    keys: KeyFolder
    settings: Settings
    operator: Peer

    async def register(self, principal: str, *, tenant: str = "acme", **more: object) -> KeyPair:
        """Register a principal as the operator; returns its key."""
        pair = KeyPair.generate()
        command = Register.model_validate({"principal": principal, "nkey": pair.public, "tenant": tenant, **more})
        await self.operator.ask(command, PrincipalView)
        return pair


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Service]:
    """Identity, running in this loop."""
    service = build(settings)
    async with service.running():
        await service.broker.start()
        service.ready()
        try:
            yield service
        finally:
            await service.broker.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    keys = KeyFolder(tmp_path_factory.mktemp("keys")).create()
    with EmbeddedBroker(keys, tmp_path_factory.mktemp("broker")) as running:
        yield running
