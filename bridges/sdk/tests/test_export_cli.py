"""Exports and bundles: page by page, whole or not at all, and checked where nothing runs."""

import base64
import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dominie.commands import register
from dominie.cosignatures import Cosigner
from dominie.merkle import is_included, leaf_hash, node_hash
from dominie.notes import Checkpoint, Signer
from dominie.testing import House
from dominie_contracts import Draft, Forbidden
from dominie_contracts.audit import Export, Leaf, Leaves, SignedCheckpoint
from dominie_contracts.envelope import GENESIS

SIGNER = Signer("dominie/test", b"k" * 32)
KEY = str(SIGNER.verifier)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["audit", *arguments])


def event(name: str, user: str = "u-dana", data: str = '{"result":"\u20ac \\"1\\""}') -> bytes:
    draft = Draft(
        id=name,
        source="dominie/test",
        type="tool.finished.v1",
        time=datetime(2026, 7, 2, tzinfo=UTC),
        actor="a-desk",
        data=data,
        on_behalf_of=user,
    )
    return draft.seal(f"acme.tool.{name}", "acme", version=1, prev=GENESIS)


STORED = (event("one"), event("two", user='=HYPERLINK("http://x")'))
HASHES = tuple(leaf_hash(raw) for raw in STORED)
SIGNED = SignedCheckpoint(checkpoint=SIGNER.sign(Checkpoint(SIGNER.name, 2, node_hash(*HASHES)).text), key=KEY)


def leaf(index: int, *, proof: bool = True) -> Leaf:
    other = (base64.b64encode(HASHES[1 - index]).decode(),) if proof else ()
    raw = base64.b64encode(STORED[index]).decode()
    return Leaf(position=256 * (index + 1), index=index, raw=raw, proof=other)


def page(asked: Export, _: object) -> Leaves:
    """An event a page."""
    if asked.run == "none":
        return Leaves(leaves=(), truncated=False, checkpoint=SIGNED)
    if asked.after:
        return Leaves(leaves=(leaf(1, proof=asked.proofs),), truncated=False)
    return Leaves(leaves=(leaf(0, proof=asked.proofs),), truncated=True, checkpoint=SIGNED)


@pytest.fixture
def house(project: Path, open_house: House) -> House:
    open_house.on(Export, page)
    return open_house


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_export_asks_for_page_after_page_of_one_checkpoint(house: House) -> None:
    found = run("export", "--user", "dana", "--since", "2026-01-01")
    assert [(each["position"], each["index"]) for each in objects(found.stdout)] == [(256, 0), (512, 1)]
    assert [each["event"].encode() for each in objects(found.stdout)] == list(STORED)
    assert found.stderr == "2 events written, of 2 in the log.\n"
    first, second = (asked.command for asked in house.commands(Export))
    assert (first.user, first.size, first.after, first.proofs) == ("u-dana", None, 0, False)
    assert second == first.model_copy(update={"size": 2, "after": 256})


def test_an_export_with_proofs_begins_with_their_checkpoint(house: House) -> None:
    head, *lines = objects(run("export", "--proofs").stdout)
    assert head == {"checkpoint": SIGNED.checkpoint, "key": KEY}
    top = Checkpoint.open(head["checkpoint"], SIGNER.verifier)
    for each in lines:
        hashes = [base64.b64decode(text) for text in each["proof"]]
        assert is_included(leaf_hash(each["event"].encode()), each["index"], top.size, hashes, top.root)


def test_a_table_has_a_header_and_no_formula(house: House) -> None:
    head, *rows = list(csv.reader(StringIO(run("export", "--format", "csv").stdout, newline="")))
    assert head[:9] == ["position", "index", "time", "type", "stream", "version", "agent", "user", "run"]
    assert all(len(row) == len(head) for row in rows)
    assert [row[7] for row in rows] == ["u-dana", '\'=HYPERLINK("http://x")']
    assert json.loads(rows[0][-1]) == {"result": '\u20ac "1"'}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_no_cell_begins_as_a_formula_does(house: House, start: str) -> None:
    raw = base64.b64encode(event("x", user=f"{start}1")).decode()
    house.on(
        Export, lambda *_: Leaves(leaves=(Leaf(position=1, index=0, raw=raw),), truncated=False, checkpoint=SIGNED)
    )
    _, row = csv.reader(StringIO(run("export", "--format", "csv").stdout, newline=""))
    assert row[7] == f"'{start}1"


@pytest.mark.parametrize("arguments", [("export",), ("export", "--format", "csv"), ("bundle",)])
def test_a_file_is_there_once_it_is_whole(house: House, tmp_path: Path, arguments: Sequence[str]) -> None:
    file = tmp_path / "out"
    assert str(file) in run(*arguments, "--output", str(file)).stderr
    before = file.read_bytes()
    assert before == run(*arguments).stdout_bytes

    def broken(asked: Export, came: object) -> Leaves:
        if asked.after:
            raise Forbidden("no longer")
        return page(asked, came)

    house.on(Export, broken)
    assert "no longer" in str(run(*arguments, "--output", str(file)).exception)
    assert file.read_bytes() == before
    assert sorted(tmp_path.glob("**/*out*")) == [file]


