"""The broker's system account: who is connected, and the way out. Identity may ask for that there, and nothing else.

Every node of a cluster hears what is asked of all, and answers for itself.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from dominie.keys import KeyPair
from dominie_contracts.rights import WARDEN
from dominie_contracts.subjects import broker_urls, service_inbox_prefix
from dominie_identity.warden.flooding import Connected

ACCOUNT = "APP"
"""Where everybody is placed."""
MOST = 256
"""Connections that one answer lists: those that sent most."""
_INBOX = service_inbox_prefix(WARDEN)
_REQUEST = "$SYS.REQ.SERVER"
Sort = Literal["msgs_from", "bytes_from"]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Census:
    """What one server says of its connections; of all of them where `total` are no more than it lists."""

    total: int
    connections: tuple[Connected, ...]


class SystemAccount:
    """Holds the connection; answers go to `heard`."""

    def __init__(self, url: str, user: KeyPair) -> None:
        self.heard: Callable[[Census], None] = lambda census: None
        self._url = url
        self._user = user
        self._client = Client()

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
            await self._client.subscribe(f"{_INBOX}.census", cb=self._take)
            yield
        finally:
            with suppress(OSError, nats.errors.Error):  # the broker may be gone already
                await self._client.close()

    async def ask(self, *, sort: Sort = "msgs_from", of: tuple[str, str] | None = None) -> None:
        """Ask every server for the connections that sent most, or for those of one principal."""
        asked: dict[str, object] = {"auth": True, "acc": ACCOUNT, "sort": sort, "limit": MOST}
        if of is not None:
            asked["user"] = "/".join(of)
        await self._publish(f"{_REQUEST}.PING.CONNZ", asked, reply=f"{_INBOX}.census")

    async def kick(self, connection: Connected) -> None:
        """End a connection; the server ignores whoever wants no answer."""
        await self._publish(f"{_REQUEST}.{connection.server}.KICK", {"cid": connection.id}, reply=f"{_INBOX}.kicked")

    async def _publish(self, subject: str, body: object, *, reply: str) -> None:
        try:
            await self._client.publish(subject, json.dumps(body).encode(), reply=reply)
        except (nats.errors.Error, OSError) as error:  # the broker is away, and everybody with it
            log.debug("warden.unasked", error=repr(error))

    async def _take(self, message: Msg) -> None:
        try:
            census = read_census(json.loads(message.data))
        except (ValueError, LookupError, TypeError) as error:
            log.warning("warden.unread", error=repr(error))
            return
        self.heard(census)


def read_census(answer: Any) -> Census:
    """A server's answer; whoever is no principal (a service, the operator) is left out.

    Raises:
        ValueError, LookupError, TypeError: It is none.
    """
    found = answer["data"]
    server, at_s = found["server_id"], _time(found["now"])
    listed = tuple(
        _connected(server, at_s, each)
        for each in found.get("connections") or ()
        if "/" in each.get("authorized_user", "")
    )
    return Census(total=found["total"], connections=listed)


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
    )


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def _note_error(error: Exception) -> None:
    log.warning("warden.bus", error=str(error) or type(error).__name__)
