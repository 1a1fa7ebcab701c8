"""The warden on a real broker: whoever loses its identity is out at once, on every connection, and only they are."""

from contextlib import AsyncExitStack, closing, suppress

import anyio
import anyio.to_thread
import pytest

from dominie.keys import KeyPair
from dominie.returning import Returning
from dominie_contracts import StreamName
from dominie_contracts.identity import PRINCIPAL, Done, Resume, Revoke, Suspend, Suspended
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import WARDEN
from dominie_contracts.subjects import service_inbox_prefix
from dominie_eventstore import JetStreamEventStore
from dominie_kit.house.broker_config import MAX_SUBSCRIPTIONS
from dominie_kit.testing import House, Peer, RawConnection, connected, is_refused

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("command", [Suspend, Revoke])
async def test_every_connection_of_who_is_stopped_ends(acme: House, command: type[Suspend] | type[Revoke]) -> None:
    name = f"a-{command.__name__.lower()}"
    keys, other = await acme.register(name), await acme.register(f"{name}-not")
    abroad = await acme.register(name, tenant="abroad")
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(connected(acme.url, keys, "acme", name)) for _ in range(3)]
        stays = await stack.enter_async_context(connected(acme.url, other, "acme", f"{name}-not"))
        namesake = await stack.enter_async_context(connected(acme.url, abroad, "abroad", name))
        await acme.operator.ask(command(principal=name, tenant="acme"), Done)
        with anyio.fail_after(20):
            for peer in peers:
                await peer.ended.wait()
        assert await is_refused(acme.url, keys, "acme", name)
        for peer in (stays, namesake):
            await peer.client.flush()
            assert not peer.ended.is_set()


@pytest.mark.parametrize("size", [200, 250_000])
async def test_who_floods_is_out_and_suspended_and_nobody_else_is(acme: House, size: int) -> None:
    name = f"a-flood-{size}"
    keys, other = await acme.register(name), await acme.register(f"{name}-not")
    async with connected(acme.url, other, "acme", f"{name}-not") as stays:
        with anyio.fail_after(20):
            await anyio.to_thread.run_sync(flood, acme.url, keys, name, size)
        with anyio.fail_after(30):
            while not (found := await suspension(acme, name)):  # noqa: ASYNC110 - what another process writes
                await anyio.sleep(0.02)
        await stays.client.flush()
        assert not stays.ended.is_set()
    assert (found.by, found.principal) == ("warden", name) and "it flooded" in found.reason
    assert await is_refused(acme.url, keys, "acme", name)
    await acme.operator.ask(Resume(principal=name, tenant="acme"), Done)
    assert not await is_refused(acme.url, keys, "acme", name)


def flood(url: str, keys: KeyPair, name: str, size: int) -> None:
    """Publish what it may not, until it is out."""
    raw = RawConnection(url, keys, "acme", name)
    with closing(raw), suppress(OSError):
        while True:
            raw.send(f"PUB evt.0.acme.tool.1 {size}\r\n".encode() + b"x" * size + b"\r\n")


async def suspension(acme: House, principal: str) -> Suspended | None:
    """What the log says of it, if it is suspended."""
    store = JetStreamEventStore(acme.operator.client)
    events = await store.read(StreamName("acme", PRINCIPAL, principal))
    payload = parse_own(events[-1])
    return payload if isinstance(payload, Suspended) else None


async def test_who_is_resumed_is_let_in_and_stays(acme: House) -> None:
    keys = await acme.register("a-back")
    await acme.operator.ask(Suspend(principal="a-back", tenant="acme"), Done)
    await acme.operator.ask(Resume(principal="a-back", tenant="acme"), Done)
    async with connected(acme.url, keys, "acme", "a-back") as peer:
        with anyio.move_on_after(0.3):
            await peer.ended.wait()
        assert not peer.ended.is_set()


@pytest.fixture
async def warden(acme: House) -> Peer:
    """The warden's own connection, in other hands."""
    peer = Peer(Returning())

    async def note(error: Exception) -> None:
        peer.refused.append(str(error))

    inbox = service_inbox_prefix(WARDEN).encode()
    await peer.client.connect(acme.url, nkeys_seed_str=acme.keys.warden.seed, inbox_prefix=inbox, error_cb=note)
    return peer


@pytest.mark.parametrize("request_", ["CONNZ", "KICK"])
async def test_the_warden_may_ask_who_is_connected_and_kick(warden: Peer, request_: str) -> None:
    assert await warden.may_publish(f"$SYS.REQ.SERVER.NONE.{request_}")
    await warden.client.close()


async def test_the_warden_may_nothing_else(warden: Peer) -> None:
    requests = ("VARZ", "SUBSZ", "JSZ", "ACCOUNTZ", "RELOAD", "LDM", "PROFILEZ", "STATSZ", "IDZ", "HEALTHZ")
    refused = [
        *(f"$SYS.REQ.SERVER.PING.{request}" for request in requests),
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.ACCOUNT.APP.CONNZ",
        "$SYS.REQ.CLAIMS.UPDATE",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.USER.INFO",
        "$SYS.ACCOUNT.APP.CONNECT",
        "$JS.API.INFO",
        "evt.0.acme.principal.a-desk",
        "svc.identity.register",
        "_INBOX.acme.a-desk.x",
    ]
    assert [subject for subject in refused if await warden.may_publish(subject)] == []
    heard = ["$SYS.>", "$SYS.ACCOUNT.*.CONNECT", "$SYS.SERVER.*.CLIENT.AUTH.ERR", ">", "_INBOX.>", "evt.>"]
    assert [subject for subject in heard if await warden.may_subscribe(subject)] == []
    await warden.client.close()


async def test_the_broker_takes_no_more_subscriptions_than_it_is_told(acme: House) -> None:
    keys = await acme.register("a-ears")
    async with connected(acme.url, keys, "acme", "a-ears") as peer:
        for number in range(MAX_SUBSCRIPTIONS):
            await peer.client.subscribe(f"_INBOX.acme.a-ears.{number}")
        assert await peer.may_publish("cmd.acme.a-ears.identity.token")
        assert not peer.ended.is_set()
        await peer.client.subscribe("_INBOX.acme.a-ears.more")
        with anyio.fail_after(20):
            await peer.ended.wait()
    assert "maximum subscriptions exceeded" in acme.broker.log.read_text().lower()
