"""Where the passphrase of a key comes from: the machine's keyring, a file, else the person at the terminal."""

import os
import secrets
import stat
import sys
from importlib import import_module
from pathlib import Path
from typing import Protocol

from dominie.keys import KeyPair
from dominie.protected import Protected, protect, read_key_file
from dominie_contracts import Invalid, Unauthenticated, Unavailable

PASSPHRASE_FILE = "DOMINIE_PASSPHRASE_FILE"
MIN_CHARS = 8
_MAX_BYTES = 4096
_SERVICE = "dominie"
_given: list[str] = []
"""What this process was given, where whoever looks into its environment is not to find out from where."""
_known: dict[str, KeyPair] = {}
"""The keys that this process has, by their public ones: what runs goes on when a key that it has is protected."""
_passphrases: dict[str, str] = {}
"""Those that have opened something, by what they opened: nobody is asked twice."""


class Keyring(Protocol):
    """What `keyring` has of this machine: the Secret Service, macOS's Keychain, Windows' Credential Locker."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...

    def delete_password(self, service: str, username: str) -> None: ...


def load_key(path: Path) -> KeyPair:
    """The key that a file holds, plain or protected.

    Raises:
        OSError: It cannot be read.
        Invalid: It holds no key, or nothing says its passphrase.
        Unauthenticated: The passphrase is another one.
    """
    found = read_key_file(path)
    if isinstance(found, KeyPair):
        _known[found.public] = found
    elif found.public not in _known:
        _open(found, path)
    return _known[found.public]


def public_key(path: Path) -> str:
    """The public nkey of a file, which no passphrase is needed for.

    Raises:
        OSError, Invalid: As `load_key`.
    """
    return read_key_file(path).public


def passphrase_of(path: Path) -> str | None:
    """The passphrase that a file was opened with; None where it is plain."""
    found = read_key_file(path)
    return None if isinstance(found, KeyPair) else _open(found, path)


def sealed_like(path: Path, keys: KeyPair) -> str:
    """The text of a file that holds another key as this file holds its own."""
    found = read_key_file(path)
    return keys.seed if isinstance(found, KeyPair) else protect(keys, _open(found, path), entry=found.entry)


def take_in() -> None:
    """Take the passphrase from the file that the environment names, and that name out of it."""
    given = _from_file()
    if given is not None:
        _given[:] = [given]
        handle = os.environ.pop(PASSPHRASE_FILE).removeprefix("/dev/fd/")
        if handle.isdecimal():
            os.close(int(handle))  # it was handed on for this alone


def new_passphrase(path: Path) -> str:
    """A passphrase to protect a key with.

    Raises:
        Invalid: Nobody is there to ask, it is too short, or it was not typed alike.
    """
    given = _from_file()
    if given is None:
        given = _ask(f"A new passphrase for {path.name}: ", path)
        if _ask("Once more: ", path) != given:
            raise Invalid("that was not the same passphrase; nothing has changed")
    if len(given) < MIN_CHARS:
        raise Invalid(f"a passphrase has at least {MIN_CHARS} characters; nothing has changed")
    return given


def keyring() -> Keyring | None:
    """This machine's keyring, where there is one that keeps something."""
    try:
        found = import_module("keyring").get_keyring()
        return found if found.priority > 0 else None
    except Exception:  # it is not installed, or its backend does not answer: each raises what it likes
        return None


def keep(ring: Keyring) -> tuple[str, str]:
    """Have the keyring keep a new random passphrase; its entry's name, and the passphrase.

    Raises:
        Unavailable: It does not.
    """
    entry, passphrase = secrets.token_hex(8), secrets.token_urlsafe(32)
    try:
        ring.set_password(_SERVICE, entry, passphrase)
        kept = ring.get_password(_SERVICE, entry)
    except Exception as error:  # each backend raises what it likes
        raise Unavailable(f"the keyring keeps nothing: {type(error).__name__}") from error
    if kept != passphrase:
        raise Unavailable("the keyring does not give back what it was given")
    return entry, passphrase


def forget(entry: str) -> None:
    """Take a passphrase out of the keyring, which nothing is sealed under any more."""
    ring = keyring()
    if ring is not None:
        try:
            ring.delete_password(_SERVICE, entry)
        except Exception as error:  # each backend raises what it likes
            raise Unavailable(f"the keyring still has {entry!r}: {type(error).__name__}") from error


def _open(found: Protected, path: Path) -> str:
    """Open a key; the passphrase that does."""
    if found.sealed not in _passphrases:
        passphrase = _passphrase(found, path)
        _known[found.public] = found.open(passphrase, path)
        _passphrases[found.sealed] = passphrase
    return _passphrases[found.sealed]


def _passphrase(found: Protected, path: Path) -> str:
    if _given:
        return _given[0]
    if found.entry is not None:
        return _from_keyring(found.entry, path)
    return _from_file() or _ask(f"Passphrase for {path.name}: ", path)


def _from_keyring(entry: str, path: Path) -> str:
    ring = keyring()
    try:
        kept = ring.get_password(_SERVICE, entry) if ring is not None else None
    except Exception as error:  # each backend raises what it likes
        raise Unauthenticated(f"the keyring does not open {str(path)!r}: {type(error).__name__}") from error
    if kept is None:
        raise Unauthenticated(f"the passphrase of {str(path)!r} is in a keyring that this program does not have")
    return kept


def _from_file() -> str | None:
    """What the file of the environment says.

    Raises:
        Invalid: It cannot be read, others can read it, or it says nothing.
    """
    name = os.environ.get(PASSPHRASE_FILE)
    if not name:
        return None
    try:
        with open(name, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise Invalid(f"others can read {name!r} ({PASSPHRASE_FILE}): `chmod 600` it first")
            text = file.read(_MAX_BYTES).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"no passphrase can be read from {name!r} ({PASSPHRASE_FILE}): {type(error).__name__}") from error
    if not text:
        raise Invalid(f"{name!r} ({PASSPHRASE_FILE}) is empty")
    return text


def _ask(prompt: str, path: Path) -> str:
    """Without echo.

    Raises:
        Invalid: There is no terminal.
    """
    from getpass import getpass

    if not sys.stdin.isatty():
        raise Invalid(f"{str(path)!r} needs a passphrase and there is no terminal to ask for it: set {PASSPHRASE_FILE}")
    try:
        return getpass(prompt, stream=sys.stderr)
    except EOFError:
        raise Invalid("no passphrase was given; nothing has changed") from None
