"""The headers that a server over HTTP gets with each request, in which `{secret:NAME}` stands for a secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from dominie_contracts import Invalid
from dominie_tool.egress import Secret
from dominie_tool.egress.head import Headers
from dominie_tool.egress.hosts import covers

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_MARK = re.compile(r"\{secret:([A-Z][A-Z0-9_]{0,63})\}")
_MOST, _LONGEST = 16, 1_024
_OURS = frozenset(("accept", "accept-encoding", "expect", "host", "last-event-id"))
_TAKEN = _OURS | {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
_TAKEN_PARTS = ("content-", "mcp-", "proxy-")
_TELLING = ("auth", "cookie", "key", "pass", "secret", "token")


def is_telling(name: str) -> bool:
    """Whether a name is such that nobody should find in the log what it stands for."""
    return any(part in name.lower() for part in _TELLING)


def check_headers(headers: Mapping[str, str]) -> None:
    """See that headers can be sent, and that what looks like a secret is one.

    Raises:
        Invalid: They cannot, or it is not.
    """
    if len(headers) > _MOST or len({name.lower() for name in headers}) < len(headers):
        raise Invalid(f"a server gets at most {_MOST} headers, each once")
    for name, value in headers.items():
        _check(name, value)


def secrets_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the secrets that headers want."""
    return tuple(dict.fromkeys(found for value in headers.values() for found in _MARK.findall(value)))


def filled(headers: Mapping[str, str], given: Iterable[Secret], host: str) -> Headers:
    """Headers as they are sent to a host.

    Raises:
        Invalid: A secret is for other hosts.
    """
    values: dict[str, str] = {}
    for secret in given:
        if not any(covers(pattern, host) for pattern in secret.hosts):
            where = ", ".join(secret.hosts)
            raise Invalid(
                f"the secret {secret.name!r} is for {where}: `dominie secret set {secret.name} --host {host}`"
            )
        values[secret.name] = secret.value
    return [
        (name.lower().encode(), _MARK.sub(lambda found: values[found[1]], text).encode())
        for name, text in headers.items()
    ]


def _check(name: str, value: str) -> None:
    lower = name.lower()
    if not _NAME.fullmatch(name) or lower in _TAKEN or lower.startswith(_TAKEN_PARTS):
        raise Invalid(f"{name[:64]!r} is no header that a server can be given")
    if not (0 < len(value) <= _LONGEST and value.isascii() and value.isprintable() and value == value.strip()):
        raise Invalid(f"the header {name!r} is visible ASCII, at most {_LONGEST} characters")
    rest = _MARK.sub("", value)
    if "{secret" in rest:
        raise Invalid(f"the header {name!r}: a secret is named like {{secret:API_KEY}}")
    if rest == value and is_telling(name):
        raise Invalid(
            f"the header {name!r} would stand in the log: `dominie secret set NAME`, and {{secret:NAME}} in its place"
        )
