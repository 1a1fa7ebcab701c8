"""Names are looked up in threads of their own, a bounded number for each call and tenant, and not for ever."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import anyio
import pytest

from dominie_contracts.egress import Network
from dominie_tool.egress import Ground, Refused
from dominie_tool.egress.addresses import Address
from dominie_tool.egress.gate import Gate
from dominie_tool.egress.lookups import Lookups

pytestmark = pytest.mark.anyio
PUBLIC = ip_address("93.184.216.34")


class Names:
    """A resolver to which some names are slow until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.busy = threading.Event()
        """So many ask as one tenant may."""
        self.asked: list[str] = []

    def __call__(self, name: str) -> Sequence[Address]:
        self.asked.append(name)
        if len(self.asked) == 4:
            self.busy.set()
        if name.startswith("slow"):
            self.let_go.wait(60)
        if name.startswith("bad"):
            raise UnicodeError(name)
        return [PUBLIC]


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    found.let_go.set()


def gate(lookups: Lookups, tenant: str = "acme", within_s: float = 30.0) -> Gate:
    ground = Ground((), (), lookups, frozenset)
    return Gate(Network(hosts=("*",)), ground, tenant, within_s)


async def test_who_has_slow_names_holds_up_nobody_else(names: Names) -> None:
    lookups = Lookups(names)
    async with anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(lookups, "acme", f"slow{n}.example.com.")
        with anyio.fail_after(30):
            assert await anyio.to_thread.run_sync(names.busy.wait, 30)
            assert await lookups("other", "quick.example.com.") == [PUBLIC]
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)  # what the bus's client uses
        assert len(names.asked) == 5  # four of the slow ones have a thread
        tasks.cancel_scope.cancel()


async def test_a_call_is_told_in_time_and_does_not_ask_again(names: Names) -> None:
    found = gate(Lookups(names), within_s=0.2)
    for _ in range(2):
        with pytest.raises(Refused) as raised:
            await found.check("slow.example.com", 443)
        assert raised.value.why == "no-answer"
    assert names.asked == ["slow.example.com."]
    found.within_s = 30.0
    assert (await found.check("quick.example.com", 443)).addresses == (PUBLIC,)


async def test_a_lookup_that_nobody_waits_for_counts_until_it_has_ended(names: Names) -> None:
    lookups = Lookups(names, most=3, most_each=2)
    for n in range(2):
        with pytest.raises(Refused):
            await gate(lookups, within_s=0.2).check(f"slow{n}.example.com", 443)
    with pytest.raises(Refused):
        await gate(lookups, within_s=0.2).check("quick.example.com", 443)
    assert len(names.asked) == 2
    assert (await gate(lookups, "other").check("quick.example.com", 443)).addresses == (PUBLIC,)
    names.let_go.set()
    assert (await gate(lookups).check("quick.example.com", 443)).addresses == (PUBLIC,)


async def test_one_name_is_looked_up_once_however_many_ask(names: Names) -> None:
    found = gate(Lookups(names))
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(found.check, "quick.example.com", 443)
    assert names.asked == ["quick.example.com."]


async def test_a_name_that_cannot_be_asked_for_is_none(names: Names) -> None:
    lookups = Lookups(names, most=1, most_each=1)
    for _ in range(3):
        with pytest.raises(Refused) as raised:
            await gate(lookups).check("bad.example.com", 443)
        assert raised.value.why == "unresolved"
