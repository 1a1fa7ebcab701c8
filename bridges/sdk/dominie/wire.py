"""nats-py's client, made quick and fair for many messages at once.

nats-py matches a pattern for each message, hands it through a queue to a task, and answers all that one read brought in
one long burst, while whoever waits for the answers stands idle. Here a message for `AtOnce` is handed on as it is read,
and what it led to has its turn now and then. Everything else is left to nats-py.
"""

import asyncio
import logging
import re
from functools import lru_cache

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from dominie.returning import Returning
from dominie_contracts.heard import AtOnce

_AT_A_TIME = 32
"""Messages read before what they led to has its turn."""
_HEAD = b"NATS/1.0\r\n"
_SPACE = re.compile(r"\s")
log = logging.getLogger("dominie")


class Wire(Returning):
    """Reads with `_Reader`, and writes a message in one go, without a look at each header's name: they are our own."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _Reader(self)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """What nats-py's own makes of a block of headers, without its look at each character of each name."""
        found: dict[str, str] = {}
        for line in raw.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon and (key := _header_name(name)) is not None:
                found[key] = value.strip().decode("utf-8", "replace")
        return found

    async def hear(self, sid: int, subject: bytes, reply: bytes, data: bytes, head: bytes) -> None:
        """Hand on one message as it was read; one that cannot be read is dropped, and reading goes on."""
        subscription = self._subs.get(sid)
        heard: object = subscription._future if subscription else None
        try:
            if subscription is None or not isinstance(heard, AtOnce):
                await self._process_msg(sid, subject, reply, data, head)
                return
            if heard.ignores is not None and heard.ignores(subject):
                return
            if head.startswith(_HEAD):
                headers = self._parse_header_lines(head[len(_HEAD) :]) or None
            else:
                headers = await self._process_headers(head) if head else None
            subscription._received += 1
            heard.set_result(Msg(self, subject.decode(), reply.decode(), data, headers, _sid=sid))
        except Exception:
            log.warning("a message on %r could not be read", subject[:200], exc_info=True)

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """As nats-py's, but in one go where nothing stands in the way."""
        names = f"{subject} {reply}".encode()
        block = header_block(headers) if headers else b""
        size = len(block) + len(payload)
        written = len(names.split()) == (2 if reply else 1) and (block or not headers)
        kick = self._flush_queue if size <= self._max_payload and self._status == Client.CONNECTED else None
        if kick is None or not written:
            await super().publish(subject, payload, reply, headers)
            return
        if block:
            line = b"HPUB %b %d %d\r\n%b%b\r\n" % (names, len(block), size, block, payload)
        else:
            line = b"PUB %b %d\r\n%b\r\n" % (names, size, payload)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += len(payload)
        await self._send_command(line)
        if kick.empty():
            await self._flush_pending()


class _Reader(Parser):
    """Reads messages; any other line is nats-py's."""

    nc: Wire

    def reset(self) -> None:
        super().reset()
        self._left: list[bytes] = []
        self._lacks = 0
        self._heard = 0
        self._connection = object()

    async def parse(self, data: bytes = b"") -> None:
        if self._left:
            self._left.append(data)
            self._lacks -= len(data)
            if self._lacks > 0:  # a large message is put together once, and not at each part of it
                return
            data = b"".join(self._left)
            self._left = []
        place, connection = 0, self._connection
        self._lacks = 0
        while (end := data.find(b"\r\n", place)) >= 0:
            line = data[place:end]
            if line.startswith((b"MSG ", b"HMSG ")):
                after = await self._message(line, data, end + 2)
                if after is None:
                    break
                place = after
            else:
                place = end + 2
                await super().parse(line + b"\r\n")
            if self._connection is not connection:
                return  # it was lost meanwhile, and what is left of it with it
        if place < len(data):
            self._left = [data[place:]]

    async def _message(self, line: bytes, data: bytes, start: int) -> int | None:
        """Hand on the message that begins with a line; the place after it, None if not all of it is here."""
        words = line.split()
        try:
            if words[0] == b"HMSG":
                *names, head_size, size = words
                body = start + int(head_size)
            else:
                *names, size = words
                body = start
            _, subject, number, reply = names if len(names) == 4 else (*names, b"")
            sid, end = int(number), start + int(size)
        except ValueError as error:
            raise ProtocolError("nats: malformed MSG") from error
        if len(data) < end + 2:
            self._lacks = end + 2 - len(data)
            return None
        await self.nc.hear(sid, subject, reply, data[body:end], data[start:body])
        self._heard += 1
        if self._heard % _AT_A_TIME == 0:
            await asyncio.sleep(0)
        return end + 2


@lru_cache(256)
def _header_name(written: bytes) -> str | None:
    """A header's name; None where it is none."""
    name = written.strip().decode("ascii", "replace")
    return name if name.isascii() and not _SPACE.search(name) else None


def header_block(headers: dict[str, str]) -> bytes:
    """The headers as the broker takes them; nothing where a value has a line of its own, which nats-py mends."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    ends = len(headers)
    if lines.count("\r") != ends or lines.count("\n") != ends:
        return b""
    return f"NATS/1.0\r\n{lines}\r\n".encode()
