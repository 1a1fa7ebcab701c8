"""Which addresses a tool may reach: the internet's, and none that leads home by whatever way."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.egress import Network
from dominie_tool.egress import Refused
from dominie_tool.egress.addresses import held, kind_of
from dominie_tool.egress.hosts import check_listed, covers, plain

INSIDE = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "169.254.169.254": "link-local",
    "100.64.0.1": "shared",
    "100.100.100.200": "shared",
    "100.127.255.255": "shared",
    "168.63.129.16": "metadata",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "192.0.0.192": "reserved",
    "192.0.2.1": "reserved",
    "198.18.0.1": "reserved",
    "198.51.100.1": "reserved",
    "203.0.113.1": "reserved",
    "192.88.99.1": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fec0::1": "private",
    "fc00::1": "private",
    "fd00:ec2::254": "private",
    "ff02::1": "multicast",
    "2001:db8::1": "reserved",
    "3fff::1": "reserved",
    "2001::1": "reserved",
    "100::1": "reserved",
    "64:ff9b:1::7f00:1": "reserved",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "link-local",
    "::ffff:0:10.0.0.1": "private",
    "::127.0.0.1": "loopback",
    "64:ff9b::10.0.0.1": "private",
    "64:ff9b::169.254.169.254": "link-local",
    "2002:7f00:1::": "loopback",
    "2002:a9fe:a9fe::1": "link-local",
    "2002:c0a8:101::1": "private",
    "2600::5efe:7f00:1": "loopback",
    "2600::200:5efe:10.0.0.1": "private",
}
OUTSIDE = [
    *("8.8.8.8", "1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.0", "11.0.0.0"),
    *("169.253.255.255", "168.63.129.17", "223.255.255.255", "192.169.0.0", "126.255.255.255", "128.0.0.0"),
    *("2606:4700::1111", "2001:4860:4860::8888", "2a00::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "2002:808:808::1"),
]
HOME = [ip_address(each) for each in ("127.0.0.1", "10.9.8.7", "192.168.0.9", "169.254.169.254", "100.64.9.9")]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_the_internets_is_told_by_its_kind(address: str) -> None:
    assert kind_of(ip_address(address)) == INSIDE[address]


@pytest.mark.parametrize("address", OUTSIDE)
def test_ordinary_addresses_are_open(address: str) -> None:
    assert kind_of(ip_address(address)) is None


@given(st.ip_addresses())
def test_nothing_is_open_that_python_knows_to_be_inside(address: IPv4Address | IPv6Address) -> None:
    inside = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    inside = inside or address.is_private or address.is_reserved
    holds = isinstance(address, IPv6Address) and any(held(address))  # and that one is looked at
    assert not inside or holds or kind_of(address) is not None


@given(st.sampled_from(HOME), st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1))
def test_an_address_inside_is_found_in_whatever_holds_it(home: IPv4Address, any_: int, net: int) -> None:
    inner = int(home)
    holders = [
        inner,
        0xFFFF << 32 | inner,
        0xFFFF << 48 | inner,
        0x64FF9B << 96 | inner,
        0x2002 << 112 | inner << 80 | net << 64 | any_,
        0x2600 << 112 | net << 64 | 0x5EFE << 32 | inner,
        0x2600 << 112 | net << 64 | 0x02005EFE << 32 | inner,
    ]
    assert [str(IPv6Address(each)) for each in holders if kind_of(IPv6Address(each)) is None] == []


LISTED = Network(hosts=("api.example.org", "*.example.com"), ports=(443,))
ANY = Network(hosts=("*",), ports=(80, 443))


@pytest.mark.parametrize("host", ["api.example.org", "API.Example.Org.", "a.example.com", "a.b.example.com"])
def test_what_is_listed_is_open(host: str) -> None:
    check_listed(LISTED, plain(host), 443)


@pytest.mark.parametrize(
    ("network", "host", "port", "why"),
    [
        (LISTED, "example.com", 443, "not-listed"),
        (LISTED, "evilexample.com", 443, "not-listed"),
        (LISTED, "api.example.org.evil.net", 443, "not-listed"),
        (LISTED, "www.api.example.org", 443, "not-listed"),
        (LISTED, "api.example.org", 80, "port"),
        (ANY, "localhost", 80, "not-a-name"),
        (ANY, "", 80, "not-a-name"),
        (ANY, "a..b", 80, "not-a-name"),
        (ANY, "a.b\n", 80, "not-a-name"),
        (ANY, "*.example.com", 80, "not-a-name"),
        (ANY, "exämple.org", 80, "not-a-name"),
        (ANY, "x" * 300 + ".org", 80, "not-a-name"),
        (ANY, "127.0.0.1", 80, "loopback"),
        (ANY, "[::1]", 80, "loopback"),
        (ANY, "[::ffff:169.254.169.254]", 80, "link-local"),
        (ANY, "8.8.8.8", 80, "not-a-name"),
        (ANY, "127.1", 80, "not-a-name"),
        (ANY, "0x7f.1", 80, "not-a-name"),
        (ANY, "2130706433", 80, "not-a-name"),
        (ANY, "0177.0.0.1", 80, "not-a-name"),
        (ANY, "1.2.3.0x4", 80, "not-a-name"),
    ],
)
def test_what_is_not_listed_is_refused(network: Network, host: str, port: int, why: str) -> None:
    with pytest.raises(Refused) as raised:
        check_listed(network, plain(host), port)
    assert raised.value.why == why


@pytest.mark.parametrize(
    ("pattern", "other", "covered"),
    [
        ("*", "*", True),
        ("*", "a.org", True),
        ("*.a.org", "*.a.org", True),
        ("*.a.org", "*.b.a.org", True),
        ("*.a.org", "b.a.org", True),
        ("*.a.org", "a.org", False),
        ("*.a.org", "*", False),
        ("*.a.org", "*.org", False),
        ("a.org", "*.a.org", False),
    ],
)
def test_a_pattern_covers_another(pattern: str, other: str, covered: bool) -> None:
    assert covers(pattern, other) is covered
