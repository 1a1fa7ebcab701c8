"""Roots and proofs beside the definitions of RFC 6962, written down as they stand there."""

import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie.merkle import EMPTY, fold, is_extended, is_included, leaf_hash, node_hash
from dominie_audit.adapters.tlog.proving import consistency, inclusion
from dominie_audit.adapters.tlog.tiles import Hashes, Tiles
from dominie_audit.adapters.tlog.tree import Edge, Tree
from dominie_contracts import Recorded
from dominie_eventstore.archive import tile_path

LEAVES = [f"leaf {number}".encode() for number in range(1100)]
SIZES = st.integers(0, 1100) | st.sampled_from([0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 767, 768, 1024])


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def stored(folder: Path, *sizes: int) -> Tiles:
    """Tiles of the first leaves, stored at each of the sizes."""
    tree, tiles = Tree(), Tiles(folder)
    for size in sorted(sizes):
        for number in range(tree.size, size):
            tree.append(Recorded(10 * (number + 1), LEAVES[number]))
        cut = tree.cut()
        tiles.store(cut, f"{cut.size}")
        tree.stored(cut)
    return tiles


@given(SIZES)
def test_the_root_is_the_one_of_the_definition(size: int) -> None:
    edge = Edge()
    for leaf in LEAVES[:size]:
        edge.add(leaf_hash(leaf))
    assert edge.root() == mth(LEAVES[:size])


def test_the_root_of_a_tree_of_three_levels() -> None:
    edge = Edge()
    hashes = [leaf_hash(number.to_bytes(4)) for number in range(256 * 256 + 300)]
    for leaf in hashes:
        edge.add(leaf)
    assert len(edge.rows) == 3 and edge.root() == fold(hashes)


@pytest.mark.timeout(120)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_inclusion_is_proven_from_tiles(data: st.DataObject) -> None:
    size = data.draw(SIZES.filter(bool))
    index = data.draw(st.integers(0, size - 1))
    with tempfile.TemporaryDirectory() as folder:
        proof = inclusion(Hashes(stored(Path(folder), size), size), index, size)
    assert proof == path(index, LEAVES[:size])
    leaf, root = leaf_hash(LEAVES[index]), mth(LEAVES[:size])
    assert is_included(leaf, index, size, proof, root)
    assert not is_included(leaf_hash(b"another"), index, size, proof, root)
    assert not is_included(leaf, index, size, [*proof, root], root)
    assert not is_included(leaf, index, size, proof, EMPTY)
    assert size == 1 or not is_included(leaf, (index + 1) % size, size, proof, root)
    assert size == 1 or not is_included(leaf, index, size, proof[:-1], root)


@pytest.mark.timeout(120)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_consistency_is_proven_from_tiles(data: st.DataObject) -> None:
    size = data.draw(SIZES.filter(bool))
    old = data.draw(st.integers(0, size))
    with tempfile.TemporaryDirectory() as folder:
        proof = consistency(Hashes(stored(Path(folder), old, size), size), old, size)
    before, now = mth(LEAVES[:old]), mth(LEAVES[:size])
    assert proof == (subproof(old, LEAVES[:size]) if old else [])
    assert is_extended(old, size, proof, before, now)
    assert not is_extended(old, size, proof, node_hash(before, before), now)
    assert not is_extended(old, size, [*proof, now], before, now)
    if 0 < old < size:
        assert not is_extended(old, size, proof, before, before)
        assert not is_extended(old, size, proof[:-1], before, now)
        assert not is_extended(old, size, [], before, now)


@given(st.integers(-3, 40), st.integers(-3, 40), st.lists(st.binary(min_size=32, max_size=32), max_size=8))
def test_what_is_made_up_proves_nothing(one: int, other: int, proof: list[bytes]) -> None:
    assert not is_included(leaf_hash(b"x"), one, other, proof, mth(LEAVES[:7]))
    assert not is_extended(one, other, proof, mth(LEAVES[:7]), mth(LEAVES[:9]))


@pytest.mark.parametrize(
    ("number", "width", "expected"),
    [
        (0, 256, "tile/0/000"),
        (999, 256, "tile/0/999"),
        (1234, 256, "tile/0/x001/234"),
        (1234067, 256, "tile/0/x001/x234/067"),
        (1000, 7, "tile/0/x001/000.p/7"),
    ],
)
def test_a_tiles_path_is_the_specifications(number: int, width: int, expected: str) -> None:
    assert tile_path("tile/0", number, width) == expected


def test_tiles_lie_as_the_specification_says(tmp_path: Path) -> None:
    tiles = stored(tmp_path, 70, 300, 600)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == [
        "checkpoint",
        "position/000",
        "position/001",
        "position/002.p/88",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/1",
        "tile/1/000.p/2",
    ]
    assert (tmp_path / "tile/0/001").read_bytes() == b"".join(map(leaf_hash, LEAVES[256:512]))
    assert (tmp_path / "tile/1/000.p/2").read_bytes() == mth(LEAVES[:256]) + mth(LEAVES[256:512])
    assert [tiles.index_of(10 * (n + 1), 600) for n in (0, 255, 256, 599, 600)] == [0, 255, 256, 599, None]
    assert tiles.index_of(15, 600) is None


@given(SIZES, SIZES)
@settings(deadline=None, max_examples=20)
def test_a_tree_goes_on_from_its_tiles(one: int, other: int) -> None:
    first, last = sorted((one, other))
    with tempfile.TemporaryDirectory() as folder:
        tree = stored(Path(folder), first).tree(first)
        assert (tree.size, tree.position) == (first, 10 * first)
        for number in range(first, last):
            tree.append(Recorded(10 * (number + 1), LEAVES[number]))
        assert tree.root() == mth(LEAVES[:last])
        Tiles(Path(folder)).store(tree.cut(), "")
        assert Tiles(Path(folder)).root_of_leaves(last) == mth(LEAVES[:last])