def test_what_is_no_place_for_a_file_is_refused(house: House, tmp_path: Path) -> None:
    found = run("export", "--output", str(tmp_path / "none" / "out"))
    assert "cannot be written" in str(found.exception)
    assert run("export", "--output", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


def test_proofs_have_no_place_in_a_table(house: House) -> None:
    assert "no place for proofs" in str(run("export", "--proofs", "--format", "csv").exception)


def test_a_bundle_is_checked_with_nothing_but_the_key(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bundle"
    assert run("bundle", "r1", "--output", str(file)).exit_code == 0
    assert house.commands(Export)[0].command.run == "r1"
    monkeypatch.chdir(tmp_path)
    told = run("verify-bundle", str(file), "--key", KEY)
    assert told.exit_code == 0 and "It holds: 2 events of the 2 in the log 'dominie/test'" in told.stdout
    (found,) = objects(run("verify-bundle", str(file), "--key", KEY, "--json").stdout)
    assert (found["ok"], found["events"], found["streams"], found["whole"]) == (True, 2, 2, 2)
    assert found["selection"]["run"] == "r1" and found["problem"] is None


@pytest.mark.parametrize(
    ("change", "key", "problem", "line"),
    [
        (lambda text: text.replace(b"acme.tool.two", b"acme.tool.too"), KEY, "BadEvent", 3),
        (lambda text: text[:-9], KEY, "CutShort", 4),
        (lambda text: text + b"x", KEY, "Trailing", 5),
        (lambda text: b"", KEY, "CutShort", 1),
        (lambda text: b"x" * 5_000_000, KEY, "Garbled", 1),
        (lambda text: text, str(Signer(SIGNER.name, b"t" * 32).verifier), "OtherLog", None),
        (lambda text: text, "key", "BadKey", None),
        (lambda text: text, str(SIGNER), "BadKey", None),
    ],
)
def test_a_bundle_that_does_not_hold_is_exit_code_1(
    house: House, tmp_path: Path, change: Any, key: str, problem: str, line: int | None
) -> None:
    file = tmp_path / "bundle"
    file.write_bytes(change(run("bundle", "r1").stdout_bytes))
    found = run("verify-bundle", str(file), "--key", key, "--json")
    (report,) = objects(found.stdout)
    assert (found.exit_code, report["ok"], report["problem"], report["line"]) == (1, False, problem, line)
    told = run("verify-bundle", str(file), "--key", key)
    assert told.exit_code == 1 and problem in told.stdout


def test_nothing_makes_no_bundle(house: House, tmp_path: Path) -> None:
    file = str(tmp_path / "bundle")
    assert "no run 'none' is on record" in str(run("bundle", "none", "--output", file).exception)
    assert "nothing fits" in str(run("bundle", "--run", "none", "--output", file).exception)
    assert "which run, 'r1' or 'r2'" in str(run("bundle", "r1", "--run", "r2").exception)
    assert not Path(file).exists()
    assert run("export", "--run", "none").stderr == "0 events written, of 2 in the log.\n"


def test_what_the_house_cannot_prove_makes_no_bundle(house: House, tmp_path: Path) -> None:
    house.on(Export, lambda asked, _: Leaves(leaves=(leaf(1, proof=False),), truncated=False, checkpoint=SIGNED))
    assert "does not hold" in str(run("bundle", "--output", str(tmp_path / "bundle")).exception)
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_may_have_to_be_signed_by_witnesses_too(house: House, tmp_path: Path) -> None:
    file = tmp_path / "bundle"
    one, other = Cosigner(Signer("one", b"1" * 32)), Cosigner(Signer("other", b"2" * 32))
    cosigned = SIGNED.checkpoint + one.cosign(SIGNED.checkpoint.partition("\n\n")[0] + "\n", 1_800_000_000)
    signed = SIGNED.model_copy(update={"checkpoint": cosigned})
    leaves = (leaf(0), leaf(1))
    house.on(Export, lambda *_: Leaves(leaves=leaves, truncated=False, checkpoint=signed))
    assert run("bundle", "--output", str(file)).exit_code == 0
    check = ("verify-bundle", str(file), "--key", KEY, "--json", "--witness", str(one.key))
    assert run(*check).exit_code == 0
    assert run(*check, "--witness", str(other.key), "--quorum", "1").exit_code == 0
    for more in (("--witness", str(other.key)), ("--quorum", "2")):
        found = run(*check, *more)
        assert (found.exit_code, objects(found.stdout)[0]["problem"]) == (1, "NotWitnessed")
    assert objects(run(*check[:-1], KEY).stdout)[0]["problem"] == "BadKey"
