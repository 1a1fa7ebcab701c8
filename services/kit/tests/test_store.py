"""Which event store a setting means."""

import sys

import pytest
from nats.aio.client import Client

from dominie_eventstore import JetStreamEventStore
from dominie_eventstore.kurrentdb import KurrentDBEventStore
from dominie_kit.errors import BadStore
from dominie_kit.store import check_store, open_store, place_of

pytestmark = pytest.mark.anyio


async def test_nats_needs_no_address() -> None:
    store, opened = open_store("nats", Client())

    async with opened:
        assert isinstance(store, JetStreamEventStore)


async def test_an_address_is_a_kurrentdb() -> None:
    store, opened = open_store("kurrentdb://127.0.0.1:2113?tls=false", Client())

    async with opened:
        assert isinstance(store, KurrentDBEventStore)


@pytest.mark.parametrize(
    ("store", "place"),
    [
        ("nats", "nats"),
        ("kurrentdb://127.0.0.1:2113?tls=false", "kurrentdb://127.0.0.1:2113"),
        ("esdb+discover://admin:secret@cluster.test:2113", "esdb+discover://cluster.test:2113"),
    ],
)
async def test_a_place_is_shown_without_its_password(store: str, place: str) -> None:
    assert place_of(store) == place


@pytest.mark.parametrize(
    "store", ["", "kurrentdb", "kurrentdb://", "http://u:secret@x", "kurrentdb://u:secret@x?tls=1"]
)
async def test_a_bad_address_is_told_without_its_password(store: str) -> None:
    with pytest.raises(BadStore) as caught:
        open_store(store, Client())

    assert "secret" not in str(caught.value)


async def test_a_client_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("dominie_eventstore.kurrentdb"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kurrentdbclient", None)

    with pytest.raises(BadStore, match=r"dominie-eventstore\[kurrentdb\]"):
        open_store("kurrentdb://127.0.0.1?tls=false", Client())


@pytest.mark.timeout(30)
async def test_a_database_that_is_away_is_told(free_tcp_port: int) -> None:
    with pytest.raises(BadStore, match="does not answer"):
        await check_store(f"kurrentdb://127.0.0.1:{free_tcp_port}?tls=false")
