"""Private files, each written whole: others cannot read them, and whoever reads sees the old text or the new one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dominie_kit.errors import KeysUnwritten


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the disk refuses is said in one line.

    Raises:
        KeysUnwritten: It does.
    """
    try:
        yield
    except OSError as error:
        raise KeysUnwritten(folder, error.strerror or type(error).__name__) from error


def write_once(path: Path, text: str) -> None:
    """Write a file that others cannot read, whole, unless there is one already."""
    draft = _draft(path, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def replace(path: Path, text: str) -> None:
    """Write a file that others cannot read, whole, over the one that is there; it is on the disk then."""
    move(_draft(path, text), path)


def move(source: Path, path: Path) -> None:
    """Put a file in the place of another one; the folder's entry is on the disk then."""
    os.replace(source, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft
