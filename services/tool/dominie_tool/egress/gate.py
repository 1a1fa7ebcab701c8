"""From a host's name to the addresses that may be connected to: looked up once in a call, and then never again."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

import anyio
import psutil

from dominie_contracts.egress import Network
from dominie_tool.egress.addresses import Address, AddressRange, held, kind_of
from dominie_tool.egress.hosts import check_listed, plain
from dominie_tool.egress.values import Refused

Resolve = Callable[[str], Awaitable[Sequence[Address]]]
"""From a name to its addresses; OSError where it has none."""
_RESOLVE_S = 10.0
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
    """What one call may reach. What a name stood for when it was first asked for it stands for until the call ends."""

    network: Network
    ground: Ground
    _known: dict[str, tuple[Address, ...]] = field(default_factory=dict)
    _one_at_a_time: anyio.Lock = field(default_factory=anyio.Lock)

    async def check(self, host: str, port: int) -> Target:
        """See that a host may be reached, at every address that its name stands for.

        Raises:
            Refused: It may not be.
        """
        name = plain(host)
        check_listed(self.network, name, port)
        async with self._one_at_a_time:
            if name not in self._known:
                self._known[name] = await self._looked_up(name, port)
        return Target(name, port, self._known[name])

    async def _looked_up(self, name: str, port: int) -> tuple[Address, ...]:
        try:
            with anyio.fail_after(_RESOLVE_S):
                found = tuple(await self.ground.resolve(f"{name}."))
                bus = frozenset([each for one in self.ground.bus for each in await _addresses(one, self.ground)])
        except (OSError, TimeoutError) as error:
            raise Refused(name, port, "unresolved") from error
        if not found:
            raise Refused(name, port, "unresolved")
        for address in found:
            if (why := self.ground.why_not(address, bus)) is not None:
                raise Refused(name, port, why)
        return found


async def _addresses(host: str, ground: Ground) -> Sequence[Address]:
    try:
        return [ip_address(host)]
    except ValueError:
        return await ground.resolve(host)


async def look_up(name: str) -> Sequence[Address]:
    """What a name stands for, by this machine's own resolver. One that ends in a dot is whole."""
    found = await anyio.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(each[4][0]) for each in found))


def own_addresses() -> frozenset[Address]:
    """This machine's own."""
    families = (socket.AF_INET, socket.AF_INET6)
    all_ = (each for found in psutil.net_if_addrs().values() for each in found if each.family in families)
    return frozenset(ip_address(each.address) for each in all_)
