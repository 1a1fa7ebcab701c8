"""A copy of the log names the event that was changed."""

import base64
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from dominie_audit.adapters.offline import export, verify_file
from dominie_audit.adapters.tlog.published import Published
from dominie_eventstore import MemoryEventStore


@pytest.fixture
def copy(store: MemoryEventStore, refund: None, tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    assert anyio.run(export, store, path) == 7
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewrite(path: Path, changed: Iterable[object]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in changed))


def flip(path: Path, number: int, at: int) -> int:
    """Flip one bit of one event's stored bytes; returns the event's position."""
    found = lines(path)
    raw = bytearray(base64.b64decode(found[number]["raw"]))
    raw[at] ^= 1
    found[number]["raw"] = base64.b64encode(raw).decode()
    rewrite(path, found)
    position = found[number]["position"]
    assert isinstance(position, int)
    return position


def test_a_copy_holds(copy: Path) -> None:
    report = verify_file(copy)
    assert (report.ok, report.events, report.streams, report.why) == (True, 7, 2, "")


def size(copy: Path, number: int) -> int:
    return len(base64.b64decode(lines(copy)[number]["raw"]))


@pytest.mark.parametrize("number", [0, 1, 2, 4, 5])
def test_whichever_byte_is_flipped_its_event_is_named(copy: Path, number: int) -> None:
    whole = copy.read_bytes()
    for at in range(0, size(copy, number), 3):
        position = flip(copy, number, at)
        report = verify_file(copy)
        assert (report.ok, report.broken_at) == (False, position), f"byte {at}: {report.why}"
        copy.write_bytes(whole)


def test_an_event_that_was_taken_out_is_missed(copy: Path) -> None:
    found = lines(copy)
    rewrite(copy, [*found[:1], *found[2:]])
    assert verify_file(copy).broken_at == found[2]["position"]


def test_events_in_another_order_do_not_hold(copy: Path) -> None:
    found = lines(copy)
    rewrite(copy, [found[1], found[0], *found[2:]])
    assert not verify_file(copy).ok


def test_a_line_that_is_no_event_is_named_by_its_number(copy: Path) -> None:
    copy.write_text(copy.read_text() + "{\n")
    report = verify_file(copy)
    assert not report.ok and "line 8" in report.why


def test_from_the_command_line(copy: Path) -> None:
    position = flip(copy, 1, 40)
    command = [sys.executable, "-W", "error", "-m", "dominie_audit.adapters.offline", "verify", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, json.loads(done.stdout)["broken_at"], done.stderr) == (1, position, "")


def check_against(published: Published, copy: Path, key: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "dominie_audit.adapters.offline", "verify", str(copy)]
    given = [*command, str(published.tiles.folder), key]
    return subprocess.run(given, capture_output=True, text=True, timeout=30, check=False)


def test_against_a_checkpoint_from_the_command_line(
    copy: Path, published: Published, checkpoint: Callable[[], Awaitable[None]]
) -> None:
    key = str(published.key)
    assert "no checkpoint" in check_against(published, copy, key).stderr
    anyio.run(checkpoint)
    whole = check_against(published, copy, key)
    assert (whole.returncode, json.loads(whole.stdout)["checkpoint"]) == (0, 7)
    position = flip(copy, 6, 40)
    changed = check_against(published, copy, key)
    assert (changed.returncode, json.loads(changed.stdout)["broken_at"]) == (1, position)
    refused = check_against(published, copy, key[:-4])
    assert (refused.returncode, refused.stderr[:9]) == (2, "Wrong key")
