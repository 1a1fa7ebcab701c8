"""Digests and the ids made from them."""

import hashlib
import json
import re
from collections.abc import Mapping

import rfc8785
from pydantic import JsonValue

from dominie_contracts.problems import Invalid

_MAX_INTEGER = 2**53 - 1
_NESTED = re.compile(r"[0-9a-f]{32}:")
"""The id of the action that calls, then a colon."""
_WORDS = (str, bool, type(None))
_PLAIN = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_json(value: JsonValue | Mapping[str, JsonValue], *, key: bytes | None = None) -> str:
    """The SHA-256, in hex, of a JSON value in its one canonical form (RFC 8785); with a key, the keyed BLAKE2b.

    Personal values are never written as a digest without a key: whoever guesses one could tell that it is right.

    Raises:
        Invalid: The value has no canonical form (NaN, infinity, an integer beyond 2^53 - 1, not JSON).
    """
    try:
        canonical = _PLAIN.encode(value).encode() if _is_plain(value) else rfc8785.dumps(value)
        return digest_bytes(canonical, key=key)
    except (rfc8785.CanonicalizationError, ValueError, TypeError, RecursionError) as error:
        raise Invalid(f"the value has no canonical JSON form: {error}") from error


def _is_plain(value: object) -> bool:
    """Whether the standard encoder writes the canonical form: no fractions, and keys that sort as in UTF-16."""
    if isinstance(value, _WORDS):
        return True
    if isinstance(value, int):
        return -_MAX_INTEGER <= value <= _MAX_INTEGER
    if isinstance(value, dict):
        return "".join(value).isascii() and all(map(_is_plain, value.values()))
    return isinstance(value, list) and all(map(_is_plain, value))


def digest_bytes(data: bytes, *, key: bytes | None = None) -> str:
    """The SHA-256 of bytes, in hex; with a key of at most 64 bytes, the keyed BLAKE2b of as many bits (RFC 7693)."""
    return (hashlib.sha256(data) if key is None else hashlib.blake2b(data, key=key, digest_size=32)).hexdigest()


def is_nested(key: str) -> bool:
    """Whether an idempotency key is that of a call which another action makes, as a judge asks a model."""
    return _NESTED.match(key) is not None


def action_id(tenant: str, principal: str, service: str, key: str) -> str:
    """The id of an action's stream: 32 hex digits of the digest of who asked whom, and the idempotency key."""
    return hashlib.sha256("\0".join((tenant, principal, service, key)).encode()).hexdigest()[:32]
