"""Ports of this machine."""

import socket
from contextlib import suppress

GATEWAY_PORT = 8484


def port_of(url: str | None) -> int | None:
    """The port that a URL of ours ends in."""
    tail = (url or "").rpartition(":")[2]
    return int(tail) if tail.isdecimal() else None


def first_free(wanted: int | None, default: int = GATEWAY_PORT) -> int:
    """The wanted port, the default one, or any: the first that nobody has."""
    for port in (wanted, default, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port or 0)) as found:
            if port is not None:
                return int(found.getsockname()[1])
    raise OSError("this machine has no free port")
