"""Requests to one database, each with a bound, and what goes wrong with them in our own words."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, Protocol
from urllib.parse import urlsplit

from kurrentdbclient import AsyncKurrentDBClient, NewEvent, RecordedEvent, StreamState
from kurrentdbclient.exceptions import (
    AccessDeniedError,
    BadRequestError,
    InvalidArgumentError,
    InvalidCommitPositionError,
    InvalidTransactionError,
    KurrentDBClientError,
    MaximumAppendSizeExceededError,
    NotFoundError,
    ProgrammingError,
    SSLError,
    StreamIsDeletedError,
    UnauthenticatedError,
    WrongCurrentVersionError,
)
from kurrentdbclient.gossip import NODE_STATE_REPLICA

from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._wire import Lost

_SCAN_S: Final = 60.0
"""The server reads past what a filter leaves out, and says nothing meanwhile."""
_KEEP_ALIVE: Final = "keepAliveInterval=10000&keepAliveTimeout=10000"
"""A dead connection is found within 20 s. What KurrentDB's other clients do; this one has to be told."""
_HOPELESS: Final = (
    AccessDeniedError,
    BadRequestError,
    InvalidArgumentError,
    InvalidTransactionError,
    MaximumAppendSizeExceededError,
    SSLError,
    StreamIsDeletedError,
    UnauthenticatedError,
)
"""Trying again changes nothing."""


class Raced(Exception):
    """The stream is not where the append expected it."""


class Database:
    """One database; its connection opens with the first request."""

    def __init__(self, url: str) -> None:
        self._client = AsyncKurrentDBClient(_kept_alive(url))
        self._closed = False

    async def close(self) -> None:
        """End every request, and the connection."""
        self._closed = True
        with suppress(ProgrammingError):  # nothing was ever asked
            await self._client.close()

    async def append(self, stream: str, events: Sequence[NewEvent], after: int, *, timeout_s: float) -> int:
        """Append after so many events, all or none; the position of the last one.

        Raises:
            Raced, Lost, StoreUnavailable
        """
        version = after - 1 if after else StreamState.NO_STREAM
        with self._told(f"append to {stream}"):
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._client.append_to_stream(
                        stream, events=events, current_version=version, timeout=timeout_s
                    )
            except WrongCurrentVersionError as error:
                raise Raced from error

    async def read(
        self, stream: str, *, after: int = 0, limit: int = sys.maxsize, timeout_s: float
    ) -> list[RecordedEvent]:
        """A stream's events after the first so many; none if there is no such stream.

        Raises:
            Lost, StoreUnavailable
        """
        return await self._list(stream, after, limit=limit, timeout_s=timeout_s)

    async def last_of(self, stream: str, *, timeout_s: float) -> RecordedEvent | None:
        """A stream's last event.

        Raises:
            Lost, StoreUnavailable
        """
        found = await self._list(stream, None, backwards=True, limit=1, timeout_s=timeout_s)
        return found[0] if found else None

    async def _list(
        self, stream: str, start: int | None, *, backwards: bool = False, limit: int, timeout_s: float
    ) -> list[RecordedEvent]:
        with self._told(f"reading {stream}"):
            try:
                async with asyncio.timeout(timeout_s):
                    response = await self._client.read_stream(
                        stream, stream_position=start, backwards=backwards, limit=limit
                    )
                    async with _stopped(response) as events:
                        return [event async for event in events]
            except NotFoundError:
                return []

    async def last_position(self, prefix: str) -> int:
        """The position of the last event in the streams whose names begin so; 0 if there is none.

        Raises:
            Lost, StoreUnavailable
        """
        with self._told(f"asking for the last event of {prefix}"):
            async with asyncio.timeout(_SCAN_S), self._all(prefix, backwards=True, limit=1) as events:
                async for event in events:
                    return event.commit_position
        return 0

    async def forwards(self, prefix: str, after: int) -> AsyncGenerator[RecordedEvent, None]:
        """Those streams' events from a position on, which is one of theirs or not, to the end of the log.

        Raises:
            Lost, StoreUnavailable
        """
        with self._told(f"reading {prefix}"):
            start = await self._existing(prefix, after)
            async with self._all(prefix, commit_position=start) as events:
                async for event in events:
                    yield event

    async def voters(self, *, timeout_s: float) -> int:
        """How many nodes have a say in what is stored, as they gossip; one that only reads along has none.

        Raises:
            Lost, StoreUnavailable
        """
        with self._told("asking for the nodes"):
            async with asyncio.timeout(timeout_s):
                await self._client.connect()
                members = await self._client.connection.gossip.read(timeout=timeout_s)
        return sum(member.state != NODE_STATE_REPLICA for member in members)

    @asynccontextmanager
    async def following(
        self, prefix: str, after: int, *, timeout_s: float
    ) -> AsyncIterator[AsyncIterator[RecordedEvent]]:
        """Those streams' events and checkpoints beyond a position, for ever, once the server has confirmed it.

        Raises:
            Lost, StoreUnavailable
        """
        with self._told(f"following {prefix}"):
            async with asyncio.timeout(timeout_s):
                start = await self._existing(prefix, after)
                response = await self._client.subscribe_to_all(
                    commit_position=start,
                    filter_include=(prefix,),
                    filter_by_stream_name=True,
                    filter_by_prefix=True,
                    include_checkpoints=True,
                )
            async with _stopped(response) as events:
                yield events

    async def _existing(self, prefix: str, after: int) -> int | None:
        """A place to read on from: the server takes only positions that an event has.

        That is `after`, as a rule; else the last one of theirs before it, or the beginning.
        """
        if after <= 0:
            return None
        with suppress(InvalidCommitPositionError):
            whole = await self._client.read_all(commit_position=after, filter_exclude=(), limit=1)
            async with _stopped(whole) as events:
                async for event in events:
                    if event.commit_position == after:
                        return after
        async with self._all(prefix, backwards=True) as events:
            async for event in events:
                if event.commit_position <= after:
                    return event.commit_position
        return None

    @asynccontextmanager
    async def _all(
        self, prefix: str, *, commit_position: int | None = None, backwards: bool = False, limit: int = sys.maxsize
    ) -> AsyncIterator[AsyncIterator[RecordedEvent]]:
        response = await self._client.read_all(
            commit_position=commit_position,
            backwards=backwards,
            limit=limit,
            filter_include=(prefix,),
            filter_by_stream_name=True,
            filter_by_prefix=True,
        )
        async with _stopped(response) as events:
            yield events

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """The client's errors as ours."""
        if self._closed:
            raise StoreUnavailable(f"{what}: the connection to the database is closed")
        try:
            yield
        except _HOPELESS as error:
            raise StoreUnavailable(f"{what}: the database refuses it ({error!r})") from error
        except (KurrentDBClientError, TimeoutError) as error:
            raise Lost(f"{what}: {error!r}") from error


class _Response(Protocol):
    def __aiter__(self) -> AsyncIterator[RecordedEvent]: ...

    async def stop(self) -> None: ...


@asynccontextmanager
async def _stopped(response: _Response) -> AsyncIterator[AsyncIterator[RecordedEvent]]:
    """Read from a response, and leave nothing of it.

    Not the client's own context manager: in it, a response that broke off looks like one that ended.
    """
    try:
        yield aiter(response)
    finally:
        with suppress(KurrentDBClientError):
            await response.stop()


def _kept_alive(url: str) -> str:
    if "keepaliveinterval" in url.lower():
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}{_KEEP_ALIVE}"
