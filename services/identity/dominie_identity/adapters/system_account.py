"""The broker's system account: who is connected, and the way out. Identity may ask for that there, and nothing else.

Every node of a cluster hears what is asked of all, and answers for itself.
"""

import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import anyio
import nats.errors
import structlog
from nats.aio.msg import Msg

from dominie.keys import KeyPair
from dominie.returning import Returning
from dominie_contracts.rights import WARDEN
from dominie_contracts.subjects import broker_urls, service_inbox_prefix
from dominie_identity.warden.crowds import Connection
from dominie_identity.warden.flooding import Connected
from dominie_identity.warden.rounds import PAGE, Page

ACCOUNT = "APP"
"""Where everybody is placed."""
MOST = 1024
"""Connections of one principal that an answer lists."""
_INBOX = service_inbox_prefix(WARDEN)
_LOOK, _OF, _COUNT, _KICKED = (f"{_INBOX}.{name}" for name in ("look", "of", "count", "kicked"))
_COUNT_S = 0.5
_REQUEST = "$SYS.REQ.SERVER"
log = structlog.get_logger()


class SystemAccount:
    """Holds the connection; pages go to `on_page`, what is asked of one principal to `on_found`."""

    def __init__(self, url: str, user: KeyPair) -> None:
        self.on_page: Callable[[Page], None] = lambda page: None
        self.on_found: Callable[[Page], None] = lambda page: None
        self._url = url
        self._user = user
        self._client = Returning()
        self._counts: dict[str, _Count] = {}
        self._servers = 1

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Hold the connection; it comes back by itself when the broker does."""
        await self._client.connect(
            broker_urls(self._url),
            nkeys_seed_str=self._user.seed,
            inbox_prefix=_INBOX.encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds; a part of one is fine
            connect_timeout=5,
            name="identity-warden",
            error_cb=_note_error,
            pending_size=0,
        )
        try:
            await self._client.subscribe(_LOOK, cb=self._take_page)
            await self._client.subscribe(_OF, cb=self._take_found)
            await self._client.subscribe(f"{_COUNT}.*", cb=self._take_count)
            yield
        finally:
            with suppress(OSError, nats.errors.Error):  # the broker may be gone already
                await self._client.close()

    async def look(self, *, server: str = "PING", offset: int = 0) -> None:
        """Ask every server, or one, for a page of its connections: who sent last comes first."""
        await self._ask(server, {"sort": "last", "limit": PAGE, "offset": offset}, reply=_LOOK)

    async def find(self, tenant: str, principal: str) -> None:
        """Ask every server for the connections of one principal."""
        await self._ask("PING", {"user": f"{tenant}/{principal}", "limit": MOST}, reply=_OF)

    async def count(self, tenant: str, principal: str, *, most: int) -> frozenset[Connection] | None:
        """The connections of one principal, `most` at each server; None where no server answers."""
        if not self._client.is_connected:
            return None
        number = uuid.uuid4().hex
        count = self._counts[number] = _Count()
        try:
            asked: dict[str, object] = {"user": f"{tenant}/{principal}", "limit": most}
            await self._ask("PING", asked, reply=f"{_COUNT}.{number}")
            with anyio.move_on_after(_COUNT_S):
                while len(count.servers) < self._servers:
                    await count.heard.wait()
                    count.heard = anyio.Event()
            self._servers = max(1, len(count.servers))
        finally:
            del self._counts[number]
        return frozenset(count.found) if count.servers else None

    async def _ask(self, server: str, asked: dict[str, object], *, reply: str) -> None:
        await self._publish(f"{_REQUEST}.{server}.CONNZ", {"auth": True, "acc": ACCOUNT, **asked}, reply=reply)

    async def kick(self, connection: Connected) -> None:
        """End a connection; the server ignores whoever wants no answer."""
        await self._publish(f"{_REQUEST}.{connection.server}.KICK", {"cid": connection.id}, reply=_KICKED)

    async def _publish(self, subject: str, body: object, *, reply: str) -> None:
        try:
            await self._client.publish(subject, json.dumps(body).encode(), reply=reply)
        except (nats.errors.Error, OSError) as error:  # the broker is away, and everybody with it
            log.debug("warden.unasked", error=repr(error))

    async def _take_page(self, message: Msg) -> None:
        if (page := _page(message)) is not None:
            self.on_page(page)

    async def _take_found(self, message: Msg) -> None:
        if (page := _page(message)) is not None:
            self.on_found(page)

    async def _take_count(self, message: Msg) -> None:
        page, count = _page(message), self._counts.get(message.subject.rpartition(".")[2])
        if page is not None and count is not None:
            count.servers.add(page.server)
            count.found |= {(each.server, each.id) for each in page.connections}
            count.heard.set()


@dataclass(slots=True)
class _Count:
    servers: set[str] = field(default_factory=set)
    found: set[Connection] = field(default_factory=set)
    heard: anyio.Event = field(default_factory=anyio.Event)


def _page(message: Msg) -> Page | None:
    try:
        return read_page(json.loads(message.data))
    except (ValueError, LookupError, TypeError) as error:
        log.warning("warden.unread", error=repr(error))
        return None


def read_page(answer: Any) -> Page:
    """A server's answer; whoever is no principal (a service, the operator) is only counted.

    Raises:
        ValueError, LookupError, TypeError: It is none.
    """
    found = answer["data"]
    server, at_s, listed = found["server_id"], _time(found["now"]), found.get("connections") or ()
    return Page(
        server,
        at_s,
        offset=int(found["offset"]),
        listed=len(listed),
        least_active_s=_time(listed[-1]["last_activity"]) if listed else at_s,
        connections=tuple(_connected(server, at_s, each) for each in listed if "/" in each.get("authorized_user", "")),
    )


def _connected(server: str, at_s: float, found: Any) -> Connected:
    tenant, _, principal = found["authorized_user"].partition("/")
    return Connected(
        server,
        int(found["cid"]),
        tenant,
        principal,
        int(found["in_msgs"]),
        int(found["in_bytes"]),
        since_s=_time(found["start"]),
        at_s=at_s,
        active_s=_time(found["last_activity"]),
    )


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def _note_error(error: Exception) -> None:
    log.warning("warden.bus", error=str(error) or type(error).__name__)
