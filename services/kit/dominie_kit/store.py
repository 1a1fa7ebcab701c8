"""Where the events are kept: on the bus itself, or in a KurrentDB."""

from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from nats.aio.client import Client

from dominie_eventstore import EventStore, JetStreamEventStore, StoreUnavailable
from dominie_eventstore.archive import Archive, Blobs, open_blobs
from dominie_kit.errors import BadStore
from dominie_kit.settings import KitSettings

NATS = "nats"
"""The store that needs no address: JetStream, on the bus."""
_SCHEMES = ("kurrentdb", "kdb", "esdb", "kurrentdb+discover", "kdb+discover", "esdb+discover")


def archive_folder(settings: KitSettings) -> Path | None:
    """Where the archive of the settings is on this machine; None for a bucket."""
    return None if "://" in (settings.archive or "") else Path(settings.archive or settings.state / "archive")


def open_archive(settings: KitSettings) -> Blobs:
    """The archive of the settings; nothing is asked of it yet.

    Raises:
        BadStore: That is no place for one, or its client is not installed.
    """
    place = settings.archive or str(archive_folder(settings))
    try:
        return open_blobs(place, cache=settings.state / "archived" / sha256(place.encode()).hexdigest()[:16])
    except ValueError as error:
        raise BadStore(place, str(error)) from error


def open_store(
    store: str, bus: Client, *, replicas: int = 1, archive: Archive | None = None
) -> tuple[EventStore, AbstractAsyncContextManager[object]]:
    """The event store of a setting, and what to hold while it is used; it connects with the first request.

    Args:
        store: `nats`, or an address as KurrentDB's clients take it.
        bus: The connection that JetStream is asked on.
        replicas: How many copies JetStream has.
        archive: Where the older segments of JetStream's log are.

    Raises:
        BadStore: It is neither, or its client is not installed.
    """
    if store == NATS:
        return JetStreamEventStore(bus, replicas=replicas, archive=archive), nullcontext()
    place = place_of(store)
    try:
        from dominie_eventstore.kurrentdb import KurrentDBEventStore

        opened = KurrentDBEventStore(store)
    except (ImportError, ValueError, OSError) as error:
        raise BadStore(place, str(error).replace(store.partition("?")[0], place)) from error
    return opened, aclosing(opened)


async def check_store(store: str) -> None:
    """Ask a database that is to be the store for something, so that nothing is started in vain.

    Raises:
        BadStore: It cannot be used, or does not answer.
    """
    if store == NATS:
        return
    found, opened = open_store(store, Client())
    try:
        async with opened:
            await found.last_position()
    except StoreUnavailable as error:
        raise BadStore(place_of(store), f"it does not answer ({error.what})") from error


def place_of(store: str) -> str:
    """Which store it is, to show and to compare: without user, password and options.

    Raises:
        BadStore: It is none.
    """
    if store == NATS:
        return NATS
    scheme, separator, rest = store.partition("://")
    place = f"{scheme}://{urlsplit(store).netloc.rpartition('@')[2]}" if separator else "?"
    if scheme not in _SCHEMES or not rest:
        raise BadStore(place, "it is neither 'nats' nor 'kurrentdb://HOST:PORT?tls=false'")
    return place
