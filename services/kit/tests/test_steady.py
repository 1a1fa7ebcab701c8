"""The headers of a message, as nats-py reads them."""

from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client

from dominie_kit.steady import SteadyClient

ODD = [b"\r\n", b"\r", b"\n", b":", b" ", b"\t", b"\x0b", b"\x1c", b"\x1f", b"\xc2\xa0", b"\xff", b"Key", b"value", b""]
blocks = st.lists(st.sampled_from(ODD) | st.binary(max_size=4)).map(b"".join)


@given(blocks)
@example(b"A: b\r\nA: c\r\n\r\n")
@example(b"A b: c\r\nA\x1cb: c\r\n: empty\r\n\xc3\xa9: c\r\nNone\r\n")
@example(b" A :\tb \xff \r\n")
def test_headers_are_what_nats_makes_of_them(raw: bytes) -> None:
    assert SteadyClient._parse_header_lines(raw) == Client._parse_header_lines(raw)
