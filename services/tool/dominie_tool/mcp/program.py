"""The files of a server's program: which of them its box sees, and the digests that pin them.

A program in `/usr` is there in every box; of it the files that the command names are pinned. Of one elsewhere these
are seen, and pinned file by file: its virtual environment, its Node packages (the outermost `node_modules`), the
interpreter that its first line names, the files that its arguments name. Compiled Python (`__pycache__`) is not pinned.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dominie_contracts import Invalid

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_NOWHERE = ("/", "/boot", "/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/srv", "/sys")
_TOO_WIDE = frozenset((*_NOWHERE, "/tmp", "/var", "/var/lib", "/var/tmp"))
_MOST_FILES, _MOST_BYTES = 50_000, 2 * 2**30
_FIRST_LINE = 256
_HIDDEN = ".dominie"
"""The folder in which a deployment keeps its keys."""
_MOST_KNOWN = 4 * _MOST_FILES
_SETTLED_NS = 10**9
"""A file that changed less than this ago may change again and show the same times: their clocks are coarse."""
_known: dict[str, tuple[tuple[int, ...], str]] = {}


@dataclass(frozen=True, slots=True)
class Program:
    """What a box needs of a command.

    Attributes:
        command: The program by its path, and its arguments.
        seen: Folders and files outside of `/usr` that it sees, as they are, read-only.
        hidden: Folders in these that are empty in the box.
        pins: Each file or folder of the program, with the digest of what is in it.
    """

    command: tuple[str, ...]
    seen: tuple[str, ...]
    hidden: tuple[str, ...]
    pins: dict[str, str]


def find_program(command: Iterable[str], reads: Iterable[str], *, secret: Iterable[Path]) -> Program:
    """What a command runs, found now.

    Args:
        command: The program and its arguments.
        reads: What else it may read; nothing of that is pinned.
        secret: Folders that no server sees.

    Raises:
        Invalid: There is no such program, or too much would be seen of this machine.
    """
    line = list(command)
    secrets = [os.path.realpath(folder) for folder in secret]
    line[0] = _located(line[0])
    named = dict.fromkeys(_named(line))
    roots = dict.fromkeys(root for path in named for root in _roots(path) if not _is_system(root))
    seen = _outermost([*roots, *map(_readable, reads)])
    for path in seen:
        _check_seen(path, secrets)
    hidden = [each for each in secrets if _holds(seen, each)] + [each for root in seen for each in _deployments(root)]
    pins = {path: _digest_of(path) for path in _outermost([*named, *roots])}
    return Program(tuple(line), tuple(seen), tuple(dict.fromkeys(hidden)), pins)


def _located(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Invalid(f"there is no program {program!r} on the machine of the tool service; name it by its whole path")
    return os.path.abspath(found)


def _named(line: list[str]) -> Iterator[str]:
    """The files that a command names: the program, what its first line says runs it, its arguments that are files."""
    for word in line:
        path = word
        for _ in range(4):  # a script's interpreter may be a script, or a link
            if not (os.path.isabs(path) and os.path.isfile(path)):
                break
            yield os.path.normpath(path)
            yield os.path.realpath(path)
            path = _interpreter(path)


def _interpreter(path: str) -> str:
    with open(path, "rb") as file:
        first = file.read(_FIRST_LINE).split(b"\n")[0]
    words = first[2:].decode(errors="replace").split() if first.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [shutil.which(words[-1]) or ""]
    return words[0] if words else ""


def _roots(path: str) -> Iterator[str]:
    """The folders that a file belongs to, or the file alone."""
    folders = Path(path).parents
    packages = [folder for folder in folders if folder.name == "node_modules"]
    if packages:
        yield str(packages[-1])
    elif len(folders) > 1 and (folders[1] / "pyvenv.cfg").is_file():
        yield str(folders[1])
    elif Path(path).name.startswith("python") and folders[0].name == "bin" and not _is_system(path):
        yield str(folders[1])  # an interpreter's own folder
    else:
        yield path


def _readable(path: str) -> str:
    if not os.path.isabs(path) or not os.path.exists(path):
        raise Invalid(f"{path!r} is nothing that a server could read: name a folder or a file by its whole path")
    return os.path.realpath(path)


def _check_seen(path: str, secrets: list[str]) -> None:
    if path in _TOO_WIDE or path.startswith(("/proc/", "/sys/", "/dev/", "/run/")) or _is_home(path):
        raise Invalid(f"a server may not see all of {path!r}; name what it needs of it")
    if _HIDDEN in Path(path).parts or _holds(secrets, path):
        raise Invalid(f"a server may not see {path!r}: keys of this deployment are there")


def _is_home(path: str) -> bool:
    return os.path.dirname(path) == "/home" or path == os.path.realpath(os.path.expanduser("~"))


def _deployments(root: str) -> list[str]:
    """The folder of a deployment in a project that is seen as a whole."""
    return [os.path.join(root, _HIDDEN)] if os.path.isdir(os.path.join(root, _HIDDEN)) else []


def _is_system(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in _SYSTEM)


def _holds(roots: Iterable[str], path: str) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _outermost(paths: list[str]) -> list[str]:
    found = list(dict.fromkeys(paths))
    return [path for path in found if not _holds([other for other in found if other != path], path)]


def _digest_of(path: str) -> str:
    """16 hex digits: of a file's bytes, or of all that is in a folder."""
    whole = hashlib.sha256()
    count = size = 0
    for file in _files(path):
        count, size = count + 1, size + os.lstat(file).st_size
        if count > _MOST_FILES or size > _MOST_BYTES:
            raise Invalid(f"{path!r} has too many files to pin: give the server a folder of its own")
        whole.update(f"{os.path.relpath(file, path)}\0{_digest(file)}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()[:16]


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from (os.path.join(folder, name) for name in sorted([*names, *links]))


def _digest(file: str) -> str:
    """A file's digest; it is read again when it has changed."""
    seen = _status(file)
    known = _known.get(file)
    if known is not None and known[0] == seen:
        return known[1]
    found = _read(file)
    _remember(file, seen, found)
    return found


def _status(file: str) -> tuple[int, ...]:
    """What cannot stay as it is when a file changes: its ctime, which nobody can set as they can its mtime."""
    status = os.lstat(file)
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


def _read(file: str) -> str:
    if os.path.islink(file):
        return f"-> {os.readlink(file)}"
    if os.path.isfile(file):
        with open(file, "rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    return "-"


def _remember(file: str, seen: tuple[int, ...], found: str) -> None:
    """Keep a digest, unless the file changed while it was read, or just before."""
    _known.pop(file, None)
    if abs(time.time_ns() - seen[0]) < _SETTLED_NS or _status(file) != seen:
        return
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[file] = seen, found
