"""What a witness signs and what it does not, as c2sp.org/tlog-witness says."""

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie.cosignatures import Cosigner, check_quorum
from dominie.notes import Checkpoint, Signer
from dominie_witness.refusals import Inconsistent, Malformed, NotTheLogs, OtherSize, Refusal, UnknownLog
from dominie_witness.state import State
from dominie_witness.testing import NOW, OURS, Log
from dominie_witness.witness import Witness

pytestmark = pytest.mark.anyio
LOG = Log.of(20)
FORK = Log.of(20, "other")
SHORT = LOG.body(0, 3)
"""`old 0`, an empty line, a checkpoint."""


async def test_a_first_checkpoint_is_signed(witness: Witness, cosigner: Cosigner) -> None:
    line = await witness.add(LOG.body(0, 7))
    assert line == cosigner.cosign(Checkpoint.open(LOG.note(7), OURS.verifier).text, NOW)
    assert check_quorum(LOG.note(7) + line, [cosigner.key], 1) == (cosigner.key,)


async def test_each_that_extends_the_last_one_is_signed(witness: Witness, state: State) -> None:
    sizes = [0, 0, 1, 2, 3, 7, 8, 8, 15, 16, 20]
    for old, size in pairwise(sizes):
        await witness.add(LOG.body(old, size))
        last = state.last(OURS.name)
        assert last is not None and last.size == size


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        pytest.param(b"", Malformed, 400, id="nothing"),
        pytest.param(b"\xff" + SHORT, Malformed, 400, id="not UTF-8"),
        pytest.param(SHORT[4:], Malformed, 400, id="no old size"),
        pytest.param(SHORT.replace(b"old 0", b"old 00"), Malformed, 400, id="a size with zeros"),
        pytest.param(SHORT.replace(b"old 0", b"old -1"), Malformed, 400, id="a negative size"),
        pytest.param(SHORT.replace(b"old 0", b"old " + b"9" * 5000), Malformed, 400, id="a huge size"),
        pytest.param(SHORT.replace(b"\n3\n", b"\n" + b"9" * 5000 + b"\n"), Malformed, 400, id="a huge tree"),
        pytest.param(SHORT.replace(b"old 0", b"old 4"), Malformed, 400, id="backwards"),
        pytest.param(SHORT.replace(b"\n\n", b"\nAAAA\n\n", 1), Malformed, 400, id="a short hash"),
        pytest.param(SHORT.replace(b"\n\n", b"\n" + b"A" * 43 + b"=" + b"\n!\n\n", 1), Malformed, 400, id="no hash"),
        pytest.param(
            SHORT.replace(b"\n\n", b"\n" + (b"A" * 43 + b"=\n") * 64 + b"\n", 1), Malformed, 400, id="64 hashes"
        ),
        pytest.param(SHORT.partition(b"\n\n")[0], Malformed, 400, id="no checkpoint"),
        pytest.param(SHORT.rpartition(b"\n\n")[0], Malformed, 400, id="no signature"),
        pytest.param(SHORT[:-9], Malformed, 400, id="cut"),
        pytest.param(SHORT.replace(b"dominie/test\n", b"dominie/test\r\n"), Malformed, 400, id="a control character"),
        pytest.param(Log.of(3, signer=Signer("other", b"k" * 32)).body(0), UnknownLog, 404, id="unknown"),
        pytest.param(Log.of(3, signer=Signer(OURS.name, b"x" * 32)).body(0), NotTheLogs, 403, id="another key"),
        pytest.param(SHORT.replace(b"\n3\n", b"\n2\n"), NotTheLogs, 403, id="changed"),
    ],
)
async def test_what_is_no_request_of_a_known_log_changes_nothing(
    witness: Witness, state: State, body: bytes, kind: type[Refusal], status: int
) -> None:
    with pytest.raises(kind) as found:
        await witness.add(body)
    assert found.value.status == status and not isinstance(found.value, OtherSize)
    assert list((state.folder / "logs").iterdir()) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(LOG.body(0, 9), OtherSize, id="unaware"),
        pytest.param(LOG.body(3, 9), OtherSize, id="late"),
        pytest.param(LOG.body(3, 5), OtherSize, id="older"),
        pytest.param(LOG.body(8, 9), OtherSize, id="of another witness"),
        pytest.param(FORK.body(7, 7), OtherSize, id="another root"),
        pytest.param(FORK.body(7, 9), Inconsistent, id="a fork"),
        pytest.param(LOG.body(7, 9).replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1), Inconsistent, id="a long proof"),
        pytest.param(LOG.body(0, 9).replace(b"old 0", b"old 7"), Inconsistent, id="no proof"),
    ],
)
async def test_what_does_not_extend_the_last_one_changes_nothing(
    witness: Witness, state: State, body: bytes, kind: type[Refusal]
) -> None:
    await witness.add(LOG.body(0, 7))
    with pytest.raises(kind) as found:
        await witness.add(body)
    assert not isinstance(found.value, OtherSize) or found.value.size == 7
    assert state.last(OURS.name) == Checkpoint.open(LOG.note(7), OURS.verifier)


async def test_a_proof_from_nothing_has_no_hashes(witness: Witness) -> None:
    with pytest.raises(Inconsistent):
        await witness.add(SHORT.replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1))


async def test_any_of_a_logs_keys_will_do_and_others_are_ignored(state: State, cosigner: Cosigner) -> None:
    new, stranger = Signer(OURS.name, b"n" * 32), Signer("stranger", b"s" * 32)
    witness = Witness(state, cosigner, [OURS.verifier, new.verifier], lambda: NOW)
    text = Checkpoint.open(LOG.note(3), OURS.verifier).text
    signatures = "".join(each.sign(text).rpartition("\n\n")[2] for each in (stranger, new))
    await witness.add(f"old 0\n\n{text}\n{signatures}".encode())
    await witness.add(LOG.body(3, 4))


async def test_two_at_once_are_taken_one_by_one(witness: Witness) -> None:
    answers: list[object] = []

    async def add(size: int) -> None:
        try:
            answers.append(await witness.add(LOG.body(0, size)))
        except OtherSize as refusal:
            answers.append(refusal.size)

    async with anyio.create_task_group() as tasks:
        for size in (9, 5, 7):
            tasks.start_soon(add, size)
    assert answers[1:] == [9, 9] and isinstance(answers[0], str)


STEPS = st.lists(st.tuples(st.sampled_from([LOG, FORK]), st.integers(0, 20), st.integers(0, 20)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_all_that_it_ever_signs_is_one_growing_log(steps: list[tuple[Log, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder) / "witness")
        cosigner = state.create(None)
        signed: list[tuple[Log, int]] = []
        for log, old, size in steps:
            try:
                anyio.run(Witness(state, cosigner, [OURS.verifier], lambda: NOW).add, log.body(old, size))
            except Refusal:
                continue
            signed.append((log, size))
    sizes = [size for _, size in signed]
    assert sizes == sorted(sizes)
    assert len({id(log) for log, size in signed if size}) <= 1


async def test_it_goes_on_where_it_was(witness: Witness, reopened: Callable[[], Witness]) -> None:
    await witness.add(LOG.body(0, 7))
    with pytest.raises(OtherSize):
        await reopened().add(LOG.body(0, 9))
    await reopened().add(LOG.body(7, 9))
