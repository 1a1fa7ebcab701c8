"""The broker's auth callout: for each connection, who is this, and what may it do? (NATS ADR-26)

Any doubt is a refusal. Several instances answer from one queue group; a live connection needs none of them.
"""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import anyio
import anyio.lowlevel
import nats.errors
import structlog
from anyio.abc import TaskGroup
from nats.aio.msg import Msg
from pydantic import BaseModel, ConfigDict, JsonValue

from dominie.keys import KeyPair
from dominie.returning import Returning
from dominie_contracts.identity import Registered
from dominie_contracts.rights import Rights
from dominie_contracts.subjects import broker_urls
from dominie_identity.adapters.assertion import ConnectOptions, Proofs, Proven, Refused, Undecided
from dominie_identity.adapters.nats_jwt import decode, encode
from dominie_identity.adapters.permissions import Permissions
from dominie_identity.adapters.system_account import ACCOUNT
from dominie_identity.warden.crowds import Connection, Crowds, Who

SUBJECT = "$SYS.REQ.USER.AUTH"
REQUEST_AUDIENCE = "nats-authorization-request"
_QUEUE = "identity"
_TRIES = 3
log = structlog.get_logger()


class _Server(BaseModel):
    model_config = ConfigDict(frozen=True)
    id: str


class _ClientInfo(BaseModel):
    model_config = ConfigDict(frozen=True)
    id: int = 0
    nonce: str = ""


class Request(BaseModel):
    """The `nats` part of the broker's question."""

    model_config = ConfigDict(frozen=True)

    server_id: _Server
    user_nkey: str
    client_info: _ClientInfo
    connect_opts: ConnectOptions


class Uncounted(Exception):
    """Raised where it is to be counted first how many connections a principal has."""

    def __init__(self, who: Who) -> None:
        super().__init__("/".join(who))
        self.who = who


class Counts(Protocol):
    """Asks the servers; see `SystemAccount.count`."""

    async def __call__(self, tenant: str, principal: str, *, most: int) -> frozenset[Connection] | None:
        """The connections of a principal."""
        ...


