"""Another's code checks what ours writes: Go's own tlog and note packages, where Go and its modules can be had."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dominie.cosignatures import Cosigner
from dominie.notes import Checkpoint, Signer, parse_note
from dominie_audit.adapters.tlog.proving import consistency, inclusion
from dominie_audit.adapters.tlog.published import Own
from dominie_audit.adapters.tlog.tiles import Hashes
from dominie_audit.adapters.tlog.tree import Tree
from dominie_contracts import Recorded

PROGRAM = Path(__file__).parent / "go"
BUILD_S = 100
SIZES = (300, 66_000)
"""The second tree has three levels."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go here")
    built = tmp_path_factory.mktemp("go") / "check"
    settings = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    command = [go, "build", "-o", str(built), "."]
    try:
        done = subprocess.run(
            command, cwd=PROGRAM, env=os.environ | settings, capture_output=True, text=True, timeout=BUILD_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"golang.org/x/mod could not be had within {BUILD_S} s")
    missing = any(
        said in done.stderr for said in ("dial tcp", "proxyconnect", "no such host", "module lookup disabled")
    )
    if done.returncode and missing:
        pytest.skip(f"golang.org/x/mod cannot be had here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return built


def note(own: Own, tree: Tree) -> str:
    return own.signer.sign(Checkpoint.kept(own.signer.name, tree.size, tree.root(), durability="quorum 3").text)


def encoded(hashes: list[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("broken", [False, True])
def test_go_agrees(program: Path, own: Own, tmp_path: Path, broken: bool) -> None:
    tree, tiles, notes = Tree(), own.published.tiles, []
    witness = Cosigner(Signer("witness.example/w1", b"w" * 32))
    for size in SIZES:
        for number in range(tree.size, size):
            tree.append(Recorded(number + 1, b"event %d" % number))
        notes.append(note(own, tree))
        tiles.store(cut := tree.cut(), notes[-1])
        tree.stored(cut)
    old, new = SIZES
    proofs = [
        {
            "index": index,
            "raw": base64.b64encode(b"event %d" % (index + broken)).decode(),
            "proof": encoded(inclusion(Hashes(tiles, new), index, new)),
            "checkpoint": notes[-1],
        }
        for index in (0, 255, 256, 40_000, 65_536, new - 1)
    ]
    case = {
        "vkey": str(own.published.key),
        "skey": str(own.signer),
        "old": notes[0],
        "new": notes[1],
        "extension": encoded(consistency(Hashes(tiles, new), old, new)),
        "proofs": proofs,
        "cosigned": notes[-1] + witness.cosign(parse_note(notes[-1])[0], 1_795_248_000),
        "witness": str(witness.key),
    }
    (tmp_path / "case.json").write_text(json.dumps(case))
    command = [str(program), str(tiles.folder), str(tmp_path / "case.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (
        (1, "invalid transparency proof\n") if broken else (0, "ok 66000 6 2 0\n")
    )
