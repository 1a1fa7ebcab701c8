"""What is heard of one side of an exchange, however it is cut up: nobody else waits for it."""

import anyio
import anyio.lowlevel
import h11
import pytest

from dominie_tool.egress.exchange import Side

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(100)]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
GOES_ON = b"HTTP/1.1 102 Processing\r\n\r\n"


async def asking(said: bytes) -> Side:
    """A host that was asked, and says all of this at once."""
    rest = [said]

    async def receive() -> bytes:
        if not rest:
            raise anyio.EndOfStream
        return rest.pop()

    async def send(data: bytes) -> None:
        pass

    side = Side(h11.Connection(h11.CLIENT, max_incomplete_event_size=16_384), receive, send)
    await side.say(h11.Request(method="GET", target="/", headers=[("Host", "example.com")]))
    await side.say(h11.EndOfMessage())
    return side


async def heard(side: Side) -> int:
    """How long its answer is, in bytes."""
    found = 0
    while not isinstance(event := await side.next(), h11.EndOfMessage):
        found += len(event.data) if isinstance(event, h11.Data) else 0
    return found


@pytest.mark.parametrize(
    "said",
    [HEAD + b"1\r\nx\r\n" * 50_001, HEAD + (b"3f\r\n" + b"x" * 63 + b"\r\n") * 50_001, GOES_ON * 50_001],
    ids=["bytes", "63", "goes on"],
)
async def test_who_speaks_in_crumbs_is_not_heard_out(said: bytes) -> None:
    side = await asking(said)
    with pytest.raises(h11.RemoteProtocolError, match="more than 50,000 crumbs"):
        await heard(side)


async def test_who_speaks_in_small_pieces_is() -> None:
    side = await asking(HEAD + (b"40\r\n" + b"x" * 64 + b"\r\n") * 50_001 + b"1\r\nx\r\n" * 49_000 + END)
    assert await heard(side) == 64 * 50_001 + 49_000


@pytest.mark.parametrize("size", [1, 100])
async def test_others_have_their_turns_meanwhile(size: int) -> None:
    side, turns = await asking(HEAD + (b"%x\r\n" % size + b"x" * size + b"\r\n") * 10_000 + END), 0

    async def other() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        assert await heard(side) == size * 10_000
        tasks.cancel_scope.cancel()
    assert turns >= 10_000 // 256 - 1
