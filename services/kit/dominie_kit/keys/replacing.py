"""A rotation as it stands on the disk, in the folder of keys: whatever ends it, the next one goes on from there.

rotation/      the new keys, as they are to lie in the folder; made before anything is decided
rotation.json  which key takes the place of which, and how far that is; from here on it is carried through
rotation.lock  held by whoever carries it through
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from dominie.keys import KeyPair
from dominie.passphrases import sealed_like
from dominie_contracts import Message
from dominie_contracts.identity import IDENTITY
from dominie_contracts.keys import KeyUse, Replacement
from dominie_contracts.rights import OPERATOR
from dominie_kit.errors import KeyMissing, RotationBusy
from dominie_kit.keys.files import move, replace, writing
from dominie_kit.keys.folder import KeyFolder, seeds

Phase = Literal["install", "overlap", "alone", "unrecorded"]
"""What comes next: the new keys go to their places; both are taken; the new ones alone are; it is written down."""
_FILE, _FOLDER, _LOCK = "rotation.json", "rotation", "rotation.lock"
_FIELDS: Mapping[str, str] = {"callout": "callout_issuer", "callout-user": "callout_user"}


class Underway(Message):
    """`rotation.json`."""

    replaced: tuple[Replacement, ...]
    phase: Phase = "install"
    gone: Mapping[str, int] = Field(default_factory=dict)
    """The processes that have the old keys, as they were when this phase began."""

    @property
    def uses(self) -> frozenset[KeyUse]:
        """What the keys are for."""
        return frozenset(each.use for each in self.replaced)

    @property
    def holders(self) -> tuple[str, ...]:
        """The services that hold one of the keys: identity first, which lets others in."""
        found = dict.fromkeys(each.name.partition("/")[0] for each in self.replaced if each.use != "operator")
        return tuple(sorted(found, key=lambda name: name != IDENTITY))


@dataclass(frozen=True, slots=True)
class Part:
    """Something whose keys are replaced together."""

    use: KeyUse
    name: str = IDENTITY


OPERATORS = Part("operator", OPERATOR)


class Rotation:
    """Reads and writes what a rotation needs to be carried through."""

    def __init__(self, keys: KeyFolder) -> None:
        self._keys = keys
        self._file, self._made = keys.path / _FILE, keys.path / _FOLDER

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one that rotates.

        Raises:
            RotationBusy: Another process is.
        """
        with writing(self._keys.path):
            held = open(os.open(self._keys.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600))
        with held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RotationBusy(self._keys.path) from error
            yield

    def find(self) -> Underway | None:
        """What was begun and is not finished.

        Raises:
            KeyMissing: What says so cannot be read: nobody knows which keys are to be taken then.
        """
        try:
            return Underway.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise KeyMissing(self._file, "says of no rotation how far it is; if you remove it, old keys end") from error

    def retiring(self) -> tuple[Replacement, ...]:
        """The keys that the broker takes beside the new ones."""
        found = self.find()
        return found.replaced if found is not None and found.phase in ("install", "overlap") else ()

    def begin(self, parts: Iterable[Part]) -> Underway:
        """Make new keys, and decide that they take the place of the present ones; what was not decided is gone.

        Raises:
            KeysUnwritten: There is no room for them; nothing has changed.
        """
        made = _Made(self._keys)
        for part in parts:
            made.add(part)
        with writing(self._keys.path):
            shutil.rmtree(self._made, ignore_errors=True)
            for path, text in made.files.items():
                target = self._made / path.relative_to(self._keys.path)
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace(target, text)
            return self.note(Underway(replaced=tuple(made.replaced)))

    def install(self) -> None:
        """Put the new keys in their places; those that are there already stay."""
        with writing(self._keys.path):
            for path in sorted(each for each in self._made.rglob("*") if each.is_file()):
                move(path, self._keys.path / path.relative_to(self._made))

    def note(self, underway: Underway) -> Underway:
        """Write down how far it is."""
        with writing(self._keys.path):
            replace(self._file, underway.model_dump_json(indent=1))
        return underway

    def end(self) -> None:
        """It is done."""
        self._file.unlink(missing_ok=True)
        shutil.rmtree(self._made, ignore_errors=True)

    def settle(self) -> None:
        """Where nothing runs that has an old key: take the new ones alone. That is still to be written down."""
        if (found := self.find()) is not None:
            self.install()
            self.note(found.model_copy(update={"phase": "unrecorded", "gone": {}}))


class _Made:
    """New keys for parts of a deployment, and whose place they take; two of them may share a file."""

    def __init__(self, keys: KeyFolder) -> None:
        self._keys = keys
        self.files: dict[Path, str] = {}
        self.replaced: list[Replacement] = []

    def add(self, part: Part) -> None:
        if part.use == "service":
            path = self._keys.service_file(part.name)
            before = self._keys.service(part.name)
            self._put(path, seeds("edge", "inner"))
            now = {kind: KeyPair(seed).public for kind, seed in json.loads(self.files[path]).items()}
            self._note(part.use, f"{part.name}/edge", now["edge"], before.edge.public)
            self._note(part.use, f"{part.name}/inner", now["inner"], before.inner.public)
        elif part.use in _FIELDS:
            self._add_field(part, _FIELDS[part.use])
        else:
            old = self._keys.operator if part.use == "operator" else self._keys.warden
            new = KeyPair.generate()
            path = self._keys.path / f"{part.use}.seed"
            self._put(path, sealed_like(path, new))
            self._note(part.use, part.name, new.public, old.public)

    def _add_field(self, part: Part, field: str) -> None:
        """Of `identity.json`, which holds several."""
        path, old = self._keys.path / "identity.json", self._keys.identity
        new = KeyPair.generate(account=part.use == "callout")
        present = json.loads(self.files.get(path) or path.read_text())
        self._put(path, json.dumps({**present, field: new.seed}))
        before = old.callout_issuer if part.use == "callout" else old.callout_user
        self._note(part.use, part.name, new.public, before.public)

    def _put(self, path: Path, text: str) -> None:
        self.files[path] = text

    def _note(self, use: KeyUse, name: str, nkey: str, previous: str) -> None:
        self.replaced.append(Replacement(use=use, name=name, nkey=nkey, previous=previous))
