"""A principal has no more connections than it may, and is not refused for those that it has no more."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing, suppress

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie.keys import KeyPair
from dominie_contracts.identity import REFUSALS, Refused
from dominie_contracts.registry import parse_own
from dominie_eventstore import JetStreamEventStore
from dominie_identity import build
from dominie_identity.settings import Settings
from dominie_identity.warden.crowds import JUST_NOW_S, TRUST_S, UNSEEN, Crowds
from dominie_kit.testing import House, RawConnection, house, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
WHO = ("acme", "a-desk")
MOST = 12
WAIT_S = 40.0


class World:
    """What the servers would list."""

    def __init__(self, most: int) -> None:
        self.crowds = Crowds(most)
        self.living = set[tuple[str, int]]()
        self.now_s = 1000.0
        self.number = 0
        self.counts = 0

    def connect(self) -> bool:
        self.number += 1
        connection = ("N1", self.number)
        said = self.crowds.admit(WHO, connection, self.now_s)
        if said == "count":
            self.counts += 1
            self.crowds.counted(WHO, frozenset(self.living), self.now_s)
            said = self.crowds.admit(WHO, connection, self.now_s)
        assert said != "count"
        if said == "yes":
            self.living.add(connection)
        return said == "yes"


@given(
    st.integers(1, 30), st.lists(st.tuples(st.sampled_from(["in", "out", "forget"]), st.floats(0, 20)), max_size=200)
)
def test_never_more_than_may_and_never_refused_with_room(most: int, steps: list[tuple[str, float]]) -> None:
    world = World(most)
    for step, pause_s in steps:
        world.now_s += pause_s
        if step == "forget":
            world.crowds.forget()
        elif step == "out" and world.living:
            world.living.pop()
        elif step == "in":
            room = len(world.living) < most
            let_in = world.connect()
            assert room or not let_in
            assert let_in or not room or pause_s <= 1.0  # who was let in a second ago may yet come
        assert len(world.living) <= most


def test_one_that_comes_and_goes_is_seldom_counted() -> None:
    world = World(100)
    for _ in range(1000):
        world.now_s += 0.5
        assert world.connect()
        world.living.clear()
    assert world.counts <= 1000 / min(UNSEEN, TRUST_S / 0.5) + 2


def test_what_another_instance_let_in_is_found() -> None:
    world = World(20)
    assert world.connect()
    world.living |= {("N2", number) for number in range(100, 119)}
    world.now_s += TRUST_S + 1
    while world.connect():
        assert len(world.living) <= 20 + UNSEEN
    assert len(world.living) <= 20 + UNSEEN


def test_while_nobody_counts_a_few_are_let_in() -> None:
    crowds = Crowds(100)
    crowds.counted(WHO, None, 1000.0)
    assert [crowds.admit(WHO, ("N1", n), 1000.0) for n in range(UNSEEN + 1)] == ["yes"] * UNSEEN + ["count"]
    crowds.counted(WHO, None, 1000.0)
    assert crowds.admit(WHO, ("N1", 99), 1000.0) == "count"


def test_who_is_full_is_counted_now_and_then_and_not_each_time() -> None:
    world = World(5)
    while world.connect():
        pass
    before = world.counts
    for _ in range(100):
        assert not world.connect()
    assert world.counts == before
    world.living.pop()
    world.now_s += max(JUST_NOW_S, 1.0) + 0.1
    assert world.connect()


@pytest.fixture(scope="module")
async def acme(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("house")) as found:
        yield found


def settings(acme: House) -> Settings:
    return Settings(
        nats_url=acme.url,
        keys=acme.keys.path,
        state=acme.keys.path / "state",
        identity_broker_log=acme.broker.log,
        identity_max_connections_each=MOST,
    )


def crowd(acme: House, keys: KeyPair, name: str, most: int, stack: ExitStack) -> int:
    """Connect until it is refused, or so often; how often it was let in."""
    for number in range(most):
        try:
            stack.enter_context(closing(RawConnection(acme.url, keys, "acme", name)))
        except OSError:
            return number
    return most


async def fill(acme: House, keys: KeyPair, name: str, stack: ExitStack, most: int = MOST + 5) -> int:
    return await anyio.to_thread.run_sync(crowd, acme, keys, name, most, stack)


async def let_in(acme: House, keys: KeyPair, name: str, number: int, stack: ExitStack) -> None:
    """Connect so often, each time until it is let in."""
    with anyio.fail_after(WAIT_S):
        for _ in range(number):
            while not await fill(acme, keys, name, stack, 1):  # noqa: ASYNC110 - the broker tells nobody
                await anyio.sleep(0.05)


async def refusals(acme: House, name: str) -> int:
    """How often it was refused for having too many, as the log says by now."""
    events = [event async for event in JetStreamEventStore(acme.operator.client).read_all(category=REFUSALS)]
    mine = [parse_own(event) for event in events if event.stream == f"acme.identity.{name}"]
    counts = [each for event in mine if isinstance(event, Refused) for each in event.counts]
    return sum(each.count for each in counts if each.what == "connect: too many connections")


async def test_one_more_than_may_is_refused_and_counted(acme: House) -> None:
    async with serving(build(settings(acme))):
        keys, other = await acme.register("a-many"), await acme.register("a-other")
        abroad = await acme.register("a-many", tenant="abroad")
        with ExitStack() as stack:
            assert await fill(acme, keys, "a-many", stack) == MOST
            assert await fill(acme, other, "a-other", stack, 3) == 3
            with closing(await anyio.to_thread.run_sync(RawConnection, acme.url, abroad, "abroad", "a-many")):
                pass
            with anyio.fail_after(WAIT_S):
                while not await refusals(acme, "a-many"):  # noqa: ASYNC110 - what another task writes
                    await anyio.sleep(0.1)
        with ExitStack() as stack:
            await let_in(acme, keys, "a-many", MOST, stack)


async def test_identity_that_begins_counts_who_is_there(acme: House) -> None:
    with ExitStack() as stack:
        async with serving(build(settings(acme))):
            keys = await acme.register("a-stays")
            assert await fill(acme, keys, "a-stays", stack, MOST - 2) == MOST - 2
        async with serving(build(settings(acme))):
            assert await fill(acme, keys, "a-stays", stack) == 2


MANY = """
import sys, time
from dominie.keys import KeyPair
from dominie_kit.testing import RawConnection
held = [RawConnection(sys.argv[1], KeyPair(sys.argv[2]), "acme", "a-killed") for _ in range(int(sys.argv[3]))]
print("held", flush=True)
time.sleep(600)
"""


async def test_who_was_killed_comes_back_and_so_does_everybody_after_the_broker_died(acme: House) -> None:
    async with serving(build(settings(acme))):
        keys = await acme.register("a-killed")
        given_ = (sys.executable, "-c", MANY, acme.url, keys.seed, str(MOST))
        process = await anyio.open_process(given_)
        with ExitStack() as stack:
            assert process.stdout is not None
            try:
                assert (await process.stdout.receive()).startswith(b"held")
                assert await fill(acme, keys, "a-killed", stack, 1) == 0
            finally:
                process.kill()
                await process.aclose()
            await let_in(acme, keys, "a-killed", MOST, stack)
            assert await fill(acme, keys, "a-killed", stack, 1) == 0
            os.kill(acme.broker.pid, signal.SIGKILL)
            acme.broker.start()
            with suppress(OSError):
                stack.close()
            with ExitStack() as again:
                await let_in(acme, keys, "a-killed", MOST, again)
                assert await fill(acme, keys, "a-killed", again, 1) == 0
