"""Digests and the ids made from them."""

import hashlib
from collections.abc import Mapping

import rfc8785
from pydantic import JsonValue

from dominie_contracts.problems import Invalid


def digest_json(value: JsonValue | Mapping[str, JsonValue]) -> str:
    """The SHA-256, in hex, of a JSON value in its one canonical form (RFC 8785).

    Raises:
        Invalid: The value has no canonical form (NaN, infinity, an integer beyond 2^53 - 1, not JSON).
    """
    try:
        return hashlib.sha256(rfc8785.dumps(value)).hexdigest()
    except (rfc8785.CanonicalizationError, ValueError, TypeError, RecursionError) as error:
        raise Invalid(f"the value has no canonical JSON form: {error}") from error


def digest_bytes(data: bytes) -> str:
    """The SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def action_id(tenant: str, principal: str, service: str, key: str) -> str:
    """The id of an action's stream: 32 hex digits of the digest of who asked whom, and the idempotency key."""
    return hashlib.sha256("\0".join((tenant, principal, service, key)).encode()).hexdigest()[:32]
