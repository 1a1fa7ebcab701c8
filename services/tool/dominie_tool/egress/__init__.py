"""The network of sandboxed tools: a proxy for each call, which reaches what the tool's profile lists, and tells it.

Refused   a connection that the proxy does not make
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import anyio
from anyio.abc import SocketListener, SocketStream

from dominie_contracts.egress import Network, Reached
from dominie_tool.egress.addresses import Address, AddressRange
from dominie_tool.egress.gate import Gate, Ground, own_addresses
from dominie_tool.egress.lasting import Lasting
from dominie_tool.egress.ledger import Ledger
from dominie_tool.egress.line import Dial
from dominie_tool.egress.lookups import Lookups
from dominie_tool.egress.placeholders import Placeholders, Secret
from dominie_tool.egress.proxy import Proxy
from dominie_tool.egress.redaction import Redactor
from dominie_tool.egress.values import Bounds, Refused
from dominie_tool.egress.way import Way

__all__ = ["Bounds", "Call", "Egress", "Ground", "Lasting", "Refused", "Secret", "Way"]

_BOUNDS = Bounds()


async def dial(address: Address, port: int) -> SocketStream:
    """Connect to an address: no name is looked up here."""
    return await anyio.connect_tcp(str(address), port)


class Call:
    """The network of one call.

    Attributes:
        environment: What stands for its secrets, by their names.
        redactor: Takes them out of its outcome.
    """

    def __init__(self, proxy: Proxy, ledger: Ledger, environment: Mapping[str, str], redactor: Redactor) -> None:
        self.environment = environment
        self.redactor = redactor
        self._proxy = proxy
        self._ledger = ledger

    async def serve(self, listener: SocketListener) -> None:
        """Answer whoever connects, until this is cancelled."""
        await self._proxy.serve(listener)

    def reached(self) -> Reached | None:
        """What it has reached, and what it was refused; None where it did not try."""
        return self._ledger.event()


class Egress:
    """The way out for the tools of this process.

    Attributes:
        bounds: Of one call.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        dial: Dial = dial,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        bounds: Bounds = _BOUNDS,
    ) -> None:
        """Be it.

        Args:
            ground: What nobody's tool may reach.
            dial: Connects.
            tls: How hosts prove who they are, where the proxy speaks TLS to them; asked once, when that is wanted.
            bounds: Of one call.
        """
        self._ground = ground
        self._dial = dial
        self._tls = cache(tls)
        self.bounds = bounds

    @classmethod
    def to_the_internet(cls, opened: Sequence[AddressRange], bus: Sequence[str]) -> Egress:
        """The real one: beside the internet some networks are open, and the bus is not."""
        return cls(Ground(tuple(opened), tuple(bus), Lookups(), own_addresses))

    def open(self, network: Network, given: Sequence[Secret] = (), *, tenant: str = "") -> Call:
        """The network of one call, with the secrets that it may use."""
        ledger, placeholders = Ledger(self.bounds), Placeholders(given, partial(secrets.token_hex, 16))
        gate = Gate(network, self._ground, tenant, self.bounds.resolve_s)
        proxy = Proxy(gate, ledger, self._dial, self._tls, placeholders)
        return Call(proxy, ledger, placeholders.environment, Redactor(each.value for each in given))

    def lasting(self, network: Network, given: Sequence[Secret] = (), *, tenant: str) -> Lasting:
        """The network of a box that outlives its calls, with the secrets that it may use."""
        placeholders = Placeholders(given, partial(secrets.token_hex, 16))

        def proxy(ledger: Ledger) -> Proxy:
            gate = Gate(network, self._ground, tenant, self.bounds.resolve_s)
            return Proxy(gate, ledger, self._dial, self._tls, placeholders)

        return Lasting(proxy, placeholders.environment, Redactor(each.value for each in given))

    def way(self, network: Network, *, tenant: str) -> Way:
        """The way for what this service says itself: its hosts are looked up once for as long as it is used."""
        return Way(Gate(network, self._ground, tenant, self.bounds.resolve_s), self._dial, self._tls)
