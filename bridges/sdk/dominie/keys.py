"""Ed25519 keys as nkeys: what a principal proves its connection and signs its assertions with.

One seed serves both, so that a stolen assertion is worth nothing without the key (RFC 7800).
"""

import base64
import os
from functools import lru_cache
from pathlib import Path

import nacl.signing
import nkeys
from joserfc.jwk import OKPKey

_PREFIX_USER = nkeys.PREFIX_BYTE_USER
_PREFIX_ACCOUNT = nkeys.PREFIX_BYTE_ACCOUNT


class KeyPair:
    """An Ed25519 key pair, written as an nkey seed (`SU…` for a user, `SA…` for an account)."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._keys = nkeys.from_seed(seed.encode())
        _, raw = nkeys.decode_seed(seed.encode())
        self._raw = bytes(raw[:32])

    @classmethod
    def generate(cls, *, account: bool = False) -> "KeyPair":
        """A new key pair from the machine's own randomness."""
        prefix = _PREFIX_ACCOUNT if account else _PREFIX_USER
        return cls(nkeys.encode_seed(os.urandom(32), prefix).decode())

    @classmethod
    def load(cls, path: Path) -> "KeyPair":
        """Read a seed from a file; OSError if it is not there."""
        return cls(path.read_text().strip())

    @property
    def public(self) -> str:
        """The public nkey (`U…` or `A…`)."""
        return bytes(self._keys.public_key).decode()

    @property
    def jwk(self) -> OKPKey:
        """The private key for signing JSON web tokens (EdDSA)."""
        verify = bytes(nacl.signing.SigningKey(self._raw).verify_key)
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _b64(verify), "d": _b64(self._raw)})

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature of `data`."""
        return bytes(nacl.signing.SigningKey(self._raw).sign(data).signature)


def public_bytes(nkey: str) -> bytes:
    """The 32 bytes of a public nkey.

    Raises:
        ValueError: It is none.
    """
    try:
        raw = base64.b32decode(nkey + "=" * (-len(nkey) % 8))
    except ValueError as error:
        raise ValueError(f"{nkey[:12]!r}… is no public nkey") from error
    if len(raw) != 35 or int.from_bytes(raw[-2:], "little") != nkeys.crc16(bytearray(raw[:-2])):
        raise ValueError(f"{nkey[:12]!r}… is no public nkey")
    return raw[1:-2]


def public_jwk(nkey: str) -> OKPKey:
    """A public nkey as a key that verifies JSON web tokens."""
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _b64(public_bytes(nkey))})


@lru_cache(maxsize=256)
def key_id(nkey: str) -> str:
    """The `kid` of a public nkey: the thumbprint of its JWK (RFC 7638)."""
    return public_jwk(nkey).thumbprint()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
