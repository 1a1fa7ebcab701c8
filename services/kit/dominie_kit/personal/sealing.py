"""A person's key, and what is done with it: seal, open, digest (ADR 0016)."""

import base64
import os
import secrets
from binascii import b2a_base64
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from dominie_contracts import Payload, Unavailable
from dominie_contracts.digests import digest_bytes
from dominie_contracts.keys import SubjectKey
from dominie_contracts.personal import parts, seal_parts

SECRET_BYTES = 32
_ID_BYTES, _NONCE_BYTES = 12, 12


class Unreadable(ValueError):
    """A token that this key did not seal in this place."""


class PersonKey:
    """The key of one person. Each use has a key of its own, derived from the secret.

    Attributes:
        id: What tokens name it by; it says nothing of the person.
        owner: The tenant and the person.
        digests: For digests of personal values.
        names: For the names of artifacts, and for what gives the right to them.
    """

    __slots__ = ("_cipher", "_terms", "digests", "id", "names", "owner")

    def __init__(self, id_: str, owner: tuple[str, str], secret: bytes) -> None:
        self.id = id_
        self.owner = owner
        self.digests = _derived(secret, b"digest")
        self.names = _derived(secret, b"artifact")
        self._terms = _derived(secret, b"term")
        self._cipher = ChaCha20Poly1305(_derived(secret, b"seal"))

    @classmethod
    def of(cls, tenant: str, key: SubjectKey) -> "PersonKey":
        """The key that crossed the bus."""
        return cls(key.id, (tenant, key.subject), base64.b64decode(key.secret))

    def seal(self, data: bytes, place: str) -> str:
        """A token that opens in the same place alone (RFC 8439, the place is associated data)."""
        return f"{self.id}.{b2a_base64(self.seal_bytes(data, place), newline=False).decode()}"

    def seal_bytes(self, data: bytes, place: str) -> bytes:
        """As `seal`, without a token's form."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, place.encode())

    def unseal_bytes(self, sealed: bytes, place: str) -> bytes:
        """What `seal_bytes` sealed.

        Raises:
            Unreadable: This key did not seal it in this place.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise Unreadable(f"what stands in {place!r} is not what was sealed there") from error

    def unseal(self, token: str, place: str) -> JsonValue:
        """What a token holds.

        Raises:
            Unreadable: This key did not seal it in this place.
        """
        try:
            sealed = base64.b64decode(token.partition(".")[2], validate=True)
            data = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
            value: JsonValue = from_json(data)
        except (InvalidTag, ValueError) as error:
            raise Unreadable(f"a part of {place!r} is not what was sealed there") from error
        return value

    def digest(self, text: str) -> str:
        """What stands for a text where it must be found again and not be read."""
        return digest_bytes(text.encode(errors="surrogatepass"), key=self.digests)

    def term(self, word: str) -> str:
        """What stands for a word in a search index: 16 hex digits, the same for the same word of this person."""
        return digest_bytes(word.encode(errors="surrogatepass"), key=self._terms)[:16]


def place(stream: str, type_: str, path: str) -> str:
    """Where a part stands: a token cannot be moved to another stream, event or field."""
    return f"{stream} {type_} {path}"


def sealed_json(payload: Payload, stream: str, type_: str, person: PersonKey | None, *, user: str | None) -> str:
    """A payload as JSON, with what is personal in it sealed; as it is where it is about nobody.

    Raises:
        Unavailable: It is about a user whose key is not at hand.
    """
    if not parts(type(payload)) or (person is None and user is None):
        return payload.model_dump_json()
    if person is None:
        raise Unavailable(f"the key of {user} is not at hand", retry_after_s=0.5)
    here = place(stream, type_, "")
    return to_json(seal_parts(payload, lambda path, data: person.seal(data, here + path))).decode()


def new_key(subject: str) -> SubjectKey:
    """A key that nobody has yet."""
    secret = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return SubjectKey(id=secrets.token_hex(_ID_BYTES), subject=subject, secret=secret)


def _derived(secret: bytes, use: bytes) -> bytes:
    return blake2b(key=secret, person=use, digest_size=SECRET_BYTES).digest()
