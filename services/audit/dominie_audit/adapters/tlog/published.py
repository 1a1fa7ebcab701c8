"""What a transparency log has published: its key, its last checkpoint, its tiles.

TransparencyError
├── KeyGone          checkpoints are there, and not the key that signed them
├── LogDiffers       the event log is not what the last checkpoint says (it is a `CorruptEvent` too)
├── WitnessDiffers   a witness has signed another history of this log
└── BadWitness       a setting names no witness
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dominie.notes import Checkpoint, ProofProblem, Signer, VerifierKey
from dominie_audit.adapters.tlog.tiles import WITNESSED, Tiles
from dominie_eventstore import CorruptEvent
from dominie_kit.keys.files import write_once

TILES, KEY, VERIFIER_KEY = "tlog", "tlog.key", "vkey"
_SEED_BYTES = 32


class TransparencyError(Exception):
    """The transparency log cannot go on."""


class KeyGone(TransparencyError):
    """Checkpoints are there, and not the key that signed them."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"the signing key in {str(folder)!r} {why}: put it back, or move `tlog` and `vkey` away")
        self.folder = folder


class LogDiffers(TransparencyError, CorruptEvent):
    """The event log is not what the last checkpoint says."""

    def __init__(self, position: int, *, index: int, stream: str, why: str, size: int) -> None:
        CorruptEvent.__init__(self, position, stream=stream, why=why)
        self.index = index
        self.size = size

    def __str__(self) -> str:
        where = f"from position {self.position} on (event {self.index} of the {self.size} in the last checkpoint)"
        return f"the event log is not what was recorded, {where}: {self.why}; services/audit/README.md says what to do"


class WitnessDiffers(TransparencyError):
    """A witness has signed another history of this log, or more of it than there is."""

    def __init__(self, witness: str, why: str, *, size: int) -> None:
        super().__init__(
            f"the witness {witness!r} {why}, and the last checkpoint here is of {size} events: the log was put back to "
            "an older state, or replaced; services/audit/README.md says what to do"
        )
        self.witness, self.why, self.size = witness, why, size


class BadWitness(TransparencyError):
    """A setting names no witness."""


@dataclass(frozen=True, slots=True)
class Latest:
    """A checkpoint, as it is stored."""

    note: str
    checkpoint: Checkpoint


class Published:
    """One transparency log, as everybody may read it."""

    def __init__(self, folder: Path, key: VerifierKey) -> None:
        self.key = key
        self.tiles = Tiles(folder)

    def latest(self) -> Latest | None:
        """The last checkpoint, if there is one yet.

        Raises:
            ProofProblem: It is none of this log's.
        """
        return self._opened(self.tiles.note())

    def witnessed(self) -> Latest | None:
        """The last checkpoint that enough witnesses signed, if there is one yet.

        Raises:
            ProofProblem: It is none of this log's.
        """
        return self._opened(self.tiles.note(WITNESSED))

    def _opened(self, note: str | None) -> Latest | None:
        return None if note is None else Latest(note, Checkpoint.open(note, self.key))


@dataclass(frozen=True, slots=True)
class Own:
    """This deployment's own log: it can sign."""

    signer: Signer
    published: Published

    @classmethod
    def open(cls, folder: Path, origin: str) -> Self:
        """The log in audit's folder of state; its key is made when there is nothing yet.

        Raises:
            KeyGone, OSError
        """
        tiles = folder / TILES
        tiles.mkdir(parents=True, exist_ok=True)
        if not (folder / KEY).exists():
            if (folder / VERIFIER_KEY).exists() or Tiles(tiles).note() is not None:
                raise KeyGone(folder, "is gone")
            write_once(folder / KEY, str(Signer(origin, os.urandom(_SEED_BYTES))))
        try:
            signer = Signer.parse((folder / KEY).read_text())
            write_once(folder / VERIFIER_KEY, str(signer.verifier))
            found = cls(signer, Published(tiles, signer.verifier))
            found.published.latest()
        except ProofProblem as error:
            raise KeyGone(folder, f"is not the one of the last checkpoint ({error.detail})") from error
        return found
