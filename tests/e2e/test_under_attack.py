"""What an agent with a raw connection can do to the broker, and what it cannot: hurt others, write much, put words in
the log, come back by itself.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, closing, suppress

import anyio
import anyio.to_thread
import pytest

from dominie.keys import KeyPair
from dominie_contracts import StreamName, Unavailable
from dominie_contracts.identity import PRINCIPAL, REFUSALS, Done, PrincipalView, Refused, Resume, Rotate, Suspended
from dominie_contracts.registry import parse_own
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.tool import ListTools, Tools
from dominie_eventstore import JetStreamEventStore
from dominie_identity import build
from dominie_identity.settings import Settings
from dominie_identity.warden.rounds import PAGE
from dominie_kit.testing import House, Peer, RawConnection, connected, house, is_refused, serving
from dominie_tool import build as tool
from dominie_tool.settings import Settings as ToolSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
WAIT_S = 60.0
ATTACK_S = 30.0
"""An attack that nobody ends ends itself."""
MAX_EVENTS = 10
Attack = Callable[[str, KeyPair, str], None]


def settings(empty: House) -> Settings:
    return Settings(
        nats_url=empty.url,
        keys=empty.keys.path,
        state=empty.keys.path / "state",
        identity_broker_log=empty.broker.log,
        identity_flood_messages_per_s=1000,
        identity_flood_bytes_per_s=10 * 2**20,
    )


@pytest.fixture(scope="module")
async def acme(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A house with identity and the tool service."""
    async with house(tmp_path_factory.mktemp("house")) as empty:
        common = {"nats_url": empty.url, "keys": empty.keys.path, "state": empty.keys.path / "state"}
        async with serving(build(settings(empty))), serving(tool(ToolSettings.model_validate(common))):
            yield empty


def sends(data: Callable[[str], bytes], **said: object) -> Attack:
    """Sends the same again and again until the broker has had enough, and tries to come back a few times."""

    def attack(url: str, keys: KeyPair, name: str) -> None:
        until = time.monotonic() + ATTACK_S
        for _ in range(3):
            with suppress(OSError), closing(RawConnection(url, keys, "acme", name, **said)) as raw:
                while time.monotonic() < until:
                    raw.send(data(name))

    return attack


def connects(times: int, **said: object) -> Attack:
    """Knocks with another's key."""

    def attack(url: str, keys: KeyPair, name: str) -> None:
        other = KeyPair.generate()
        for _ in range(times):
            with suppress(OSError), closing(RawConnection(url, other, "acme", name, **said)):
                pytest.fail("it was let in")

    return attack


def too_large(url: str, keys: KeyPair, name: str) -> None:
    """Says that more comes than the broker takes, on a new connection each time."""
    for _ in range(20):
        with suppress(OSError), closing(RawConnection(url, keys, "acme", name)) as raw:
            raw.send(b"PUB cmd.acme.%s.tool.list 99999999\r\n" % name.encode() + b"x" * 2**20)


def own_inboxes(url: str, keys: KeyPair, name: str) -> None:
    """Listens to more and more of what it may listen to."""
    for _ in range(3):
        with suppress(OSError), closing(RawConnection(url, keys, "acme", name)) as raw:
            for number in range(5000):
                raw.send(b"SUB _INBOX.acme.%s.%d %d\r\n" % (name.encode(), number, number))
            raw.send(b"PING\r\n" * 1000)


def deaf(url: str, keys: KeyPair, name: str) -> None:
    """Asks, and never reads the answers."""
    subject = b"cmd.acme.%s.identity.token" % name.encode()
    body = MintRunToken(user=f"u-{name}", run=f"deaf-{name}").model_dump_json().encode()
    with suppress(OSError), closing(RawConnection(url, keys, "acme", name)) as raw:
        raw.send(b"SUB _INBOX.acme.%s.> 1\r\n" % name.encode())
        for number in range(300):
            sent = b"NATS/1.0\r\nDominie-Key: k-%d\r\n\r\n" % number
            inbox = b"_INBOX.acme.%s.%d" % (name.encode(), number)
            raw.send(b"HPUB %s %s %d %d\r\n" % (subject, inbox, len(sent), len(sent) + len(body)))
            raw.send(sent + body + b"\r\n")
            time.sleep(0.001)


