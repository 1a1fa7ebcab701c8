"""The first words of a TLS client: whom it wants to speak to (RFC 8446, 4.1.2; RFC 6066, 3). Pure.

It is all that is read of a tunnel, and nothing of it is changed.
"""

from __future__ import annotations

MAX_BYTES = 16_384
"""Of a ClientHello, whose own length could be a thousand times that."""
_MOST_RECORDS = 16
"""That it may come in. All of them are read anew whenever more is said, perhaps byte by byte."""
_HANDSHAKE, _CLIENT_HELLO, _TLS = 22, 1, 3
_SERVER_NAME, _HOST_NAME, _ENCRYPTED_HELLO = 0, 0, 0xFE0D


class NotHello(ValueError):
    """This is no ClientHello, or one that says nothing certain.

    Attributes:
        why: `no-hello`, `no-name`, `encrypted-name` or `too-large`.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def server_name(said: bytes) -> str | None:
    """The name in a ClientHello, in lower case; None where more has to be read first.

    Raises:
        NotHello: It is none, it names nobody or hides whom (RFC 9849), or it is too large.
    """
    message = _message(said)
    if message is None:
        if len(said) > MAX_BYTES:
            raise NotHello("too-large")
        return None
    try:
        return _name(_extensions(_Bytes(message)))
    except (IndexError, UnicodeDecodeError) as error:
        raise NotHello("no-hello") from error


def _message(said: bytes) -> bytes | None:
    """The handshake message, which may come in several records."""
    message, at = b"", 0
    for _ in range(_MOST_RECORDS + 1):
        if said[at : at + 1] not in (b"", bytes([_HANDSHAKE])) or said[at + 1 : at + 2] not in (b"", bytes([_TLS])):
            raise NotHello("no-hello")
        if message[:1] not in (b"", bytes([_CLIENT_HELLO])):
            raise NotHello("no-hello")
        if len(message) >= 4:
            length = int.from_bytes(message[1:4])
            if length > MAX_BYTES:
                raise NotHello("too-large")
            if len(message) >= 4 + length:
                return message[4 : 4 + length]
        size = int.from_bytes(said[at + 3 : at + 5])
        if len(said) < at + 5 or len(said) < at + 5 + size:
            return None
        if not size:
            raise NotHello("no-hello")
        message += said[at + 5 : at + 5 + size]
        at += 5 + size
    raise NotHello("too-large")


class _Bytes:
    """Bytes that are read from the front; IndexError where they are too few."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, length: int) -> bytes:
        if len(self._data) < length:
            raise IndexError(length)
        taken, self._data = self._data[:length], self._data[length:]
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length))

    def vector(self, length_bytes: int) -> _Bytes:
        return _Bytes(self.take(self.number(length_bytes)))


def _extensions(hello: _Bytes) -> dict[int, _Bytes]:
    hello.take(2 + 32)  # version, random
    for length_bytes in (1, 2, 1):  # session id, cipher suites, compression methods
        hello.vector(length_bytes)
    found: dict[int, _Bytes] = {}
    all_ = hello.vector(2)
    if hello:
        raise IndexError
    while all_:
        kind = all_.number(2)
        if kind in found:
            raise NotHello("no-hello")  # twice: who reads which?
        found[kind] = all_.vector(2)
    return found


def _name(extensions: dict[int, _Bytes]) -> str:
    if _ENCRYPTED_HELLO in extensions:
        raise NotHello("encrypted-name")
    names = extensions.get(_SERVER_NAME)
    if not names:
        raise NotHello("no-name")
    listed = names.vector(2)
    if listed.number(1) != _HOST_NAME:
        raise NotHello("no-name")
    text = listed.vector(2).rest().decode("ascii").lower()
    if listed or names or not text:
        raise NotHello("no-name")
    return text
