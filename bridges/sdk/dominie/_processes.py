"""The programs that live under `dominie exec`: a file each in `.dominie/agents/`, for as long as they live."""

import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError


class Process(BaseModel):
    """One program under an agent's identity."""

    model_config = ConfigDict(frozen=True)

    agent: str
    pid: int
    command: tuple[str, ...]
    started: str
    """UTC, to the second."""
    born: int = 0
    """The kernel's start time of the process (clock ticks since boot), so that a pid used again is not taken for it."""
    key_id: str | None = None
    """Its API key, revoked when it ends."""

    def alive(self) -> bool:
        """Whether it still runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return self.born == born(self.pid)


def born(pid: int) -> int:
    """When a process was started, in ticks since boot; 0 where the system does not say, or it is a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (OSError, ValueError):
        return 0
    return -1 if state == "Z" else int(fields[18])


def record(folder: Path, process: Process) -> Path:
    """Write a process's file."""
    path = folder / "agents" / f"{process.agent}.{process.pid}.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".process-")
    with os.fdopen(handle, "w") as file:
        file.write(process.model_dump_json())
    os.replace(name, path)
    return path


def living(folder: Path) -> list[Process]:
    """Those that run, by name."""
    return sorted((p for p in recorded(folder).values() if p.alive()), key=lambda p: (p.agent, p.pid))


def recorded(folder: Path) -> dict[Path, Process]:
    """Every file, the left-over ones too; what cannot be read is left out."""
    found: dict[Path, Process] = {}
    for path in (folder / "agents").glob("*.json"):
        try:
            found[path] = Process.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
    return found
