"""What a witness must not forget: its key, and the last checkpoint of each log that it signed.

    witness.key    its private key, as Go's note.NewSigner reads it (0600)
    logs/HEX       a signed checkpoint; the name is the start of the SHA-256 of the log's origin
    .lock          held by the process that serves

A file is replaced whole, and is on disk before anybody is told of it.

StateProblem
├── NoWitness    there is no key
├── StateGone    there is a key, and not what it signed
└── InUse        another process serves this state
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from dominie.cosignatures import Cosigner
from dominie.notes import Checkpoint, ProofProblem, Signer, VerifierKey, parse_note

_SEED_BYTES = 32


class StateProblem(Exception):
    """The witness cannot go on with this state."""


class NoWitness(StateProblem):
    """There is no key."""


class StateGone(StateProblem):
    """There is a key, and not what it signed."""


class InUse(StateProblem):
    """Another process serves this state."""


class State:
    """One witness's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key, self._logs = folder / "witness.key", folder / "logs"

    def cosigner(self) -> Cosigner:
        """The witness's key.

        Raises:
            NoWitness, StateGone
        """
        try:
            text = self._key.read_text()
        except FileNotFoundError as error:
            where = f"there is no witness in {str(self.folder)!r}"
            raise NoWitness(f"{where}: `dominie witness serve` makes one") from error
        if not self._logs.is_dir():
            raise StateGone(
                f"{str(self._logs)!r} is gone: put it back, or begin anew in another folder, with a new key"
            )
        try:
            return Cosigner(Signer.parse(text))
        except ProofProblem as error:
            raise StateGone(f"{str(self._key)!r} is no key ({error.detail}): put it back") from error

    def create(self, name: str | None) -> Cosigner:
        """The witness's key; a new one, of that name, where there is none."""
        if not self._key.exists():
            self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._key, f"{_new_key(name)}\n")
        return self.cosigner()

    def last(self, origin: str) -> Checkpoint | None:
        """The last checkpoint of a log that was signed here.

        Raises:
            StateGone: It cannot be read.
        """
        path = self._path(origin)
        try:
            found = Checkpoint.parse(parse_note(path.read_text())[0])
        except FileNotFoundError:
            return None
        except (ProofProblem, ValueError) as error:
            raise StateGone(f"{str(path)!r} is no checkpoint: put it back") from error
        if found.origin != origin:
            raise StateGone(f"{str(path)!r} is of {found.origin!r}: put it back")
        return found

    def store(self, origin: str, note: str) -> None:
        """Remember a log's checkpoint; it is on disk when this returns."""
        _write(self._path(origin), note)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            InUse
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse(f"another witness serves {str(self.folder)!r}") from error
        else:
            yield
        finally:
            os.close(lock)

    def _path(self, origin: str) -> Path:
        return self._logs / sha256(origin.encode()).hexdigest()[:32]


def _new_key(name: str | None) -> Signer:
    """A key; without a name it is called after itself.

    Raises:
        BadKey: That is no name.
    """
    seed = os.urandom(_SEED_BYTES)
    public = Signer("", seed).verifier.key
    signer = Signer(name or f"dominie-witness/{sha256(public).hexdigest()[:16]}", seed)
    VerifierKey.parse(str(signer.verifier))
    return signer


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
