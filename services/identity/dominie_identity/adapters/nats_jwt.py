"""The JSON web tokens of NATS: Ed25519 under the name `ed25519-nkey`, issued by an nkey."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping

from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from pydantic import JsonValue

from dominie.keys import KeyPair, public_bytes

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_ALGORITHMS = ("ed25519-nkey", "ed25519")
"""The second is what version 1 of these tokens said."""


def encode(claims: Mapping[str, JsonValue], issuer: KeyPair) -> str:
    """Sign claims; `iss`, `iat` and `jti` are added."""
    full = {**claims, "iss": issuer.public, "iat": int(time.time())}
    digest = hashlib.new("sha512_256", json.dumps(full, sort_keys=True).encode()).digest()
    full["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    signed = f"{_part(_HEADER)}.{_part(full)}"
    return f"{signed}.{to_base64(issuer.sign(signed.encode()))}"


def decode(token: str) -> dict[str, JsonValue]:
    """The claims of a token that its own issuer signed; whether to trust that issuer is the caller's to say.

    Raises:
        ValueError: It is none, or the signature does not hold.
    """
    signed, _, signature = token.rpartition(".")
    header, claims = (json.loads(from_base64(part)) for part in _two(signed))
    if not isinstance(header, dict) or header.get("alg") not in _ALGORITHMS or not isinstance(claims, dict):
        raise ValueError("the token is not one of NATS")
    verify(str(claims.get("iss")), signed.encode(), from_base64(signature))
    return claims


def verify(nkey: str, data: bytes, signature: bytes) -> None:
    """Check a signature by a public nkey.

    Raises:
        ValueError: It does not hold.
    """
    try:
        VerifyKey(public_bytes(nkey)).verify(data, signature)
    except (CryptoError, TypeError) as error:
        raise ValueError("the signature does not hold") from error


def to_base64(data: bytes) -> str:
    """URL-safe base64 with no padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64(text: str) -> bytes:
    """Base64 of either alphabet, padded or not: clients differ.

    Raises:
        ValueError: It is none.
    """
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)


def _part(value: Mapping[str, JsonValue]) -> str:
    return to_base64(json.dumps(value, separators=(",", ":")).encode())


def _two(signed: str) -> tuple[str, str]:
    parts = signed.split(".")
    if len(parts) != 2:
        raise ValueError("the token does not have three parts")
    return parts[0], parts[1]
