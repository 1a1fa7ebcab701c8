"""What tests of a service on a real broker stand on: a house without services, raw connections, a service in this loop.

Nothing here goes through the sdk, so that a test can do what the sdk would not.
"""

import base64
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio
from joserfc import jwt
from nats.aio.client import Client
from nats.errors import Error

from dominie.keys import KeyPair
from dominie.returning import Returning
from dominie_contracts import Command, Message, ProblemDetails, headers
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.problems import problem_from
from dominie_contracts.subjects import CommandSubject, inbox_prefix, service_subject
from dominie_contracts.token import CONNECT_AUDIENCE
from dominie_kit.edge.run_tokens import ALGORITHM
from dominie_kit.house.broker import EmbeddedBroker, connect_operator, provision
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.service import Service

R = TypeVar("R", bound=Message)
WAIT_S = 20.0
ASSERTION_S = 60
SPONSOR = "u-sponsor"


def assertion(keys: KeyPair, tenant: str, principal: str, /, **changed: object) -> str:
    """What a principal connects with; `changed` claims replace the right ones."""
    now = int(time.time())
    claims = {"sub": principal, "tenant": tenant, "aud": CONNECT_AUDIENCE, "iat": now, "exp": now + ASSERTION_S}
    return jwt.encode({"alg": ALGORITHM}, {**claims, **changed}, keys.jwk, algorithms=[ALGORITHM])


@dataclass(slots=True)
class Peer:
    """One raw connection, as a principal or as the operator, and what the broker refused on it."""

    client: Client
    tenant: str = ""
    principal: str = ""
    refused: list[str] = field(default_factory=list)
    ended: anyio.Event = field(default_factory=anyio.Event)
    """Set when the connection has ended, whoever ended it."""

    async def ask(
        self,
        command: Command,
        reply: type[R],
        *,
        resource: str | None = None,
        key: str | None = None,
        token: str | None = None,
        timeout_s: float = WAIT_S,
    ) -> R:
        """Send a command once and wait for its answer.

        Raises:
            Problem: What the service answered.
            nats.errors.Error: Nobody answered.
        """
        sent = {headers.KEY: key or uuid.uuid4().hex, **({headers.TOKEN: token} if token else {})}
        body = command.model_dump_json().encode()
        answer = await self.client.request(self._subject(command, resource), body, timeout=timeout_s, headers=sent)
        if headers.PROBLEM in (answer.headers or {}):
            raise problem_from(ProblemDetails.model_validate_json(answer.data))
        return reply.model_validate_json(answer.data)

    async def may_publish(
        self, subject: str, body: bytes = b"{}", *, reply: str = "", sent: Mapping[str, str] | None = None
    ) -> bool:
        """Publish, and say whether the broker let it through."""
        before = len(self.refused)
        await self.client.publish(subject, body, reply=reply, headers=dict(sent) if sent else None)
        await self.client.flush()
        return len(self.refused) == before

    async def may_subscribe(self, subject: str) -> bool:
        """Subscribe, and say whether the broker allowed it."""
        before = len(self.refused)
        await self.client.subscribe(subject)
        await self.client.flush()
        return len(self.refused) == before

    def _subject(self, command: Command, resource: str | None) -> str:
        service, name = command.NAME.split(".")
        if self.principal:
            return str(CommandSubject(self.tenant, self.principal, service, name, resource))
        return service_subject(service, name)


@asynccontextmanager
async def connected(
    url: str,
    keys: KeyPair | None,
    tenant: str,
    principal: str,
    *,
    token: str | None = None,
) -> AsyncIterator[Peer]:
    """A connection as a principal; it never reconnects.

    Args:
        url: The broker's address.
        keys: The key that answers the broker's challenge; None leaves it unanswered.
        tenant: The principal's tenant.
        principal: Who connects.
        token: What to show instead of a right assertion; empty for nothing.

    Raises:
        nats.errors.Error, OSError: The broker refuses it.
    """
    shown = token
    if shown is None and keys is not None:
        shown = assertion(keys, tenant, principal)
    peer = Peer(Returning(), tenant, principal)

    async def note(error: Exception) -> None:
        peer.refused.append(str(error))

    async def end() -> None:
        peer.ended.set()

    try:
        await peer.client.connect(
            url,
            nkeys_seed_str=keys.seed if keys else None,
            token=shown or None,
            inbox_prefix=inbox_prefix(tenant, principal).encode(),
            allow_reconnect=False,
            error_cb=note,
            closed_cb=end,
        )
        yield peer
    finally:
        await peer.client.close()


