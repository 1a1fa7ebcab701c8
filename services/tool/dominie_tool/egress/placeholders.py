"""What stands for a secret in a box, and goes out as the secret: in a header, in TLS, to its own hosts alone. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dominie_tool.egress.gate import Target
from dominie_tool.egress.head import Headers
from dominie_tool.egress.hosts import covers
from dominie_tool.egress.values import Refused

_PREFIX = "dominie-secret-"
_BASIC = b"basic "


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, opened for one call.

    Attributes:
        name: What the box calls it, in its environment.
        value: What goes into headers.
        hosts: Where it may go.
    """

    name: str
    value: str
    hosts: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<secret {self.name}>"


class Placeholders:
    """Those of one call."""

    def __init__(self, secrets: Iterable[Secret], random: Callable[[], str]) -> None:
        """Make one for each secret; `random` says something else each time."""
        self._by = {f"{_PREFIX}{random()}": each for each in secrets}

    @property
    def environment(self) -> Mapping[str, str]:
        """What the box sees, by the secrets' names."""
        return {secret.name: placeholder for placeholder, secret in self._by.items()}

    def swapped(self, headers: Headers, target: Target, *, secure: bool) -> Headers:
        """Headers with the secrets in their places, those in Basic credentials (RFC 7617) too.

        Raises:
            Refused: One would leave unencrypted, or is for another host.
        """
        if not self._by:
            return headers
        return [(name, self._value(name, value, target, secure=secure)) for name, value in headers]

    def _value(self, name: bytes, value: bytes, target: Target, *, secure: bool) -> bytes:
        if name == b"authorization" and value[: len(_BASIC)].lower() == _BASIC:
            try:
                said = base64.b64decode(value[len(_BASIC) :].strip(), validate=True)
            except binascii.Error:
                return value
            return value[: len(_BASIC)] + base64.b64encode(self._filled(said, target, secure=secure))
        return self._filled(value, target, secure=secure)

    def _filled(self, said: bytes, target: Target, *, secure: bool) -> bytes:
        for placeholder, secret in self._by.items():
            if placeholder.encode() not in said:
                continue
            if not secure:
                raise Refused(target.host, target.port, "secret-in-clear")
            if not any(covers(host, target.host) for host in secret.hosts):
                raise Refused(target.host, target.port, "secret-elsewhere")
            said = said.replace(placeholder.encode(), secret.value.encode())
        return said
