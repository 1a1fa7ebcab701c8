"""What a call of a tool is bound to on the network, and what it is told where it goes beyond.

Refused   a connection that the proxy does not make
"""

from __future__ import annotations

from dataclasses import dataclass

WORDS = {
    "loopback": "its address is this machine's own",
    "own": "its address is this machine's own",
    "bus": "its address is the bus's",
    "private": "its address is in a private network",
    "link-local": "its address is link-local",
    "shared": "its address is in a carrier's network",
    "multicast": "its address is for many",
    "unspecified": "its address is nobody's",
    "reserved": "its address is reserved",
    "metadata": "its address is a cloud's own",
    "not-a-name": "hosts are reached by their whole names",
    "not-listed": "the tool's profile does not list it",
    "port": "the tool's profile does not list the port",
    "unresolved": "its name stands for nothing",
    "no-answer": "nobody said in time what its name stands for",
    "unreachable": "it does not answer",
    "certificate": "it does not prove that it is who it is",
    "no-hello": "a tunnel is for TLS",
    "no-name": "its TLS does not say for whom it is",
    "encrypted-name": "its TLS hides for whom it is",
    "other-name": "its TLS is for another one",
    "too-large": "its head is too large",
    "too-slow": "it took too long to say what it wants",
    "too-many": "the call has made too many connections",
    "too-much": "the call has moved too many bytes",
    "secret-in-clear": "a secret leaves in TLS alone",
    "secret-elsewhere": "the secret is for another host",
    "no-request": "that is no request to a proxy",
}
"""Why something is refused, in one word and in several."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of one call on the network, whose time is the call's own.

    Attributes:
        moved_bytes: Sent and received, over all connections.
        connections: Over the whole call.
        at_once: Connections that are open.
        head_bytes: Of the head of a request, and of a ClientHello.
        head_s: Until that is here.
        resolve_s: Until it is known what a name stands for, others that are waited for included.
        connect_s: Until a host answers.
        idle_s: Without a byte in either direction.
    """

    moved_bytes: int = 64 * 2**20
    connections: int = 256
    at_once: int = 32
    head_bytes: int = 16_384
    head_s: float = 10.0
    resolve_s: float = 10.0
    connect_s: float = 10.0
    idle_s: float = 30.0


class Refused(Exception):
    """A connection that is not made.

    Attributes:
        host: As the tool wrote it.
        port: 0 where it named none.
        why: One of `WORDS`.
        told: Whether it is counted.
    """

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"{host or 'it'} is refused: {WORDS[why]}")
        self.host = host
        self.port = port
        self.why = why
        self.told = False
