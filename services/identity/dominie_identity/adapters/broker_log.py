"""What the broker refuses stands in its log and nowhere else: a line for each publish and subscription.

A line quotes what clients chose (their names, subjects) with its escapes, so that nobody writes another's line.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from dominie_contracts.registry import COMMANDS

AT_ONCE_BYTES = 1 << 20
_QUOTED = rb'"(?:[^"\\]|\\.)*"'
_LINE = re.compile(
    rb"^\[\d+\] \S+ \S+ \[ERR\] \S+ - cid:\d+ - (?:" + _QUOTED + rb" - )*"
    rb'"APP/user:([^"\\/ ]+)/([^"\\/ ]+)" - '
    rb'(?:(Publish|Subscription) Violation - (?:Reply )?Subject "((?:[^"\\]|\\.)*)"|(maximum subscriptions exceeded))',
    re.MULTILINE,
)
_FAMILIES = frozenset({"cmd", "svc", "evt", "call", "ret", "out", "hb", "log", "art", "_INBOX", "$JS", "$SYS", "$KV"})
Refusals = Counter[tuple[str, str, str]]
"""By tenant, principal and what it was."""


class BrokerLog:
    """Follows the log's file, across its rotation; begins at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._left = b""

    def read(self) -> Refusals:
        """What was refused since this was last asked, or a part of it: ask again while there is something."""
        new = self._file is None
        try:
            file = self._file = self._file or self._path.open("rb")
            if new:
                file.seek(0, os.SEEK_END)
            data = file.read(AT_ONCE_BYTES)
            if not data and self._is_replaced(file):
                self.close()
                self._file = self._path.open("rb")
        except OSError:  # there is none, or none that may be read
            return Counter()
        lines, newline, self._left = (self._left + data).rpartition(b"\n")
        return refusals_in(lines + newline)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._left = None, b""

    def _is_replaced(self, file: BinaryIO) -> bool:
        mine, there = os.fstat(file.fileno()), self._path.stat()
        return (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino) or there.st_size < file.tell()


def refusals_in(lines: bytes) -> Refusals:
    """What some whole lines of the log say was refused."""
    found: Refusals = Counter()
    for tenant, principal, kind, subject, _ in _LINE.findall(lines):
        what = f"{_WORDS[kind]} {_about(subject.decode(errors='replace'))}" if kind else "too many subscriptions"
        found[tenant.decode(errors="replace"), principal.decode(errors="replace"), what] += 1
    return found


SUBSCRIBE = "subscribe"
_WORDS = {b"Publish": "publish", b"Subscription": SUBSCRIBE}


def _about(subject: str) -> str:
    """Which command, or which family of subjects: a subject itself is whoever's who chose it."""
    parts = subject.split(".")
    command = ".".join(parts[3:5])
    if parts[0] == "cmd" and command in COMMANDS:
        return command
    return parts[0] if parts[0] in _FAMILIES else "elsewhere"