def publish(name: str) -> bytes:
    return b"PUB evt.0.acme.tool.1 2\r\n{}\r\n" * 100


def subscribe(name: str) -> bytes:
    return b"SUB evt.> 1\r\n" * 100


def large(name: str) -> bytes:
    return b"PUB cmd.acme.%s.tool.list 500000\r\n" % name.encode() + b"x" * 500_000 + b"\r\n"


FLOODS = {"publishes": sends(publish), "subscriptions": sends(subscribe), "bytes": sends(large)}
NUISANCES = {
    "another-key": connects(40),
    "no-key": connects(40, auth_token="", nkey="", sig=""),
    "garbage": connects(40, auth_token="e30." * 1500, nkey="U" * 56, sig="?"),
    "too-large": too_large,
    "own-inboxes": own_inboxes,
    "deaf": deaf,
}


@pytest.mark.parametrize("kind", [*FLOODS, *NUISANCES])
async def test_others_are_served_and_little_is_written(acme: House, kind: str) -> None:
    name = f"a-{kind}"
    keys, near, far = (
        await acme.register(name),
        await acme.register(f"{name}-near"),
        await acme.register(f"{name}-far", tenant="abroad"),
    )
    async with (
        connected(acme.url, near, "acme", f"{name}-near") as beside,
        connected(acme.url, far, "abroad", f"{name}-far") as abroad,
    ):
        over = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(serve_on, abroad, over)
            group.start_soon(serve_on, beside, over)
            await anyio.to_thread.run_sync((FLOODS | NUISANCES)[kind], acme.url, keys, name)
            over.set()
        assert not beside.ended.is_set() and not abroad.ended.is_set()
    if kind in FLOODS:
        await until_suspended(acme, name)
        assert await is_refused(acme.url, keys, "acme", name)
    else:
        assert not isinstance(await last(acme, name), Suspended)
        async with connected(acme.url, keys, "acme", name) as again:
            await until_served(again)
    found = await refusals(acme)
    assert len(found) == len([event for event in found if event.tenant in ("acme", "svc")])
    assert len([event for event in found if event.principal == name]) <= MAX_EVENTS
    assert not [event for event in found if event.principal in (f"{name}-near", f"{name}-far")]


async def serve_on(peer: Peer, over: anyio.Event) -> None:
    """Somebody else's calls: each is answered."""
    while not over.is_set():
        mint = MintRunToken(user=f"u-{peer.principal}", run=f"r-{peer.principal}")
        token = (await peer.ask(mint, RunToken, timeout_s=WAIT_S)).token
        await peer.ask(ListTools(), Tools, token=token, timeout_s=WAIT_S)
        with anyio.move_on_after(0.05):
            await over.wait()


async def until_served(peer: Peer) -> None:
    """It may have used up its share for a moment; no longer."""
    with anyio.fail_after(WAIT_S):
        while True:
            with suppress(Unavailable):
                mint = MintRunToken(user=f"u-{peer.principal}", run=f"r-{peer.principal}")
                await peer.ask(mint, RunToken, timeout_s=WAIT_S)
                return
            await anyio.sleep(0.05)


async def last(acme: House, principal: str) -> object:
    events = await JetStreamEventStore(acme.operator.client).read(StreamName("acme", PRINCIPAL, principal))
    return parse_own(events[-1])


async def until_suspended(acme: House, principal: str) -> Suspended:
    with anyio.fail_after(WAIT_S):
        while not isinstance(found := await last(acme, principal), Suspended):  # noqa: ASYNC110 - what others write
            await anyio.sleep(0.05)
    return found


async def refusals(acme: House) -> list[Refused]:
    store = JetStreamEventStore(acme.operator.client)
    found = [parse_own(event) async for event in store.read_all(category=REFUSALS)]
    return [event for event in found if isinstance(event, Refused)]


