"""What the log says is kept: every tenant's memories and turns, each tenant's in a file of its own.

A file that is missing or broken is built again from the log: the register says which there must be, and where each
must stand. What people have endorsed of notes is in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Self

from dominie_contracts import Recorded
from dominie_contracts.endorsing import Endorsed, EndorsementRevoked
from dominie_contracts.memory import MEMORY
from dominie_contracts.registry import parse_event
from dominie_eventstore import InMemory, SqlProjection
from dominie_memory.adapters.register import Register
from dominie_memory.adapters.tenant_file import Hit, TenantFile
from dominie_memory.adapters.words import Stems, Term
from dominie_memory.aggregate import Scope

_REGISTER = ".register.sqlite"
_NEXT = ".next"
"""The folder of what is built beside. No tenant's name begins with a dot."""


class Library:
    """A projection of the category `memory`; one process uses its folder, once it is `open`."""

    def __init__(self, folder: Path, term: Term) -> None:
        self.position = 0
        self._folder = folder
        self._term = term
        self._stems = Stems()
        self._files: dict[str, TenantFile] = {}
        self._held = False
        self._applied = 0

    @contextmanager
    def open(self) -> Iterator["Library"]:
        """Open the files; the position is the last that all of them hold."""
        self._open()
        try:
            yield self
        finally:
            self.close()

    @property
    def outdated(self) -> bool:
        """Whether a file is another version's; then all are built anew."""
        return any(file.outdated for file in self._all)

    @property
    def serves(self) -> bool:
        """Whether the files can be read though they are outdated."""
        return all(file.serves or not file.outdated for file in self._all) and self.outdated

    @property
    def unfinished(self) -> bool:
        """Whether a rebuild was interrupted."""
        return (self._folder / _NEXT).exists()

    def apply(self, event: Recorded) -> None:
        """Take in an event; one that its tenant's file holds already changes nothing."""
        file = self._file(event.envelope.tenant)
        if event.position > file.position:
            file.apply(event)
        if event.position > self._register.position:
            self._register.apply(event)
        self._applied = event.position
        if not self._held:
            self.position = self._applied

    def reset(self) -> None:
        """Forget everything, also a file that the register does not know: its process died before it did."""
        for path in self._folder.glob("[!.]*.sqlite"):
            self._file(path.stem)
        for file in self._all:
            file.reset()
        self.position = self._applied = 0

    def fresh(self) -> Self:
        """One in a folder inside this one's, which an interrupted rebuild may have begun."""
        built = type(self)(self._folder / _NEXT, self._term)
        built._open()
        if built.outdated:
            built.reset()
        return built

    def become(self, built: Self) -> None:
        """Take over the built one's files. Each is whole by itself, so any of them may be there when a process dies."""
        built.release()
        for tenant in self._files.keys() - built._files.keys():
            self._files[tenant].reset()
        for tenant, file in built._files.items():
            self._file(tenant).become(file)
        self._register.become(built._register)
        self.position = self._applied = built.position
        rmtree(built._folder)

    def hold(self) -> None:
        """Events are coming: store them together."""
        self._held = True
        for file in self._all:
            file.hold()

    def release(self) -> None:
        """Store what was held, and from now on each event by itself."""
        self._held = False
        for file in self._all:
            file.release()
        self.position = self._applied

    def close(self) -> None:
        """Store what was held, and close the files."""
        for file in self._all:
            file.close()
        self._files.clear()

    def search(self, tenant: str, scope: Scope, question: str, limit: int) -> list[Hit]:
        """The memories of a scope that fit a question best, best first."""
        file = self._files.get(tenant)
        return file.search(scope, question, limit) if file else []

    def memories(self, tenant: str, scope: Scope, ids: Sequence[str]) -> dict[str, Recorded]:
        """Memories of a scope by their ids, sealed."""
        file = self._files.get(tenant)
        return file.memories(scope, ids) if file else {}

    def last_turns(self, tenant: str, scope: Scope, limit: int) -> list[str]:
        """The ids of a session's last turns, oldest first."""
        file = self._files.get(tenant)
        return file.last_turns(scope, limit) if file else []

    def turns(self, tenant: str, scope: Scope, ids: Sequence[str]) -> list[Recorded]:
        """Turns of a session by their ids, oldest first, sealed."""
        file = self._files.get(tenant)
        return file.turns(scope, ids) if file else []

    @property
    def _all(self) -> tuple[SqlProjection, ...]:
        """The files, the register last: it promises what the others hold."""
        return (*self._files.values(), self._register)

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._register = Register(self._folder / _REGISTER)
        self.position = self._register.position
        for tenant, position in self._register.tenants().items():
            held = self._file(tenant).position
            if held < position:
                self.position = min(self.position, held)
        self._applied = self.position

    def _file(self, tenant: str) -> TenantFile:
        if tenant not in self._files:
            self._files[tenant] = TenantFile(self._folder / f"{tenant}.sqlite", tenant, self._term, self._stems)
            if self._held:
                self._files[tenant].hold()
        return self._files[tenant]


class Endorsements(InMemory):
    """What people have endorsed of notes; a projection of the category `endorsement`."""

    def __init__(self) -> None:
        self.position = 0
        self._standing: dict[tuple[str, str], dict[str, Endorsed]] = {}
        """By tenant and note, each by its id."""

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.type, event.envelope.data)
        tenant = event.envelope.tenant
        if isinstance(payload, Endorsed) and payload.source.startswith(f"{MEMORY}:"):
            note = payload.source.removeprefix(f"{MEMORY}:")
            self._standing.setdefault((tenant, note), {})[payload.id] = payload
        elif isinstance(payload, EndorsementRevoked):
            for (owner, _), found in self._standing.items():
                if owner == tenant:
                    found.pop(payload.id, None)

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)()

    def of(self, tenant: str, note: str) -> tuple[Endorsed, ...]:
        """Those of one note that stand."""
        found = self._standing.get((tenant, note))
        return tuple(found.values()) if found else ()
