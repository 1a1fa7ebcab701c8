"""A secret: what may be kept under which name, and which tools may use it. Pure."""

from __future__ import annotations

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.secrets import MAX_CHARS, MIN_CHARS, KeepSecret, SecretKept, SecretRemoved

_TAKEN = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_TAKEN_PARTS = ("LD_", "PYTHON", "MALLOC_", "LC_", "DOMINIE_")
State = SecretKept | None


def check(command: KeepSecret) -> None:
    """See that a secret can go into a header, and its name into the environment of a box.

    Raises:
        Invalid: It cannot.
    """
    name, value = command.name, command.value
    if name in _TAKEN or name.startswith(_TAKEN_PARTS) or name.endswith("_PROXY"):
        raise Invalid(f"{name!r} means something else in a tool's environment; choose another name")
    if not MIN_CHARS <= len(value) <= MAX_CHARS:
        raise Invalid(f"a secret has {MIN_CHARS} to {MAX_CHARS} characters, and this one {len(value)}")
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise Invalid("a secret goes into a header: visible ASCII alone, and no space at its ends or line break in it")


def keep(command: KeepSecret, *, sealed: str, by: str) -> SecretKept:
    """Keep it, in the place of any other."""
    return SecretKept(name=command.name, hosts=command.hosts, tools=command.tools, sealed=sealed, by=by)


def remove(state: State, name: str, *, by: str) -> SecretRemoved:
    """Remove it.

    Raises:
        Invalid: There is none.
    """
    if state is None:
        raise Invalid(f"no secret {name!r} is kept; `dominie secret list` shows which are")
    return SecretRemoved(name=name, by=by)


def evolve(event: SecretKept | SecretRemoved) -> State:
    """What is kept after an event."""
    return event if isinstance(event, SecretKept) else None


def check_use(state: State, name: str, *, tool: str, owner: str) -> SecretKept:
    """See that a tool may use a secret: its owner keeps it, or who does has named the tool.

    Raises:
        Invalid: There is none.
        Forbidden: It may not.
    """
    if state is None:
        raise Invalid(f"{tool!r} wants the secret {name!r}, and none is kept: `dominie secret set {name} --host …`")
    if owner != state.by and tool not in state.tools:
        raise Forbidden(f"{tool!r} may not use {name!r}: {state.by} keeps it, and can name the tool with --tool {tool}")
    return state
