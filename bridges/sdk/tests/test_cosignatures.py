"""A witness's line is worth its key, and a request for one is read as it was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie.cosignatures import Cosigner, Submission, WitnessKey, check_quorum, cosigned_by
from dominie.merkle import EMPTY
from dominie.notes import BadKey, BadProof, Checkpoint, NotProven, NotWitnessed, Signer, VerifierKey, open_note

LOG = Signer("dominie/test", b"k" * 32)
ONE, TWO = (Cosigner(Signer(f"witness.example/{name}", name.encode() * 32)) for name in "12")
TEXT = Checkpoint(LOG.name, 0, EMPTY).text
NOTE = LOG.sign(TEXT)
NOW = 1_795_248_000


def test_a_cosigned_checkpoint_is_still_the_logs() -> None:
    note = NOTE + ONE.cosign(TEXT, NOW) + TWO.cosign(TEXT, NOW)
    assert open_note(note, LOG.verifier) == TEXT
    assert cosigned_by(note, [TWO.key, ONE.key, TWO.key]) == (TWO.key, ONE.key)


@pytest.mark.parametrize(
    ("note", "quorum"),
    [
        (NOTE, 1),
        (NOTE + ONE.cosign(TEXT, NOW), 2),
        (NOTE + ONE.cosign(TEXT, NOW) * 2, 2),
        (NOTE + Cosigner(Signer("witness.example/1", b"x" * 32)).cosign(TEXT, NOW), 1),
        (NOTE + Cosigner(Signer("other", b"1" * 32)).cosign(TEXT, NOW), 1),
    ],
)
def test_too_few_witnesses_are_too_few(note: str, quorum: int) -> None:
    with pytest.raises(NotWitnessed):
        check_quorum(note, [ONE.key, ONE.key, TWO.key], quorum)
    assert check_quorum(note, [ONE.key, TWO.key], quorum - 1) in ((), (ONE.key,))


def test_a_cosignature_is_of_one_text_and_one_time() -> None:
    line = ONE.cosign(TEXT, NOW)
    other = Checkpoint(LOG.name, 0, b"r" * 32).text
    later = ONE.key.signed(
        (NOW + 1).to_bytes(8) + ONE.signer.sign_bytes(f"cosignature/v1\ntime {NOW}\n{TEXT}".encode())
    )
    bare = ONE.key.signed(ONE.signer.sign_bytes(TEXT.encode()))
    for note in (f"{other}\n{line}", f"{TEXT}\n{later}", f"{TEXT}\n{bare}", f"{TEXT}\n{ONE.key.signed(b'')}"):
        with pytest.raises(NotProven, match=r"witness\.example/1"):
            cosigned_by(note, [ONE.key])


def test_the_two_kinds_of_keys_are_not_taken_for_each_other() -> None:
    same = VerifierKey(ONE.key.name, ONE.key.key)
    assert WitnessKey.parse(f"{ONE.key}\n") == ONE.key != same
    for text in (str(LOG.verifier), str(same)):
        with pytest.raises(BadKey, match="of kind 1, not a witness's"):
            WitnessKey.parse(text)
    with pytest.raises(BadKey, match="of kind 4, not a log's"):
        VerifierKey.parse(str(ONE.key))
    with pytest.raises(BadKey, match="dominie witness key"):
        WitnessKey.parse(str(ONE.signer))


@given(st.integers(0, 2**63 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_a_request_is_read_as_it_was_written(old: int, proof: list[bytes]) -> None:
    submission = Submission(old, tuple(proof), NOTE)
    assert Submission.parse(submission.text.encode()) == submission


@given(st.binary(max_size=200))
def test_no_bytes_are_a_request_by_chance(body: bytes) -> None:
    with pytest.raises(BadProof):
        Submission.parse(body)
