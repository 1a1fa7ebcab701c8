"""The stream as the operator makes it."""

import json
from typing import Any

import pytest
from nats.aio.client import Client

from dominie_eventstore import Durability, JetStreamEventStore, StoreUnavailable, provision
from dominie_eventstore.conformance import draft, stream

pytestmark = pytest.mark.anyio


async def ask(nc: Client, verb: str, **body: object) -> dict[str, Any]:
    answer = await nc.request(f"$JS.API.STREAM.{verb}.EVENTS_0", json.dumps(body).encode(), timeout=30)
    found: dict[str, Any] = json.loads(answer.data)
    return found


async def test_its_settings(nc: Client) -> None:
    config = (await ask(nc, "INFO"))["config"]

    wanted = {
        "subjects": ["evt.0.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": 512 * 1024,
        "num_replicas": 1,
        "allow_direct": True,
        "allow_atomic": True,
        "deny_delete": True,
        "deny_purge": True,
        "allow_rollup_hdrs": False,
    }
    assert {key: config[key] for key in wanted} == wanted


async def test_doing_it_again_changes_nothing(nc: Client) -> None:
    await JetStreamEventStore(nc).append(stream(), [draft()], expected_version=0)
    before = await ask(nc, "INFO")

    await provision(nc)

    after = await ask(nc, "INFO")
    assert after["config"] == before["config"]
    assert after["state"] == before["state"]


async def test_an_older_stream_is_brought_up_to_date(nc: Client) -> None:
    config = (await ask(nc, "INFO"))["config"]
    await ask(nc, "UPDATE", **(config | {"allow_atomic": False, "max_msg_size": 1000}))

    await provision(nc)

    assert (await ask(nc, "INFO"))["config"] == config


@pytest.mark.parametrize(("verb", "body"), [("PURGE", {}), ("MSG.DELETE", {"seq": 1})])
async def test_nothing_stored_can_be_taken_away(nc: Client, verb: str, body: dict[str, object]) -> None:
    store = JetStreamEventStore(nc)
    await store.append(stream(), [draft()], expected_version=0)

    assert "error" in await ask(nc, verb, **body)
    assert len(await store.read(stream())) == 1


async def test_what_jetstream_refuses_is_told(nc: Client) -> None:
    with pytest.raises(StoreUnavailable, match="replicas"):
        await provision(nc, replicas=3)


async def test_it_leaves_nothing_on_the_connection(nc: Client) -> None:
    before = len(nc._subs)
    await provision(nc)
    assert len(nc._subs) == before


async def test_how_the_log_is_kept_is_read_from_the_stream(nc: Client) -> None:
    assert await JetStreamEventStore(nc).durability() == Durability("fsync")
    config = (await ask(nc, "INFO"))["config"]
    await ask(nc, "DELETE")
    await ask(nc, "CREATE", **(config | {"storage": "memory"}))
    assert await JetStreamEventStore(nc).durability() == Durability("none")
