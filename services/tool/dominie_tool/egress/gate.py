"""From a host's name to the addresses that may be connected to: looked up once in a call, and then never again."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

import anyio
import psutil

from dominie_contracts.egress import Network
from dominie_tool.egress.addresses import Address, AddressRange, held, kind_of
from dominie_tool.egress.hosts import check_listed, plain
from dominie_tool.egress.values import Refused

Resolve = Callable[[str, str], Awaitable[Sequence[Address]]]
"""From a tenant and a name to its addresses; OSError where it has none."""
_AT_ONCE = 2
"""Names of one call that are looked up at once."""
_HERE = ("loopback", "unspecified")
"""Both are this machine."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host, and the checked addresses that it stands for in this call."""

    host: str
    port: int
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Ground:
    """What nobody's tool may reach, whatever its profile lists.

    Attributes:
        opened: Networks that are, though they are not the internet's.
        bus: Who the bus is, as names or addresses.
        resolve: Looks names up.
        own: This machine's own addresses.
    """

    opened: tuple[AddressRange, ...]
    bus: tuple[str, ...]
    resolve: Resolve
    own: Callable[[], frozenset[Address]]

    def why_not(self, address: Address, bus: frozenset[Address]) -> str | None:
        """Why an address is not to be reached; None where it is. Nothing opens the bus, or this machine itself."""
        meant = frozenset([address, *(held(address) if isinstance(address, IPv6Address) else ())])
        if meant & bus:
            return "bus"
        if (here := next((kind for kind in map(kind_of, meant) if kind in _HERE), None)) is not None:
            return here
        if meant & self.own():
            return "own"
        return None if any(address in network for network in self.opened) else kind_of(address)


@dataclass(slots=True)
class Gate:
    """What one call may reach. What a name stood for when it was first asked for it stands for until the call ends.

    A name that nobody answers for in time is not asked for again.

    Attributes:
        network: What its profile lists.
        ground: What it does not change.
        tenant: Whose call it is.
        within_s: How long a name may take, others of this call and tenant before it included.
    """

    network: Network
    ground: Ground
    tenant: str = ""
    within_s: float = 10.0
    _known: dict[str, tuple[Address, ...]] = field(default_factory=dict)
    _slow: set[str] = field(default_factory=set)
    _asking: defaultdict[str, anyio.Lock] = field(default_factory=lambda: defaultdict(anyio.Lock))
    _room: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(_AT_ONCE))

    async def check(self, host: str, port: int) -> Target:
        """See that a host may be reached, at every address that its name stands for.

        Raises:
            Refused: It may not be.
        """
        name = plain(host)
        check_listed(self.network, name, port)
        if name not in self._known:
            try:
                with anyio.fail_after(self.within_s):
                    await self._learn(name, port)
            except TimeoutError as error:
                raise Refused(name, port, "no-answer") from error
        return Target(name, port, self._known[name])

    async def _learn(self, name: str, port: int) -> None:
        async with self._asking[name], self._room:
            if name in self._slow:
                raise TimeoutError
            if name not in self._known:
                try:
                    self._known[name] = await self._looked_up(name, port)
                except anyio.get_cancelled_exc_class():
                    self._slow.add(name)
                    raise

    async def _looked_up(self, name: str, port: int) -> tuple[Address, ...]:
        try:
            found = tuple(await self.ground.resolve(self.tenant, f"{name}."))
            bus = frozenset([each for one in self.ground.bus for each in await self._addresses(one)])
        except OSError as error:
            raise Refused(name, port, "unresolved") from error
        if not found:
            raise Refused(name, port, "unresolved")
        for address in found:
            if (why := self.ground.why_not(address, bus)) is not None:
                raise Refused(name, port, why)
        return found

    async def _addresses(self, host: str) -> Sequence[Address]:
        try:
            return [ip_address(host)]
        except ValueError:
            return await self.ground.resolve(self.tenant, host)


def own_addresses() -> frozenset[Address]:
    """This machine's own."""
    families = (socket.AF_INET, socket.AF_INET6)
    all_ = (each for found in psutil.net_if_addrs().values() for each in found if each.family in families)
    return frozenset(ip_address(each.address) for each in all_)
