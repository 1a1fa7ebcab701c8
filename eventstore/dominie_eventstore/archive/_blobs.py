"""Where the archive is: a folder, or a bucket with an S3 interface."""

import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

PIECE_BYTES = 1 << 20
"""How much is read at once of what is read in pieces."""


class BlobMissing(Exception):
    """The archive has nothing of this name."""

    def __init__(self, name: str, where: str) -> None:
        super().__init__(f"the archive {where} has no {name!r}")
        self.name = name


class Blobs(Protocol):
    """Named bytes; what is called here may wait, so it is called in a thread."""

    def get(self, name: str) -> bytes:
        """All of it.

        Raises:
            BlobMissing, OSError
        """
        ...

    def mapped(self, name: str) -> memoryview:
        """All of it, without reading it all; of names whose content never changes.

        Raises:
            BlobMissing, OSError
        """
        ...

    def pieces(self, name: str) -> Iterator[bytes]:
        """All of it as it is stored, piece by piece, however large it is.

        Raises:
            BlobMissing, OSError
        """
        ...

    def sizes(self) -> Iterator[tuple[str, int]]:
        """The names of all there is, each with its bytes.

        Raises:
            OSError
        """
        ...

    def put(self, name: str, data: bytes, *, compressed: bool = False) -> None:
        """Store it whole, over what was there; `compressed` with gzip.

        Raises:
            OSError
        """
        ...


class FolderBlobs:
    """Files in a folder, each of them durable before `put` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes:
        """See `Blobs.get`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError as error:
            raise BlobMissing(name, str(self._folder)) from error

    def mapped(self, name: str) -> memoryview:
        """See `Blobs.mapped`."""
        try:
            with (self._folder / name).open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except FileNotFoundError as error:
            raise BlobMissing(name, str(self._folder)) from error

    def pieces(self, name: str) -> Iterator[bytes]:
        """See `Blobs.pieces`."""
        try:
            with (self._folder / name).open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except FileNotFoundError as error:
            raise BlobMissing(name, str(self._folder)) from error

    def sizes(self) -> Iterator[tuple[str, int]]:
        """See `Blobs.sizes`."""
        if not self._folder.exists():
            return
        for place, _, names in os.walk(self._folder, onerror=_refuse):
            for path in (Path(place) / name for name in names):
                with suppress(FileNotFoundError):  # a draft that was put in its place meanwhile
                    yield path.relative_to(self._folder).as_posix(), path.stat().st_size

    def put(self, name: str, data: bytes, *, compressed: bool = False) -> None:
        """See `Blobs.put`."""
        at = self._folder / name
        at.parent.mkdir(parents=True, exist_ok=True)
        draft = at.with_name(f".{at.name}.{secrets.token_hex(4)}")
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(at)
        finally:
            draft.unlink(missing_ok=True)
        _sync(at.parent)


def open_blobs(place: str, *, cache: Path) -> Blobs:
    """The archive at a place: a folder, or `s3://BUCKET/PREFIX`, which needs the extra `s3` and AWS's own variables.

    Args:
        place: Where it is.
        cache: A folder for what is mapped of a bucket.

    Raises:
        ValueError: The address is no such place, or the extra is not installed.
    """
    if "://" not in place:
        return FolderBlobs(Path(place))
    try:
        from dominie_eventstore.archive._s3 import BucketBlobs
    except ImportError as error:
        raise ValueError(f"an archive at {place!r} needs the extra: install dominie-eventstore[s3]") from error
    return BucketBlobs(place, cache=FolderBlobs(cache))


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed must not look as if it was empty."""
    raise error


def _sync(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)
