"""What is left of a person is found wherever it stands, and what says nothing of them is not taken for it."""

import gzip
import os
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_audit.adapters.erasure.needles import LONGEST, SHORTEST, Needles, Sample, pieces_of, pieces_of_key
from dominie_audit.adapters.erasure.residue import Looked, Stored, Wanted, look
from dominie_eventstore.archive import Blobs, FolderBlobs
from dominie_kit.personal.sealing import new_key

SAID: JsonValue = {"text": "Dana Whitlock lives at 17 Gooseberry Lane", "order": "ZX-99412", "plain": "refund"}
KEY = new_key("u-dana")
NOBODY = 65534


LEFT = {
    "a text": b"Dana Whitlock",
    "its middle": b"at 17 Gooseberry",
    "a number": b"\0\0ZX-99412\0",
    "a key": KEY.secret.encode(),
    "its bytes": b64decode(KEY.secret),
    "its hex": b64decode(KEY.secret).hex().encode(),
}
WANTED = Wanted.of([*pieces_of([SAID]), *pieces_of_key(KEY)], [f"{KEY.id}.".encode()])


class Away(FolderBlobs):
    """An archive that does not answer."""

    def sizes(self) -> Iterator[tuple[str, int]]:
        raise OSError("no answer")


def looked(folder: Path, archive: Blobs | None = None, *, archive_folder: Path | None = None) -> Looked:
    found = Looked()
    look(Stored(folder, archive or FolderBlobs(folder / "none"), archive_folder=archive_folder), WANTED, found)
    return found


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("before", [0, 5, (1 << 20) - 4, (1 << 20) + 3])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_what_is_left_is_found_in_any_place(tmp_path: Path, left: bytes, before: int, packed: bool) -> None:
    (tmp_path / "memory").mkdir()
    data = b"x" * before + left + b"y" * 40
    (tmp_path / "memory" / "acme.sqlite").write_bytes(gzip.compress(data) if packed else data)
    (tmp_path / "clean").write_bytes(b"Dan Whitl at 17 Goo ZX-9941 refund" * 9)
    found = looked(tmp_path)
    assert (found.files, found.residue, found.unread) == ({"memory": 1, ".": 1}, ["memory/acme.sqlite"], [])
    assert found.read_bytes == found.all_bytes


def test_where_it_stands_sealed_is_told_beside_where_it_can_be_read(tmp_path: Path) -> None:
    for store, text in (("nats", f'"{KEY.id}.c2VhbGVk"'), ("log", f"{KEY.id}. Dana Whitlock"), ("memory", KEY.id)):
        (tmp_path / store).mkdir()
        (tmp_path / store / "file").write_text(text)
    found = looked(tmp_path)
    assert (+found.held, found.residue) == ({"nats": 1, "log": 1}, ["log/file"])


def test_an_archive_is_read_once_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    for place in (tmp_path / "elsewhere", tmp_path / "state" / "archive"):
        FolderBlobs(place).put("tile/entries/000", gzip.compress(b"at 17 Gooseberry"), compressed=True)
        found = looked(tmp_path / "state", FolderBlobs(place), archive_folder=place)
        assert (found.files, found.residue) == ({"archive": 1}, ["archive/tile/entries/000"])
        rmtree(place)


def test_what_stands_behind_a_link_is_read_and_a_loop_ends(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file").write_bytes(b"Dana Whitlock")
    (tmp_path / "state" / "memory").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "state")
    assert looked(tmp_path / "state").residue == ["memory/file"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"nothing")[:-9])
    (tmp_path / "garbled.gz").write_bytes(gzip.compress(b"")[:4] + b"\xff" * 30)
    (tmp_path / "fine").write_bytes(b"nothing")
    found = looked(tmp_path, Away(tmp_path))
    assert (sorted(found.unread), found.files) == (["archive", "cut.gz", "garbled.gz"], {".": 1})


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder to look into as somebody who is not root, who may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_what_may_not_be_read_is_named(nobody: Path) -> None:
    (nobody / "folder").mkdir(mode=0)
    (nobody / "file").touch(mode=0)
    uid = os.geteuid()
    os.seteuid(uid or NOBODY)
    try:
        found = looked(nobody)
    finally:
        os.seteuid(uid)
    assert sorted(found.unread) == ["file", "folder"]


@pytest.mark.parametrize(
    "harmless",
    [b"refund", b"text", b"order", KEY.id.encode(), b"Gooseberry"],
    ids=["a word", "a field", "another", "a key's id", "a long word"],
)
def test_what_says_nothing_is_not_taken_for_it(tmp_path: Path, harmless: bytes) -> None:
    (tmp_path / "file").write_bytes(b"x" * 20 + harmless + b"x" * 20)
    assert looked(tmp_path).residue == []


def test_what_json_writes_in_another_way_is_found_too() -> None:
    needles = Needles(pieces_of(["Zo\u00eb \u00d8rn\nlives \u2603"]))
    assert needles.found_in(b'"Zo\\u00eb \\u00d8rn\\nlives"') and needles.found_in("Zo\u00eb \u00d8rn\nlives".encode())


def test_needles_that_stand_over_one_another_are_all_found() -> None:
    pieces = [b"Dana Whitloc", b"Whitlock live", b"lock lives"]
    assert Needles(pieces).found_in(b"Dana Whitlock lives") == set(pieces)


@given(st.lists(st.binary(min_size=SHORTEST, max_size=LONGEST), max_size=8), st.binary(max_size=300), st.data())
def test_each_needle_is_found_in_any_bytes(pieces: list[bytes], data: bytes, draw: st.DataObject) -> None:
    for piece in draw.draw(st.lists(st.sampled_from(pieces)) if pieces else st.just([])):
        at = draw.draw(st.integers(0, len(data)))
        data = data[:at] + piece + data[at:]
    assert Needles(pieces).found_in(data) == {piece for piece in pieces if piece in data}


@given(st.sets(st.text("ab1 ", min_size=12, max_size=12), max_size=60), st.integers(1, 40))
def test_a_sample_is_all_there_is_or_a_part_of_it(texts: set[str], most: int) -> None:
    sample, everything = Sample(most), pieces_of(list(texts))
    for text in texts:
        sample.add([text])
    assert sample.pieces <= everything and len(sample.pieces) <= most
    assert sample.pieces == everything or len(everything) > most
