"""For tests of the way out: an internet on this machine's loopback, whose names mean what a test says."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dominie_tool.egress.addresses import Address
from dominie_tool.egress.gate import Ground

HOST, PUBLIC = "api.example.org", "93.184.216.34"
Answer = Callable[[ByteStream], Awaitable[None]]


@dataclass
class Internet:
    """Names, in turn each of several meanings; and what listens where."""

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    listens: dict[tuple[str, int], int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)

    async def resolve(self, tenant: str, name: str) -> list[Address]:
        self.asked.append(name)
        meanings = self.names.get(name.removesuffix("."))
        if not meanings:
            raise OSError("no such name")
        return [ip_address(each) for each in (meanings.pop(0) if len(meanings) > 1 else meanings[0])]

    async def dial(self, address: Address, port: int) -> SocketStream:
        self.dialled.append(f"{address}:{port}")
        if (str(address), port) not in self.listens:
            raise ConnectionRefusedError(str(address))
        return await anyio.connect_tcp("127.0.0.1", self.listens[str(address), port])

    def ground(self, opened: tuple[str, ...] = (), bus: tuple[str, ...] = (), own: tuple[str, ...] = ()) -> Ground:
        mine = frozenset(ip_address(each) for each in own)
        return Ground(tuple(ip_network(each) for each in opened), bus, self.resolve, lambda: mine)


@asynccontextmanager
async def served(
    internet: Internet, answer: Answer, address: str = PUBLIC, port: int = 80, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Something listens at an address of this internet."""
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(multi, tls, standard_compatible=False) if tls else multi
    internet.listens[address, port] = multi.extra(SocketAttribute.local_port)
    async with multi, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield
        tasks.cancel_scope.cancel()


def says(body: bytes, head: bytes = b"HTTP/1.1 200 OK", seen: list[bytes] | None = None) -> Answer:
    """A host that says this to whatever it is asked."""

    async def answer(stream: ByteStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            async with stream:
                await reply(stream)

    async def reply(stream: ByteStream) -> None:
        said = await stream.receive()
        while b"\r\n\r\n" not in said:
            said += await stream.receive()
        if seen is not None:
            seen.append(said)
        await stream.send(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return answer


@dataclass(frozen=True)
class Authority:
    """Vouches for hosts."""

    folder: Path

    def certificate(self, host: str) -> ssl.SSLContext:
        """How a host proves that it is that, to who trusts this."""
        key, names = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        signed = (
            x509.CertificateBuilder(names, names, key.public_key(), x509.random_serial_number(), now)
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file = self.folder / f"{host}.pem"
        file.write_bytes(private + signed.public_bytes(pem))
        with (self.folder / "trusted.pem").open("ab") as trusted:
            trusted.write(signed.public_bytes(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "trusted.pem"))
