"""How a message with headers is written to the broker."""

from nats.aio.client import Client


class Wire(Client):
    """nats-py's client; headers are written in one go, without a look at each name: they are our own."""

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, str] | None
    ) -> None:
        block = b"" if headers is None else header_block(headers)
        if not block:
            return await super()._send_publish(subject, reply, payload, payload_size, headers)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        sizes = f"{len(block)} {len(block) + payload_size}"
        await self._send_command(b"HPUB %b\r\n%b%b\r\n" % (f"{subject} {reply} {sizes}".encode(), block, payload))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()


def header_block(headers: dict[str, str]) -> bytes:
    """The headers as the broker takes them; nothing where a value has a line of its own, which nats-py mends."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    ends = len(headers)
    if lines.count("\r") != ends or lines.count("\n") != ends:
        return b""
    return f"NATS/1.0\r\n{lines}\r\n".encode()
