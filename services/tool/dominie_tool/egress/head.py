"""What a client asks of a proxy (RFC 9112, 3.2), and what of its words goes on to the host. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import h11

from dominie_tool.egress.values import Refused

Headers = list[tuple[bytes, bytes]]
CLOSE = (b"connection", b"close")
_OF_ONE_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate"),
        *(b"te", b"trailer", b"upgrade", b"host", b"expect"),
    )
)
"""What is said to a proxy, or by it. `host` is written anew, from what was checked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants.

    Attributes:
        tunnel: Whether it wants a tunnel, and then nothing but bytes.
        secure: Whether the host is to be spoken to in TLS, by the proxy.
        host: As it wrote it.
        port: As well; None where it named none.
        path: What to ask the host for.
    """

    tunnel: bool
    secure: bool
    host: str
    port: int | None
    path: bytes = b""


def asked_of(request: h11.Request) -> Asked:
    """What a request wants.

    Raises:
        Refused: It is none to a proxy; or it says twice how long its body is.
    """
    tunnel = request.method == b"CONNECT"
    target = request.target.decode("ascii", "replace")
    names = {name for name, _ in request.headers}
    try:
        if {b"content-length", b"transfer-encoding"} <= names:
            raise ValueError(names)
        return _asked(urlsplit(f"//{target}" if tunnel else target), tunnel=tunnel)
    except ValueError as error:
        raise Refused("", 0, "no-request") from error


def _asked(url: SplitResult, *, tunnel: bool) -> Asked:
    if url.username is not None or not url.hostname or url.port == 0:
        raise ValueError(url)
    if tunnel:
        if url.port is None or url.path or url.query or url.fragment:
            raise ValueError(url)
        return Asked(True, False, url.hostname, url.port)
    if url.scheme not in ("http", "https"):
        raise ValueError(url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Asked(False, url.scheme == "https", url.hostname, url.port, path.encode())


def authority(host: str, port: int, *, secure: bool) -> bytes:
    """What `Host` says."""
    return (host if port == (443 if secure else 80) else f"{host}:{port}").encode()


def passed_on(request: h11.Request, asked: Asked, headers: Headers, named: bytes) -> h11.Request:
    """A request as the host gets it."""
    headers = [(b"host", named), *end_to_end(headers), CLOSE]
    return h11.Request(method=request.method, target=asked.path, headers=headers)


def end_to_end(headers: Headers) -> Headers:
    """The headers that are for the other end (RFC 9110, 7.6.1)."""
    named = [value for name, value in headers if name == b"connection"]
    hop = _OF_ONE_HOP | {each.strip().lower() for value in named for each in value.split(b",")}
    return [(name, value) for name, value in headers if name not in hop]
