"""`--witness` and `--quorum`: what witnesses signed is checked here, whatever audit says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from dominie.commands import register
from dominie.cosignatures import Cosigner
from dominie.merkle import leaf_hash, node_hash
from dominie.notes import Checkpoint, Signer, encode
from dominie.testing import House
from dominie_contracts.audit import GetCheckpoint, InclusionProof, LogReport, Prove, SignedCheckpoint, VerifyLog

LOG = Signer("dominie/test", b"k" * 32)
ONE, TWO = (Cosigner(Signer(f"witness.example/{name}", name.encode() * 32)) for name in "12")
FIRST = Checkpoint(LOG.name, 1, leaf_hash(b"one"))
BOTH = Checkpoint(LOG.name, 2, node_hash(leaf_hash(b"one"), leaf_hash(b"two")))
WHOLE = LogReport(ok=True, events=2, streams=1, checkpoint=2, witnessed=2, witnesses=("whoever",))
WITNESSED = LOG.sign(FIRST.text) + ONE.cosign(FIRST.text, 1_795_248_000)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, list(arguments))


def trusting(*witnesses: Cosigner) -> list[str]:
    return [word for witness in witnesses for word in ("--witness", str(witness.key))]


def audit(
    witnessed: str = WITNESSED, proof: bytes = leaf_hash(b"two")
) -> Callable[[GetCheckpoint, object], SignedCheckpoint]:
    def answer(command: GetCheckpoint, asked: object) -> SignedCheckpoint:
        if command.witnessed:
            return SignedCheckpoint(checkpoint=witnessed, key=str(LOG.verifier))
        hashes = (encode(proof),) if command.extends else ()
        return SignedCheckpoint(checkpoint=LOG.sign(BOTH.text), key=str(LOG.verifier), proof=hashes)

    return answer


def test_the_log_is_verified_by_those_whom_one_trusts(project: Path, open_house: House) -> None:
    open_house.on(VerifyLog, lambda command, asked: WHOLE)
    open_house.on(GetCheckpoint, audit())
    assert "whoever witnessed the first 2" in run("audit", "verify").stdout
    assert "witness.example/1 witnessed the first 1" in run("audit", "verify", *trusting(ONE)).stdout
    found = json.loads(run("audit", "verify", *trusting(ONE, TWO), "--quorum", "1", "--json").stdout)
    assert (found["ok"], found["witnessed"], found["witnesses"]) == (True, 1, ["witness.example/1"])


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param(audit(), "not witnessed: 2 of these 2 witnesses", id="too few"),
        pytest.param(audit(LOG.sign(FIRST.text)), "and none did", id="nobody"),
        pytest.param(audit(WITNESSED.replace("\n1\n", "\n2\n", 1)), "was changed", id="changed"),
        pytest.param(
            audit(WITNESSED + TWO.cosign(FIRST.text, 1), leaf_hash(b"2")), "its history was changed", id="another log"
        ),
    ],
)
def test_what_they_did_not_sign_does_not_hold(
    project: Path, open_house: House, answers: Callable[[GetCheckpoint, object], SignedCheckpoint], said: str
) -> None:
    open_house.on(VerifyLog, lambda command, asked: WHOLE)
    open_house.on(GetCheckpoint, answers)
    shown = run("audit", "verify", *trusting(ONE, TWO))
    assert shown.exit_code == 1 and "BROKEN" in shown.stdout and said in shown.stdout
    found = json.loads(run("audit", "verify", *trusting(ONE, TWO), "--json").stdout)
    assert (found["ok"], found["witnessed"], found["witnesses"]) == (False, None, [])


def test_the_witnessed_checkpoint_is_shown(project: Path, open_house: House) -> None:
    open_house.on(GetCheckpoint, audit())
    shown = run("audit", "checkpoint", *trusting(ONE))
    assert shown.stdout == WITNESSED and "1 of these 1" in shown.stderr
    assert "not witnessed" in str(run("audit", "checkpoint", *trusting(ONE, TWO)).exception)
    assert run("audit", "checkpoint").stdout == LOG.sign(BOTH.text)


def test_a_proof_is_checked_with_witnesses_too(project: Path, open_house: House, tmp_path: Path) -> None:
    proof = InclusionProof(position=7, index=0, raw=encode(b"one"), proof=(), checkpoint=WITNESSED)
    open_house.on(Prove, lambda command, asked: proof)
    file = tmp_path / "proof.json"
    assert run("audit", "prove", "7", "--witnessed", "--out", str(file)).exit_code == 0
    assert open_house.commands(Prove)[0].command.witnessed
    check = ("audit", "check-proof", str(file), "--key", str(LOG.verifier))
    assert "as witness.example/1 signed too" in run(*check, *trusting(ONE)).stdout
    assert json.loads(run(*check, *trusting(TWO, ONE), "--quorum", "1", "--json").stdout)["witnesses"] == [ONE.key.name]
    assert json.loads(run(*check, "--json").stdout)["witnesses"] == []
    assert "not witnessed" in str(run(*check, *trusting(TWO)).exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--quorum", "1"], "0 are given"),
        ([*trusting(ONE, ONE), "--quorum", "2"], "1 are given"),
        (["--witness", str(LOG.verifier)], "of kind 1, not a witness's"),
        (["--witness", "nonsense"], "dominie witness key"),
    ],
)
def test_who_is_trusted_is_said_rightly(project: Path, open_house: House, arguments: list[str], said: str) -> None:
    for command in ("verify", "checkpoint"):
        assert said in str(run("audit", command, *arguments).exception)
    assert not open_house.commands(VerifyLog)
