"""Which addresses are the internet's, and not this machine's, its network's or nobody's. Pure.

After IANA's registries of special-purpose addresses (RFC 6890), written out since `ipaddress` of older Pythons lacks
some. What a version 6 address holds of version 4 is looked at, too: a gateway may take it out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
AddressRange: TypeAlias = IPv4Network | IPv6Network
Kind: TypeAlias = Literal[
    "loopback", "private", "link-local", "shared", "multicast", "unspecified", "reserved", "metadata"
]
"""`shared`: behind a carrier's NAT (RFC 6598). `metadata`: of a cloud, where it is not link-local."""

_V4: Mapping[Kind, tuple[str, ...]] = {
    "unspecified": ("0.0.0.0/8",),
    "loopback": ("127.0.0.0/8",),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "link-local": ("169.254.0.0/16",),
    "shared": ("100.64.0.0/10",),
    "multicast": ("224.0.0.0/4",),
    "metadata": ("168.63.129.16/32",),
    "reserved": (
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
    ),
}
_V6: Mapping[Kind, tuple[str, ...]] = {
    "unspecified": ("::/128",),
    "loopback": ("::1/128",),
    "private": ("fc00::/7", "fec0::/10"),
    "link-local": ("fe80::/10",),
    "multicast": ("ff00::/8",),
    "reserved": ("2001::/23", "2001:db8::/32", "3fff::/20"),
}
_NETWORKS_4 = [(kind, IPv4Network(each)) for kind, found in _V4.items() for each in found]
_NETWORKS_6 = [(kind, IPv6Network(each)) for kind, found in _V6.items() for each in found]
_GLOBAL = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_IN_LAST_32 = (_NAT64, IPv6Network("::/96"), IPv6Network("::ffff:0:0/96"), IPv6Network("::ffff:0:0:0/96"))
"""NAT64 (RFC 6052), compatible, mapped (RFC 4291), translated (RFC 2765)."""
_6TO4 = IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)


def kind_of(address: Address) -> Kind | None:
    """What an address is that is not to be reached; None where it is an ordinary one of the internet."""
    if isinstance(address, IPv4Address):
        return next((kind for kind, network in _NETWORKS_4 if address in network), None)
    found = next((kind for kind, network in _NETWORKS_6 if address in network), None)
    if found is not None:
        return found
    inner = list(held(address))
    for each in inner:
        if (kind := kind_of(each)) is not None:
            return kind
    return None if address in _GLOBAL or inner else "reserved"


def held(address: IPv6Address) -> Iterator[IPv4Address]:
    """The version 4 addresses that one of version 6 holds."""
    number = int(address)
    if any(address in network for network in _IN_LAST_32):
        yield IPv4Address(number & 0xFFFFFFFF)
    if address in _6TO4:
        yield IPv4Address(number >> 80 & 0xFFFFFFFF)
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
