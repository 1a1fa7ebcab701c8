"""Files of keys: a plain nkey seed, or one that a passphrase protects.

A protected file is one JSON object. Argon2id (RFC 9106) makes a key of the passphrase, XChaCha20-Poly1305 seals the
seed under that, and what else the file says is bound to it. The passphrase is a person's, or a random one that the
machine's keyring keeps.
"""

import base64
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

import nacl.exceptions
import nacl.pwhash.argon2id
import nacl.secret
import nacl.utils
from pydantic import BaseModel, ConfigDict, Field

from dominie.keys import KeyPair, public_bytes
from dominie_contracts import Invalid, Unauthenticated, Unavailable

_OPS, _MEMORY = 3, 64 * 2**20
"""RFC 9106's second recommended choice, on the one lane that libsodium has."""
_MAX_OPS, _MAX_MEMORY = 16, 2**30
"""A file that asks for more was made to hurt whoever opens it."""


class Protected(BaseModel):
    """A protected key, as far as it can be read without its passphrase."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dominie_key: Literal[1] = 1
    public: str
    """The public nkey."""
    entry: str | None = None
    """Under which name the keyring keeps the passphrase; None where a person does."""
    ops: int = Field(default=_OPS, ge=1, le=_MAX_OPS)
    memory: int = Field(default=_MEMORY, ge=8192, le=_MAX_MEMORY)
    salt: str
    sealed: str = ""

    def open(self, passphrase: str, path: Path) -> KeyPair:
        """The key.

        Raises:
            Unauthenticated: That is not its passphrase, or somebody has changed the file.
        """
        try:
            box = nacl.secret.Aead(self._derived(passphrase))
            return KeyPair(box.decrypt(base64.b64decode(self.sealed), self.besides()).decode())
        except (nacl.exceptions.CryptoError, ValueError):
            raise Unauthenticated(
                f"the passphrase does not open {str(path)!r} (or somebody has changed that file)"
            ) from None

    def seal(self, keys: KeyPair, passphrase: str) -> "Protected":
        """This, with a key in it."""
        sealed = nacl.secret.Aead(self._derived(passphrase)).encrypt(keys.seed.encode(), self.besides())
        return self.model_copy(update={"sealed": base64.b64encode(bytes(sealed)).decode()})

    def besides(self) -> bytes:
        """All that the file says in the open."""
        return self.model_copy(update={"sealed": ""}).model_dump_json().encode()

    def _derived(self, passphrase: str) -> bytes:
        return nacl.pwhash.argon2id.kdf(
            nacl.secret.Aead.KEY_SIZE,
            passphrase.encode(),
            base64.b64decode(self.salt, validate=True),
            opslimit=self.ops,
            memlimit=self.memory,
        )


def protect(keys: KeyPair, passphrase: str, *, entry: str | None = None) -> str:
    """The text of a file that holds a key under a passphrase."""
    salt = base64.b64encode(nacl.utils.random(nacl.pwhash.argon2id.SALTBYTES)).decode()
    return Protected(public=keys.public, entry=entry, salt=salt).seal(keys, passphrase).model_dump_json()


def read_key_file(path: Path) -> KeyPair | Protected:
    """What a file holds.

    Raises:
        OSError: It cannot be read.
        Invalid: It holds no key.
    """
    try:
        text = path.read_text().strip()
        if not text.startswith("{"):
            return KeyPair(text)
        found = Protected.model_validate_json(text)
        public_bytes(found.public)
    except OSError:
        raise
    except Exception as error:  # nkeys raises what it likes; others would quote what they found
        raise Invalid(f"no key can be read from {str(path)!r}: {type(error).__name__}") from None
    return found


def replace_key_file(path: Path, text: str) -> None:
    """Write a file that others cannot read, whole, over the one that is there; it is as old as that.

    Raises:
        Unavailable: The disk does not take it; the one that is there stays.
    """
    draft = None
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".seed-")
        with os.fdopen(handle, "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        before = path.stat()
        os.utime(draft, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(draft, path)
    except OSError as error:
        if draft is not None:
            with suppress(OSError):
                os.unlink(draft)
        raise Unavailable(f"{str(path)!r} stays as it is, it cannot be written: {error.strerror}") from error