FORGED = 'x" - "APP/user:acme/a-victim" - Publish Violation - Subject "evt'
LINE = "\n[7] 2026/11/21 11:34:36.038947 [ERR] 127.0.0.1:1 - cid:4 - " + '"v1:raw" - "APP/user:acme/a-victim" - '
SAID = {
    "a name": {"name": FORGED},
    "a line": {"name": LINE + 'Publish Violation - Subject "evt.0.acme.tool.1"\n'},
    "a version": {"version": FORGED, "lang": FORGED},
    "colours": {"name": '\x1b[31m\x07\x00\\\\" - "' + FORGED},
    "backslashes": {"name": FORGED + "\\", "lang": '\\"', "version": "\\"},
}


async def test_nobody_is_blamed_for_what_another_does(acme: House) -> None:
    """By names of their own choice, and by the subjects that they are refused."""
    keys, _ = await acme.register("a-forger"), await acme.register("a-victim")
    subjects = ("evt.0.acme.tool.1", 'evt."APP/user:acme/a-victim"', "evt.\x1b[31m", 'evt\\"')
    for said in SAID.values():

        def forge(said: dict[str, str] = said) -> None:
            with closing(RawConnection(acme.url, keys, "acme", "a-forger", **said)) as raw:
                for subject in subjects:
                    raw.send(b"PUB %s 2\r\n{}\r\n" % subject.encode())
                raw.send(b"PING\r\n")
                raw.until_pong()

        await anyio.to_thread.run_sync(forge)
    wanted = len(SAID) * len(subjects)
    counted = Counter[str]()
    with anyio.fail_after(WAIT_S):
        while counted["a-forger"] < wanted:
            counted = Counter()
            for event in await refusals(acme):
                counted[event.principal] += sum(each.count for each in event.counts)
            await anyio.sleep(0.1)
    assert counted["a-forger"] == wanted
    assert counted["a-victim"] == 0


async def test_who_is_suspended_comes_back_when_it_is_resumed_and_by_no_other_way(acme: House) -> None:
    keys = await acme.register("a-kicked")
    await anyio.to_thread.run_sync(sends(publish), acme.url, keys, "a-kicked")
    await until_suspended(acme, "a-kicked")
    other = KeyPair.generate()
    assert await is_refused(acme.url, other, "acme", "a-kicked")
    await acme.operator.ask(Rotate(principal="a-kicked", nkey=other.public, tenant="acme"), PrincipalView)
    for each in (keys, other):
        assert await is_refused(acme.url, each, "acme", "a-kicked")
    await acme.operator.ask(Resume(principal="a-kicked", tenant="acme"), Done)
    with anyio.fail_after(WAIT_S):
        while await is_refused(acme.url, other, "acme", "a-kicked"):
            pass


async def test_who_floods_is_found_among_many_who_once_sent_more(acme: House) -> None:
    crowd, flooder = await acme.register("a-crowd"), await acme.register("a-hidden")

    def hide() -> None:
        with ExitStack() as stack:
            for _ in range(3 * PAGE):
                raw = stack.enter_context(closing(RawConnection(acme.url, crowd, "acme", "a-crowd")))
                raw.send(b"PUB cmd.acme.a-crowd.tool.list 0\r\n\r\n")
            sends(publish)(acme.url, flooder, "a-hidden")

    await anyio.to_thread.run_sync(hide)
    await until_suspended(acme, "a-hidden")
    assert not isinstance(await last(acme, "a-crowd"), Suspended)


async def test_who_floods_while_identity_is_away_is_out_when_it_is_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with house(tmp_path_factory.mktemp("alone")) as empty:
        async with serving(build(settings(empty))):
            keys = await empty.register("a-meanwhile")
            raw = await anyio.to_thread.run_sync(RawConnection, empty.url, keys, "acme", "a-meanwhile")

        def flood() -> None:
            until = time.monotonic() + WAIT_S
            with closing(raw), suppress(OSError):
                while time.monotonic() < until:
                    raw.send(publish("a-meanwhile"))
                pytest.fail("nobody ended it")

        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, flood)
            async with serving(build(settings(empty))):
                await until_suspended(empty, "a-meanwhile")
