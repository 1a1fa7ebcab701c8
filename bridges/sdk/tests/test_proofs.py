"""A proof needs nothing but a verifier key, and says what is wrong with it."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie.merkle import EMPTY, leaf_hash, node_hash
from dominie.notes import (
    BadKey,
    BadProof,
    Checkpoint,
    NotExtended,
    NotProven,
    OtherLog,
    ProofProblem,
    Signer,
    VerifierKey,
    open_note,
)
from dominie.proofs import check_extension, check_inclusion
from dominie_contracts.audit import InclusionProof, SignedCheckpoint

OURS = Signer("dominie/test", b"k" * 32)
THEIRS = Signer("dominie/test", b"t" * 32)
KEY = OURS.verifier
NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def signed(size: int, root: bytes, by: Signer = OURS, origin: str | None = None) -> str:
    return by.sign(Checkpoint(origin or by.name, size, root).text)


def bundle(**changed: object) -> str:
    """The second of two events."""
    root = node_hash(leaf_hash(b"one"), leaf_hash(b"two"))
    usual = InclusionProof(
        position=512, index=1, raw=b64(b"two"), proof=(b64(leaf_hash(b"one")),), checkpoint=signed(2, root)
    )
    return json.dumps(usual.model_dump(mode="json") | changed)


def test_the_note_of_the_go_packages_documentation_opens() -> None:
    assert open_note(NOTE, VerifierKey.parse(NEUMANN)).startswith("If you think")


def test_a_proof_holds() -> None:
    found = check_inclusion(bundle(), KEY)
    assert (found.raw, found.index, found.checkpoint.size) == (b"two", 1, 2)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param(bundle(raw=b64(b"tw0")), NotProven, id="another event"),
        pytest.param(bundle(index=0), NotProven, id="another index"),
        pytest.param(bundle(index=-1), NotProven, id="no index"),
        pytest.param(bundle(proof=[]), NotProven, id="no hashes"),
        pytest.param(bundle(proof=[b64(b"short")]), BadProof, id="a short hash"),
        pytest.param(bundle(raw="!"), BadProof, id="no base64"),
        pytest.param(bundle()[:-40], BadProof, id="cut"),
        pytest.param("", BadProof, id="empty"),
        pytest.param(bundle(checkpoint=signed(2, EMPTY)), NotProven, id="another root"),
        pytest.param(bundle(checkpoint=signed(2, EMPTY, THEIRS)), OtherLog, id="another key"),
        pytest.param(bundle(checkpoint=signed(2, EMPTY, origin="dominie/other")), OtherLog, id="another origin"),
        pytest.param(bundle(checkpoint=signed(2, EMPTY).replace("\n2\n", "\n3\n")), NotProven, id="changed"),
        pytest.param(bundle(checkpoint=OURS.sign("hello\n")), BadProof, id="no checkpoint"),
        pytest.param(bundle(checkpoint="dominie/test\n2\n\n"), BadProof, id="unsigned"),
        pytest.param(bundle(checkpoint="one\n\ntwo\n"), BadProof, id="no signature"),
        pytest.param(bundle(checkpoint=OURS.sign(f"dominie/test\n{'9' * 5000}\n{b64(EMPTY)}\n")), BadProof, id="huge"),
        pytest.param(bundle(checkpoint=OURS.sign(f"dominie/test\n02\n{b64(EMPTY)}\n")), BadProof, id="zeros"),
        pytest.param(bundle(checkpoint=signed(2, EMPTY, origin="dominie/\x1btest")), BadProof, id="control character"),
    ],
)
def test_a_proof_that_does_not_hold_says_why(text: str, kind: type[ProofProblem]) -> None:
    with pytest.raises(kind):
        check_inclusion(text, KEY)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name\\+id\\+key"),
        ("name", "name\\+id\\+key"),
        (str(OURS), "private key"),
        (str(KEY)[:-4], "name\\+id\\+key"),
        (str(KEY).replace(KEY.id.hex(), "00000000"), "its own id"),
        (f"other+{KEY.id.hex()}+{str(KEY).split('+', 2)[2]}", "its own id"),
        (f"dominie/test+{KEY.id.hex()}+{b64(bytes([4]) + KEY.key)}", "kind 4, not a log"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadKey, match=said):
        VerifierKey.parse(text)


@given(st.binary(min_size=32, max_size=32))
def test_keys_are_read_as_they_were_written(seed: bytes) -> None:
    signer = Signer("dominie/test", seed)
    assert Signer.parse(f"{signer}\n") == signer
    assert VerifierKey.parse(f" {signer.verifier}\n") == signer.verifier
    assert b64(seed) not in repr(signer)


def grown(old: Callable[[], Checkpoint], **changed: object) -> ProofProblem | Checkpoint:
    root = node_hash(leaf_hash(b"one"), leaf_hash(b"two"))
    answer = SignedCheckpoint(checkpoint=signed(2, root), key=str(KEY), proof=(b64(leaf_hash(b"two")),))
    try:
        return check_extension(old(), answer.model_copy(update=changed), KEY)
    except ProofProblem as error:
        return error


def first(origin: str = KEY.name, size: int = 1, root: bytes = leaf_hash(b"one")) -> Callable[[], Checkpoint]:
    return lambda: Checkpoint(origin, size, root)


def test_a_checkpoint_that_extends_another_is_shown_to() -> None:
    assert isinstance(grown(first()), Checkpoint)
    assert isinstance(grown(first(size=0, root=EMPTY), proof=()), Checkpoint)


@pytest.mark.parametrize(
    ("old", "proof"),
    [
        (first(root=leaf_hash(b"0ne")), (b64(leaf_hash(b"two")),)),
        (first(), ()),
        (first(), (b64(leaf_hash(b"tw0")),)),
        (first(size=3), ()),
        (first(size=2), ()),
        (first(origin="dominie/other"), (b64(leaf_hash(b"two")),)),
    ],
)
def test_a_checkpoint_that_does_not_is_found_out(old: Callable[[], Checkpoint], proof: tuple[str, ...]) -> None:
    assert isinstance(grown(old, proof=proof), NotExtended)


@given(st.text())
def test_no_text_is_a_note_by_chance(text: str) -> None:
    with pytest.raises((BadProof, OtherLog)):
        Checkpoint.open(text, KEY)


def test_a_checkpoints_further_lines_are_signed_and_kept() -> None:
    root = leaf_hash(b"one")
    given = Checkpoint.kept(OURS.name, 1, root, durability="quorum 3")
    found = Checkpoint.open(OURS.sign(given.text), KEY)
    assert found == given and found.durability == "quorum 3"
    assert Checkpoint.open(signed(1, root), KEY).durability is None
    other = Checkpoint(OURS.name, 1, root, ("witness dana", "durability fsync"))
    assert Checkpoint.parse(other.text).durability == "fsync"
    with pytest.raises(BadProof):
        Checkpoint.parse(other.text + "cut")
