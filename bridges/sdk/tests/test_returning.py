"""A client comes back, wherever in a connection the broker ended."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import nats
import pytest
from nats.aio.msg import Msg

from dominie.testing import Broker
from dominie.wire import Wire

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
WAIT_S = 30.0
INFO_BYTES = 600
"""About as long as what a broker says first."""
CUTS = (*range(0, 2 * INFO_BYTES, 40), *range(1, 60))
"""After how many bytes of the broker's the connections end, one after the other: anywhere in its first words, in its
answers to pings, in messages."""


class Cutter:
    """Stands before a broker, and ends each connection where it is told; once nothing is left to cut, none."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._cuts: Iterator[int] = iter(())
        self._open: set[asyncio.StreamWriter] = set()
        self.done = asyncio.Event()

    def cut(self, *cuts: int) -> None:
        """End what is open, and then each after so many bytes."""
        self._cuts = iter(cuts)
        for writer in self._open:
            writer.transport.abort()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Where to connect."""
        server = await asyncio.start_server(self._one, "127.0.0.1", 0)
        try:
            yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, back}
        left = next(self._cuts, None)
        if left is None:
            self.done.set()
        tasks = {asyncio.create_task(_pass(reader, back)), asyncio.create_task(_pass(there, writer, left))}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, back):
            self._open.discard(end)
            end.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None = None) -> None:
    with suppress(OSError):
        while data := await reader.read(65536 if left is None else max(left, 1)):
            writer.write(data[:left])
            await writer.drain()
            if left is not None and (left := left - len(data)) <= 0:
                return


async def test_it_comes_back_wherever_it_was_cut(broker: Broker) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    cutter, wire, asker = Cutter(broker.url), Wire(), await nats.connect(broker.url)
    async with cutter.listening() as url, asyncio.timeout(WAIT_S):
        await wire.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0, pending_size=0, error_cb=_ignore)
        await wire.subscribe("here.*", cb=answer)
        await wire.flush()

        cutter.done.clear()
        cutter.cut(*CUTS)
        while not cutter.done.is_set():
            await asyncio.sleep(0.001)
            await asker.publish("here.now", b"x" * 200)

        while True:
            with suppress(nats.errors.Error):
                assert (await asker.request("here.again", b"y", timeout=0.5)).data == b"y"
                break
        await wire.close()
        await asker.close()


async def _ignore(_: Exception) -> None:
    """It is cut all the time."""


class Fickle:
    """A broker's first words, and an answer to each ping, unless it `is_silent`; while `ends`, it then often ends the
    connection."""

    def __init__(self) -> None:
        self.ends = False
        self.is_silent = False
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.heard: list[bytes] = []
        self._chance = random.Random(1)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._one, "127.0.0.1", 0)
        try:
            yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for writer in self.open:
                writer.transport.abort()

    async def cut(self, count: int) -> None:
        """End every connection, and wait for so many others."""
        wanted = self.connections + count
        for writer in self.open:
            writer.transport.abort()
        await _until(lambda: self.connections >= wanted)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        with suppress(OSError):
            writer.write(b'INFO {"server_id":"A","version":"2.10.0","max_payload":1048576,"headers":true}\r\n')
            while line := await reader.readline():
                self.heard.append(line)
                if line.startswith(b"PING") and not self.is_silent:
                    writer.write(b"PONG\r\n")
                    if self.ends and self._chance.random() < 0.6:
                        await asyncio.sleep(self._chance.choice((0.0, 0.0, 0.001, 0.002)))
                        break
        self.open.discard(writer)
        (writer.transport.abort if self._chance.random() < 0.5 else writer.close)()


@asynccontextmanager
async def connected(url: str, count: int = 1) -> AsyncIterator[list[Wire]]:
    wires = [Wire() for _ in range(count)]
    for wire in wires:
        await wire.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0, pending_size=0, error_cb=_ignore)
    try:
        yield wires
    finally:
        await asyncio.gather(*(wire.close() for wire in wires))


async def _until(wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not wanted():  # noqa: ASYNC110 - several clients count together
            await asyncio.sleep(0.01)


async def test_who_is_back_stays_where_it_is() -> None:
    broker, count = Fickle(), 60
    async with broker.listening() as url, connected(url, count) as wires:
        broker.ends = True
        for _ in range(10):
            await broker.cut(count)
        broker.ends = False
        await _until(lambda: all(wire.is_connected for wire in wires) and len(broker.open) == count)
        settled = broker.connections
        await asyncio.sleep(2)  # whoever would end another's connection has had its turn
        assert (broker.connections, len(broker.open)) == (settled, count)


async def test_what_the_broker_says_as_it_ends_keeps_nobody_away() -> None:
    broker = Fickle()
    async with broker.listening() as url, connected(url) as wires:
        for writer in tuple(broker.open):
            writer.write(b"-ERR 'Authorization Violation'\r\n")
        await _until(lambda: broker.connections > 1 and wires[0].is_connected)


async def test_who_is_closed_while_it_connects_is_closed() -> None:
    broker, count = Fickle(), 60
    async with broker.listening() as url:
        async with connected(url, count) as wires:
            broker.ends = True
            await broker.cut(count)
        broker.ends = False
        await _until(lambda: not broker.open)
        closed = broker.connections
        await asyncio.sleep(0.5)  # whoever would connect again has had its turn
        assert broker.connections == closed
        assert all(wire.is_closed for wire in wires)


async def test_a_flush_says_that_what_was_sent_before_it_has_arrived() -> None:
    broker = Fickle()
    async with broker.listening() as url, connected(url) as wires:
        await wires[0].subscribe("here")
        await wires[0].publish("there", b"x")
        await wires[0].flush()
        assert [line.split()[0] for line in broker.heard[-4:]] == [b"SUB", b"PUB", b"x", b"PING"]


async def test_a_pong_that_came_too_late_ends_nothing() -> None:
    broker = Fickle()
    async with broker.listening() as url, connected(url) as wires:
        broker.is_silent = True
        with pytest.raises(nats.errors.TimeoutError):
            await wires[0].flush(timeout=0.05)  # type: ignore[arg-type]  # seconds
        broker.is_silent = False
        (writer,) = broker.open
        writer.write(b"PONG\r\n")
        await wires[0].flush()
        assert (broker.connections, wires[0].is_connected) == (1, True)


async def test_who_is_closed_as_the_connection_ends_is_closed() -> None:
    broker, closed = Fickle(), asyncio.Event()

    async def told() -> None:
        closed.set()

    async with broker.listening() as url:
        wire = Wire()
        await wire.connect(url, max_reconnect_attempts=-1, closed_cb=told, error_cb=_ignore)
        wire._drop()
        wire._pending, wire._pending_data_size = (
            [b"PUB x 0\r\n\r\n"],
            11,
        )  # as when it ends between two steps of closing
        await wire.close()
        assert wire.is_closed and closed.is_set()


async def test_a_flush_under_way_is_told_at_once_that_its_connection_ended() -> None:
    broker = Fickle()
    async with broker.listening() as url, connected(url) as wires:
        broker.is_silent = True
        flushing = asyncio.create_task(wires[0].flush(timeout=60))
        await _until(lambda: broker.heard[-2:] == [b"PING\r\n", b"PING\r\n"])
        broker.is_silent = False
        await broker.cut(1)
        with pytest.raises(nats.errors.Error):
            async with asyncio.timeout(5):
                await flushing


async def test_who_publishes_as_the_connection_ends_meets_no_error() -> None:
    broker = Fickle()
    async with broker.listening() as url, connected(url) as wires:
        wire = wires[0]
        assert wire._transport is not None and wire._flusher_task is not None
        wire._flusher_task.cancel()  # as after it has met the end, which the reader has not yet
        await asyncio.sleep(0)

        def ended(_: list[bytes]) -> None:
            raise RuntimeError("the handler is closed")

        wire._transport.writelines = ended  # type: ignore[assignment]  # as uvloop's
        await wire.publish("there", b"x")
        await wire.publish("there", b"x", headers={"A": "b"})