class Callout:
    """Answers the broker, over a connection of its own in the account AUTH."""

    def __init__(
        self,
        url: str,
        user: KeyPair,
        issuer: KeyPair,
        *,
        proofs: Proofs,
        permissions: Permissions,
        crowds: Crowds,
        count: Counts,
        rights_s: float,
        on_refused: Callable[[str, str], None] = lambda who, why: None,
    ) -> None:
        self.admitted = 0
        self.refused: Counter[str] = Counter()
        self._url = url
        self._user = user
        self._issuer = issuer
        self._proofs = proofs
        self._permissions = permissions
        self._crowds = crowds
        self._count = count
        self._counting: dict[Who, anyio.Event] = {}
        self._group: TaskGroup | None = None
        self._rights_s = rights_s
        self._on_refused = on_refused
        self._client = Returning()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Hold the connection; it comes back by itself when the broker does."""
        await self._client.connect(
            broker_urls(self._url),
            nkeys_seed_str=self._user.seed,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds; a part of one is fine
            connect_timeout=5,
            name="identity-callout",
            error_cb=_note_error,
            disconnected_cb=self._lost,
        )
        try:
            yield
        finally:
            with suppress(OSError, nats.errors.Error):  # the broker may be gone already
                await self._client.close()

    async def run(self) -> None:
        """Answer for as long as the service lives; begun when the read models have caught up."""
        async with anyio.create_task_group() as self._group:
            await self._client.subscribe(SUBJECT, queue=_QUEUE, cb=self._take)
            await anyio.sleep_forever()

    async def _lost(self) -> None:
        self._crowds.forget()

    async def _take(self, message: Msg) -> None:
        try:
            answer = self.answer(message.data, now_s=time.time())
        except Uncounted as uncounted:
            assert self._group is not None
            self._group.start_soon(self._take_counted, message, uncounted.who)
        else:
            await self._send(message, answer)

    async def _take_counted(self, message: Msg, who: Who) -> None:
        """Answer when it has been counted, beside those that need no count; silence is a refusal to try again."""
        for _ in range(_TRIES):
            await self._counted(who)
            try:
                await self._send(message, self.answer(message.data, now_s=time.time()))
                return
            except Uncounted:
                continue

    async def _counted(self, who: Who) -> None:
        """Have a principal's connections counted, once for all who wait for it."""
        if (counting := self._counting.get(who)) is not None:
            await counting.wait()
            return
        counting = self._counting[who] = anyio.Event()
        try:
            found = await self._count(*who, most=self._crowds.most + 1)
            self._crowds.counted(who, found, time.time())
        finally:
            del self._counting[who]
            counting.set()

    async def _send(self, message: Msg, answer: bytes | None) -> None:
        try:
            if answer is not None:
                await message.respond(answer)
                await (
                    anyio.lowlevel.checkpoint()
                )  # nats-py would not send the first answer before the last of a thousand is written
        except Exception as error:
            self.refused["failed"] += 1
            log.exception("callout.failed", error=type(error).__name__)

    def answer(self, data: bytes, *, now_s: float) -> bytes | None:
        """The answer to one question of the broker; None to what is none, or cannot be decided now.

        Raises:
            Uncounted: It has to be counted first who is connected.
        """
        try:
            request = _read(data)
        except ValueError as error:
            self.refused["no question"] += 1
            log.warning("callout.dropped", error=type(error).__name__)
            return None
        try:
            proven = self._proofs.check(request.connect_opts, request.client_info.nonce, now_s=now_s)
            self._check_crowd(proven.registered, request, now_s=now_s)
            user = self._user_token(proven, request, now_s=now_s)
        except Undecided as undecided:  # the broker refuses it in a while, and the client tries again
            self.refused["undecided"] += 1
            self._on_refused(undecided.who, "its cluster is away")
            return None
        except Refused as refused:
            self.refused[refused.why] += 1
            self._on_refused(refused.who, refused.why)
            return self._respond(request, error=refused.why)
        except Uncounted:
            raise
        except Exception as error:
            self.refused["failed"] += 1
            log.exception("callout.failed", error=type(error).__name__)
            return self._respond(request, error="failed")
        self.admitted += 1
        return self._respond(request, jwt=user)

    def _check_crowd(self, registered: Registered, request: Request, *, now_s: float) -> None:
        who, connection = (registered.tenant, registered.principal), (request.server_id.id, request.client_info.id)
        match self._crowds.admit(who, connection, now_s):
            case "count":
                raise Uncounted(who)
            case "no":
                raise Refused("too many connections", "/".join(who))
            case "yes":
                return

    def _user_token(self, proven: Proven, request: Request, *, now_s: float) -> str:
        registered = proven.registered
        rights = self._permissions.of(registered)
        ends_s = min(now_s + self._rights_s, proven.until_s)
        return encode(
            {
                "sub": request.user_nkey,
                "aud": ACCOUNT,
                "name": f"{registered.tenant}/{registered.principal}",
                "exp": math.ceil(ends_s),
                "nats": {
                    **_permissions(rights),
                    "subs": -1,  # the server takes no limits from these tokens, its configuration has them
                    "data": -1,
                    "payload": -1,
                    "type": "user",
                    "version": 2,
                },
            },
            self._issuer,
        )

    def _respond(self, request: Request, **outcome: str) -> bytes:
        body: dict[str, JsonValue] = {"type": "authorization_response", "version": 2, **outcome}
        return encode({"sub": request.user_nkey, "aud": request.server_id.id, "nats": body}, self._issuer).encode()


def _read(data: bytes) -> Request:
    """The broker's question.

    Raises:
        ValueError: It is not a server's, or none.
    """
    claims = decode(data.decode())
    if claims.get("aud") != REQUEST_AUDIENCE or not str(claims.get("iss")).startswith("N"):
        raise ValueError("not a server's question")
    return Request.model_validate(claims.get("nats"))


def _permissions(rights: Rights) -> dict[str, JsonValue]:
    """The broker's form; an empty list would allow everything."""
    return {"pub": _only(rights.publish), "sub": _only(rights.subscribe)}


def _only(subjects: tuple[str, ...]) -> JsonValue:
    return {"allow": list(subjects)} if subjects else {"deny": [">"]}


async def _note_error(error: Exception) -> None:
    log.warning("callout.bus", error=str(error) or type(error).__name__)