class RawConnection:
    """A connection without a client's manners: it writes as fast as the broker reads, and reads nothing.

    What it says of itself may be `changed`: its name, its version.

    Raises:
        OSError: The broker refuses it.
    """

    def __init__(self, url: str, keys: KeyPair, tenant: str, principal: str, **changed: object) -> None:
        host, _, port = url.removeprefix("nats://").rpartition(":")
        self._socket = socket.create_connection((host, int(port)), WAIT_S)
        try:
            self._introduce(keys, assertion(keys, tenant, principal), changed)
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes) -> None:
        """Write; raises OSError once the broker has ended the connection."""
        self._socket.sendall(data)

    def until_pong(self) -> None:
        """Read until the broker has answered a PING, and so has read all that was sent before."""
        while not (line := self._line()).startswith(b"PONG"):
            if not line:
                raise ConnectionResetError("the broker has ended it")

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _introduce(self, keys: KeyPair, token: str, changed: Mapping[str, object]) -> None:
        info = json.loads(self._line().removeprefix(b"INFO "))
        signature = base64.urlsafe_b64encode(keys.sign(info["nonce"].encode())).decode().rstrip("=")
        who = {"auth_token": token, "nkey": keys.public, "sig": signature}
        said = {**who, "verbose": False, "pedantic": False, "headers": True, "lang": "raw", "version": "1", "name": ""}
        self.send(f"CONNECT {json.dumps({**said, **changed})}\r\nPING\r\n".encode())
        while not (line := self._line()).startswith(b"PONG"):
            if not line or line.startswith(b"-ERR"):
                raise ConnectionRefusedError(line.decode())

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = self._socket.recv(1)
            if not byte:
                return b""
            line += byte
        return line


async def is_refused(url: str, keys: KeyPair | None, tenant: str, principal: str, *, token: str | None = None) -> bool:
    """Whether the broker refuses a connection."""
    try:
        async with connected(url, keys, tenant, principal, token=token):
            return False
    except (Error, OSError):
        return True


@dataclass(slots=True)
class House:
    """A broker with its event stream, and the operator; services are added with `serving`."""

    broker: EmbeddedBroker
    keys: KeyFolder
    operator: Peer
    _sponsor: KeyPair = field(default_factory=KeyPair.generate)

    @property
    def url(self) -> str:
        """The broker's address."""
        return self.broker.url

    async def register(self, principal: str, *, tenant: str = "acme", **more: object) -> KeyPair:
        """Register a principal as the operator, where identity is served; returns its key.

        An agent whose sponsor is not named gets one.
        """
        if principal.startswith("a-") and "sponsor" not in more:
            more["sponsor"] = SPONSOR
            await self._register(SPONSOR, self._sponsor, tenant)
        keys = KeyPair.generate()
        await self._register(principal, keys, tenant, **more)
        return keys

    async def _register(self, principal: str, keys: KeyPair, tenant: str, **more: object) -> None:
        command = Register.model_validate({"principal": principal, "nkey": keys.public, "tenant": tenant, **more})
        await self.operator.ask(command, PrincipalView)


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """Everything but services: keys, broker, event stream, operator."""
    keys = KeyFolder(folder / "keys").create()
    with EmbeddedBroker(keys, folder / "broker") as broker:
        await provision(broker.url, keys)
        client = await connect_operator(broker.url, keys)
        try:
            yield House(broker, keys, Peer(client))
        finally:
            with suppress(OSError):
                await client.close()


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Service]:
    """Run a service in this loop, as the runner does."""
    async with service.running():
        yield service
