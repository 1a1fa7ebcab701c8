"""Names of hosts, and the patterns that a tool's profile lists. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address

from dominie_contracts.egress import HOST_PATTERN, Network
from dominie_tool.egress.addresses import kind_of
from dominie_tool.egress.values import Refused

_HOST = re.compile(HOST_PATTERN.removesuffix("$"))
_LONGEST = 253


def plain(host: str) -> str:
    """A name as it is compared: in lower case, without the dot that ends it, an address without its brackets."""
    return host.lower().removesuffix(".").removeprefix("[").removesuffix("]")


def check_listed(network: Network, host: str, port: int) -> None:
    """See that a plain name is one, and that it may be reached.

    Raises:
        Refused: It may not.
    """
    if len(host) > _LONGEST or not _HOST.fullmatch(host):
        raise Refused(host, port, _of_no_name(host))
    if not any(covers(pattern, host) for pattern in network.hosts):
        raise Refused(host, port, "not-listed")
    if port not in network.ports:
        raise Refused(host, port, "port")


def covers(pattern: str, other: str) -> bool:
    """Whether all that another pattern, or a name, stands for is what this one stands for."""
    if pattern == "*" or pattern == other:
        return True
    return pattern.startswith("*.") and other.endswith(pattern[1:])


def _of_no_name(host: str) -> str:
    """Why that is refused: hosts are reached by name alone, and an address says what it is."""
    try:
        return kind_of(ip_address(host)) or "not-a-name"
    except ValueError:
        return "not-a-name"
