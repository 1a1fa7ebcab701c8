"""Where the broker gathers a batch until it is committed: in memory (decision 0018).

nats-server makes a folder for each atomic batch, `batches/ID` in that of the stream, and under `sync_interval: always`
writes it synchronously four times before the first message is looked at. A batch that was not committed is nothing, so
that folder may be lost. Here `batches` is a link into memory. Where that cannot be, everything works, more slowly.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from dominie_contracts.subjects import segment_stream

MEMORY = Path("/dev/shm")
_PREFIX, _LOCK, _BATCHES = "dominie-batches-", "lock", "batches"
_SEGMENT = segment_stream(0).removesuffix("0")


class Staging:
    """One broker's folder in memory, gone with `close`, or with the next broker of this user if that was not called."""

    def __init__(self, streams: Path, *, memory: Path = MEMORY) -> None:
        self._streams = streams
        self._memory = memory
        self._folder: Path | None = None
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Make the folder, unless there is no memory to have; before the server starts."""
        self._unlink()
        if self._folder is None:
            with suppress(OSError):
                self._sweep()
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._memory))
                self._lock = _hold(folder / _LOCK)
                self._folder = folder

    def link(self) -> None:
        """Let each segment gather there that has not begun to gather elsewhere, and the one that will come next.

        After the server has come up: while it does, it removes `batches`.
        """
        if self._folder is None:
            return
        segments = [int(path.name.removeprefix(_SEGMENT)) for path in self._segments()]
        for segment in (*segments, max(segments, default=-1) + 1):
            stream = segment_stream(segment)
            with suppress(OSError):  # it gathers somewhere already
                (self._folder / stream).mkdir(mode=0o700, exist_ok=True)
                (self._streams / stream).mkdir(mode=0o750, parents=True, exist_ok=True)
                (self._streams / stream / _BATCHES).symlink_to(self._folder / stream)

    def close(self) -> None:
        """Give the memory back; after the server has ended."""
        self._unlink()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
        self._folder = self._lock = None

    def _segments(self) -> list[Path]:
        return [path for path in self._streams.glob(f"{_SEGMENT}*") if path.name.removeprefix(_SEGMENT).isdecimal()]

    def _unlink(self) -> None:
        """Remove the links, and the folders of segments that never came."""
        for stream in self._segments():
            with suppress(OSError):  # it was no link; it has come
                (stream / _BATCHES).unlink()
                stream.rmdir()

    def _sweep(self) -> None:
        """Remove what brokers left that nobody stopped."""
        for left in self._memory.glob(f"{_PREFIX}*"):
            with suppress(OSError):  # it is held, or somebody else's
                with _hold(left / _LOCK):
                    shutil.rmtree(left)


def _hold(path: Path) -> IO[str]:
    """A lock that is held until the file is closed.

    Raises:
        OSError: Somebody else holds it.
    """
    held = path.open("a")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise
    os.set_inheritable(held.fileno(), False)
    return held
