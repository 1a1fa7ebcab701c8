"""Messages as they are read from the broker, headers as they are written to it."""

import asyncio
from itertools import pairwise

import nats
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from dominie.returning import Returning
from dominie.testing import Broker
from dominie.wire import Wire, _Reader, header_block
from dominie_contracts import headers
from dominie_contracts.heard import AtOnce

ODD = [b"\r\n", b"\r", b"\n", b":", b" ", b"\t", b"\x0b", b"\x1c", b"\x1f", b"\xc2\xa0", b"\xff", b"Key", b"value", b""]
BLOCKS = st.lists(st.sampled_from(ODD) | st.binary(max_size=4)).map(b"".join)
REPLIES = st.sampled_from([b"", b" _INBOX.a.1"])
NAMES = st.sampled_from([headers.TOKEN, headers.KEY, headers.DEADLINE, headers.AFTER, headers.TRACEPARENT])
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_they_are_read_as_what_they_were(given: dict[str, str]) -> None:
    block = header_block(given)
    read = Client._parse_header_lines(block.removeprefix(b"NATS/1.0\r\n"))
    assert read == {name: value.encode().strip().decode() for name, value in given.items()}


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["a\r\nPUB evt.0 1\r\nx", "a\nb", "a\rb"])
async def test_a_value_cannot_end_its_line(broker: Broker, value: str) -> None:
    wire, other = Wire(), Returning()
    await wire.connect(broker.url)
    await other.connect(broker.url)
    heard = await other.subscribe(">")
    await other.flush()
    await wire.publish("cmd.x", b"1", headers={headers.KEY: value, headers.AFTER: "7"})
    await wire.publish("cmd.x", b"2", headers={headers.KEY: "k"})
    first, second = await heard.next_msg(timeout=30), await heard.next_msg(timeout=30)
    await wire.close()
    await other.close()
    spoilt = value.translate({ord("\r"): " ", ord("\n"): " "})
    assert (first.data, first.headers) == (b"1", {headers.KEY: spoilt, headers.AFTER: "7"})
    assert (second.data, second.headers) == (b"2", {headers.KEY: "k"})


@given(BLOCKS)
@example(b"A: b\r\nA: c\r\n\r\n")
@example(b"A b: c\r\nA\x1cb: c\r\n: empty\r\n\xc3\xa9: c\r\nNone\r\n")
@example(b" A :\tb \xff \r\n")
def test_headers_are_what_nats_makes_of_them(raw: bytes) -> None:
    assert Wire._parse_header_lines(raw) == Client._parse_header_lines(raw)


def plain(reply: bytes, data: bytes) -> bytes:
    return b"MSG cmd.x 1%b %d\r\n%b\r\n" % (reply, len(data), data)


def headed(reply: bytes, data: bytes) -> bytes:
    head = b"NATS/1.0\r\nA: b\r\n\r\n"
    return b"HMSG cmd.x 1%b %d %d\r\n%b%b\r\n" % (reply, len(head), len(head) + len(data), head, data)


FRAMES = st.builds(plain, REPLIES, st.binary(max_size=9) | st.just(b"MSG cmd.x 1 0\r\n\r\n")) | st.builds(
    headed, REPLIES, st.binary(max_size=9)
)
LINES = st.sampled_from([b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'no'\r\n"])


class Told:
    """Stands where the client does, and notes what a reader tells it."""

    def __init__(self) -> None:
        self.log: list[object] = []

    async def hear(self, sid: int, subject: bytes, reply: bytes, data: bytes, head: bytes | None) -> None:
        self.log.append((sid, subject, reply, data, head or b""))

    _process_msg = hear

    async def _process_ping(self) -> None:
        self.log.append("ping")

    async def _process_pong(self) -> None:
        self.log.append("pong")

    async def _process_err(self, error: str) -> None:
        self.log.append(error)


async def told(kind: type[Parser], parts: list[bytes]) -> list[object]:
    nc = Told()
    reader = kind(nc)
    for part in parts:
        await reader.parse(part)
    return nc.log


@given(st.lists(FRAMES | LINES, max_size=50), st.lists(st.integers(0, 2000), max_size=8))
def test_what_is_read_is_what_nats_reads_however_it_is_cut(frames: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(frames)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    parts = [whole[start:end] for start, end in pairwise(places)]
    assert asyncio.run(told(_Reader, parts)) == asyncio.run(told(Parser, [whole]))


@pytest.mark.parametrize("frame", [b"MSG cmd.x\r\n", b"MSG cmd.x one 3\r\n", b"HMSG cmd.x 1 2\r\n\r\n", b"WHAT\r\n"])
def test_what_is_no_frame_is_an_error(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        asyncio.run(told(_Reader, [frame]))


def test_what_came_before_a_connection_was_lost_is_forgotten() -> None:
    class Lost(Told):
        async def _process_err(self, error: str) -> None:
            reader.reset()

    nc = Lost()
    reader = _Reader(nc)
    asyncio.run(reader.parse(plain(b"", b"a") + b"-ERR 'gone'\r\n" + plain(b"", b"b") + b"MSG cut"))
    asyncio.run(reader.parse(plain(b"", b"c")))
    assert [entry[3] for entry in nc.log if isinstance(entry, tuple)] == [b"a", b"c"]


@pytest.mark.anyio
async def test_what_is_ignored_is_not_read_and_the_next_one_is(broker: Broker) -> None:
    wire, other, heard, done = Wire(), await nats.connect(broker.url), list[str](), asyncio.Event()

    def hear(message: Msg) -> None:
        heard.append(message.subject)
        if message.subject == "cmd.end":
            done.set()

    await wire.connect(broker.url)
    future = AtOnce(hear, ignores=lambda subject: subject == b"cmd.loud")
    await wire.subscribe("cmd.*", future=future)  # type: ignore[arg-type]  # stands for one
    await wire.flush()
    for subject in ("cmd.loud", "cmd.small", "cmd.loud", "cmd.end"):
        await other.publish(subject, b"x", headers={headers.KEY: "k"})
    await asyncio.wait_for(done.wait(), 30)
    await wire.close()
    await other.close()
    assert heard == ["cmd.small", "cmd.end"]
