"""Where a server over HTTP is: `https://`, a whole name, and what of it is said to the host. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from dominie_contracts import Invalid
from dominie_contracts.egress import Network
from dominie_tool.egress.hosts import check_listed, plain
from dominie_tool.egress.values import Refused
from dominie_tool.mcp.headers import is_telling

_LONGEST = 2_048
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address, in parts.

    Attributes:
        target: The path and the query, as a request has them.
    """

    host: str
    port: int
    target: bytes

    @property
    def network(self) -> Network:
        """What of the network that is."""
        return Network(hosts=(self.host,), ports=(self.port,))

    @property
    def authority(self) -> bytes:
        """What `Host` says."""
        return (self.host if self.port == _HTTPS else f"{self.host}:{self.port}").encode()


def check_address(url: str) -> None:
    """See that a server may be reached there, and that nothing secret stands in the log: the address does.

    Raises:
        Invalid: None is, or something does.
    """
    address_of(url)
    named = [name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)]
    telling = next((name for name in named if is_telling(name)), "{secret:" if "{secret:" in unquote(url) else None)
    if telling is not None:
        raise Invalid(
            f"an address stands in the log, and has no room for {telling[:64]!r}: "
            "`dominie secret set NAME`, and --header 'Authorization: Bearer {secret:NAME}'"
        )


def address_of(url: str) -> Address:
    """The parts of an address.

    Raises:
        Invalid: No server is reached there.
    """
    try:
        parts = urlsplit(url)
        host, port = plain(parts.hostname or ""), parts.port or _HTTPS
    except ValueError as error:
        raise Invalid(f"{url[:100]!r} is no address: {error}") from error
    if parts.scheme != "https":
        raise Invalid(f"{url[:100]!r}: MCP servers are reached over https alone, which says who they are")
    if parts.username is not None or parts.fragment or not _is_plain(url):
        raise Invalid(f"{url[:100]!r} is no address of a server: a host, a path, and no password or fragment")
    try:
        check_listed(Network(hosts=("*",), ports=(port,)), host, port)
    except Refused as refused:
        raise Invalid(f"{url[:100]!r}: {refused}") from refused
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(host, port, target.encode())


def _is_plain(url: str) -> bool:
    return len(url) <= _LONGEST and url.isascii() and url.isprintable() and " " not in url
