"""Whom a TLS client wants to speak to is read from its first words, or they are refused."""

import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_tool.egress.hello import MAX_BYTES, NotHello, server_name


def hello(name: str | None) -> bytes:
    """What OpenSSL says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    said = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=name).do_handshake()
    return said.read()


HELLO = hello("api.example.org")


def vector(data: bytes, length_bytes: int = 2) -> bytes:
    return len(data).to_bytes(length_bytes) + data


def made(*extensions: tuple[int, bytes], tail: bytes = b"") -> bytes:
    """A ClientHello with these extensions, in one record."""
    listed = b"".join(kind.to_bytes(2) + vector(data) for kind, data in extensions)
    body = b"\x03\x03" + bytes(32) + vector(b"", 1) + vector(b"\x13\x01") + vector(b"\0", 1) + vector(listed) + tail
    return b"\x16\x03\x01" + vector(b"\x01" + vector(body, 3))


def named(name: bytes, kind: int = 0) -> tuple[int, bytes]:
    return 0, vector(bytes([kind]) + vector(name))


def test_the_name_is_found() -> None:
    assert server_name(HELLO) == "api.example.org"
    assert server_name(made(named(b"API.example.org"))) == "api.example.org"


def test_nothing_is_said_before_all_of_it_is_there() -> None:
    assert [n for n in range(len(HELLO)) if server_name(HELLO[:n]) is not None] == []


@given(st.lists(st.integers(1, len(HELLO) - 6), max_size=8, unique=True))
def test_it_may_come_in_several_records(cuts: list[int]) -> None:
    message = HELLO[5:]
    at = [0, *sorted(cuts), len(message)]
    records = [message[first:last] for first, last in pairwise(at)]
    assert server_name(b"".join(b"\x16\x03\x01" + vector(each) for each in records)) == "api.example.org"


def in_records(message: bytes, count: int) -> bytes:
    """A message of which all records but the last hold one byte."""
    parts = [message[at : at + 1] for at in range(count - 1)] + [message[count - 1 :]]
    return b"".join(b"\x16\x03\x01" + vector(each) for each in parts)


def test_in_more_records_than_anybody_needs_it_is_refused_before_all_of_it_is_there() -> None:
    assert server_name(in_records(HELLO[5:], 16)) == "api.example.org"
    assert server_name(in_records(HELLO[5:21], 16)) is None
    with pytest.raises(NotHello, match="too-large"):
        server_name(in_records(HELLO[5:22], 17))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (hello(None), "no-name"),
        (b"GET / HTTP/1.1\r\n\r\n", "no-hello"),
        (b"\x16\x02\x01\0\0", "no-hello"),
        (b"\x16\x03\x01\0\0", "no-hello"),
        (b"\x15\x03\x01\0\2\1\0", "no-hello"),
        (b"\x16\x03\x01" + vector(b"\x02" + vector(b"", 3)), "no-hello"),
        (made(named(b"a.org"), named(b"b.org")), "no-hello"),
        (made(named(b"a.org"), tail=b"x"), "no-hello"),
        (made((0, vector(b"\0" + vector(b"a.org") + b"\0" + vector(b"b.org")))), "no-name"),
        (made((0, vector(b""))), "no-hello"),
        (made((0, b"")), "no-name"),
        (made(named(b"")), "no-name"),
        (made(named(b"a.org", kind=1)), "no-name"),
        (made(named("ä.org".encode())), "no-hello"),
        (made((0, b"\0\xff\0\0\1a")), "no-hello"),
        (made(named(b"a.org"), (0xFE0D, b"sealed")), "encrypted-name"),
        (made((0xFE0D, b"sealed")), "encrypted-name"),
        (b"\x16\x03\x01" + vector(b"\x01\x00\x50\x00" + bytes(99)), "too-large"),
        (
            b"".join(b"\x16\x03\x01\0\1" + bytes([byte]) for byte in b"\1\0\x3f\xff" + bytes(MAX_BYTES // 6)),
            "too-large",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "said",
)
def test_what_says_nothing_certain_is_refused(said: bytes, why: str) -> None:
    with pytest.raises(NotHello) as raised:
        server_name(said)
    assert raised.value.why == why


@given(st.binary(max_size=300), st.integers(0, len(HELLO)))
def test_any_bytes_are_a_name_a_refusal_or_too_few(any_: bytes, kept: int) -> None:
    for said in (any_, HELLO[:kept] + any_):
        try:
            found = server_name(said)
        except NotHello as error:
            assert error.why in ("no-hello", "no-name", "encrypted-name", "too-large")
        else:
            assert found is None or isinstance(found, str)
