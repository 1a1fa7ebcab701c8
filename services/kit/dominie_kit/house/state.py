"""The folder `.dominie/` of a project: what runs, where it listens, and the developer's credentials.

nats/ nats.conf   the broker's streams and configuration
log/              one file a process
up.json           what runs; only while it does
client.json       what `dominie.Client()` reads
dev.seed          the developer's key
lock              held by the supervisor for as long as it lives
"""

import fcntl
import os
import secrets
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from dominie.keys import KeyPair
from dominie_contracts import Message
from dominie_kit.errors import AlreadyUp, NotUp
from dominie_kit.keys.files import write_once
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.store import NATS

FOLDER = ".dominie"
TENANT, DEVELOPER = "local", "u-dev"


class Running(Message):
    """One process that the supervisor keeps."""

    pid: int
    restarts: int = 0
    ready: bool = False
    reason: str = ""
    """Why it ended last, where it could say so."""


class Up(Message):
    """`up.json`."""

    pid: int
    nats_url: str
    gateway_url: str | None
    keys: Path
    store: str = NATS
    """Where the events are kept."""
    started: str
    ready_s: float | None = None
    """How long it took until everything was ready; None until then."""
    broker: Running
    services: dict[str, Running]


class NotStarted(Message):
    """What a supervisor reports instead of `Up`."""

    why: str


class ClientFile(Message):
    """`client.json`."""

    nats_url: str
    tenant: str = TENANT
    developer: str = DEVELOPER
    seed_file: str = "dev.seed"
    gateway_url: str | None
    rights_s: float
    keys: Path
    store: str = NATS


class StateFolder:
    """Reads and writes `.dominie/`; every file is replaced whole."""

    def __init__(self, project: Path) -> None:
        self.project = project.resolve()
        self.path = self.project / FOLDER
        self._lock: IO[str] | None = None

    @classmethod
    def find(cls, start: Path) -> "StateFolder":
        """The nearest one, from a folder upwards; where there is none, that folder's own."""
        start = start.resolve()
        return next((cls(at) for at in (start, *start.parents) if (at / FOLDER).is_dir()), cls(start))

    def create(self) -> None:
        """Make the folder, hidden from git."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.path / "log").mkdir(exist_ok=True)
        write_once(self.path / ".gitignore", "*")

    def lock(self) -> None:
        """Be the one that runs here, until this process ends.

        Raises:
            AlreadyUp: Another one is.
        """
        held = open(self.path / "lock", "a+")
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:  # or somebody only looked who runs here, then nobody does
                if pid := self.supervisor():
                    held.close()
                    raise AlreadyUp(self.project, pid) from error
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        self._lock = held

    def supervisor(self) -> int | None:
        """The process that runs here, or None."""
        try:
            with open(self.path / "lock") as found:
                try:
                    fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(found.read() or 0)
                return None
        except (OSError, ValueError):
            return None

    def developer(self) -> KeyPair:
        """The developer's key."""
        path = self.path / "dev.seed"
        if not path.exists():
            write_once(path, KeyPair.generate().seed)
        return KeyPair.load(path)

    def up(self) -> Up:
        """What runs here.

        Raises:
            NotUp: Nothing does.
        """
        if self.supervisor() is None:
            raise NotUp(self.project)
        try:
            return Up.model_validate_json((self.path / "up.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise NotUp(self.project) from error

    def client(self) -> ClientFile | None:
        """What clients were told last, if anything."""
        try:
            return ClientFile.model_validate_json((self.path / "client.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, file: Up | ClientFile) -> None:
        """Write `up.json` or `client.json`."""
        path = self.path / ("up.json" if isinstance(file, Up) else "client.json")
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
                written.write(file.model_dump_json(indent=1))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def forget(self) -> None:
        """Nothing runs here any more."""
        (self.path / "up.json").unlink(missing_ok=True)

    def keys(self) -> KeyFolder:
        """The keys of what runs here, or ran last."""
        client = self.client()
        return KeyFolder.of(self.project) if client is None else KeyFolder(client.keys)
