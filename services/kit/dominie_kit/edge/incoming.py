"""What the outside of a message says, before anything is known of who sent it."""

from collections.abc import Mapping
from functools import lru_cache

from nats.aio.msg import Msg

from dominie_contracts import CommandSubject, Invalid, Problem, headers
from dominie_contracts.subjects import PLATFORM, inbox_prefix

MAX_KEY_CHARS = 200
_CACHE = 4096
_SERVICE_INBOX = f"_INBOX.{PLATFORM}."


@lru_cache(_CACHE)
def addressed(subject: str) -> tuple[CommandSubject | None, str]:
    """A command's subject, none between services, and what its asker's inbox begins with."""
    if subject.startswith("svc."):
        return None, _SERVICE_INBOX
    parsed = CommandSubject.parse(subject)
    return parsed, inbox_prefix(parsed.tenant, parsed.principal) + "."


@lru_cache(_CACHE)
def speaker(subject: bytes) -> tuple[str, str] | None:
    """Who sends on a command's subject; None between services, and where it is no command's."""
    try:
        parsed, _ = addressed(subject.decode())
    except (Problem, UnicodeDecodeError):
        return None
    return (parsed.tenant, parsed.principal) if parsed else None


def check_size(message: Msg, found: Mapping[str, str]) -> None:
    """Refuse (Invalid) a body or headers larger than any command's."""
    if len(message.data) > headers.MAX_COMMAND_BYTES:
        raise Invalid(f"the command has {len(message.data)} bytes; at most {headers.MAX_COMMAND_BYTES} are taken")
    if sum(map(len, found)) + sum(map(len, found.values())) > headers.MAX_HEADER_BYTES:
        raise Invalid(f"the headers have more than {headers.MAX_HEADER_BYTES} bytes")


def idempotency_key(found: Mapping[str, str]) -> str:
    """The header `Dominie-Key`; Invalid without one."""
    key = found.get(headers.KEY, "")
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise Invalid(f"the header {headers.KEY} must hold 1 to {MAX_KEY_CHARS} characters")
    return key


def number(found: Mapping[str, str], name: str) -> int | None:
    """A header that holds a whole number, if it is there; Invalid where it holds anything else."""
    text = found.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 20:
        raise Invalid(f"the header {name} must be a whole number, not {text[:40]!r}")
    return int(text)
