"""What a witness signs, in the order in which c2sp.org/tlog-witness asks. Pure."""

from collections.abc import Mapping, Sequence

from dominie.cosignatures import Submission
from dominie.merkle import EMPTY, is_extended
from dominie.notes import BadProof, Checkpoint, ProofProblem, VerifierKey, open_note, parse_note
from dominie_witness.refusals import Inconsistent, Malformed, NotTheLogs, OtherSize, UnknownLog

Logs = Mapping[str, Sequence[VerifierKey]]
"""By origin, the keys that sign for it."""


def logs_of(keys: Sequence[VerifierKey]) -> Logs:
    """Keys by the log that they are of, which has their name."""
    return {name: [key for key in keys if key.name == name] for name in dict.fromkeys(key.name for key in keys)}


def read(body: bytes) -> tuple[Submission, Checkpoint]:
    """What was submitted, as it says of itself.

    Raises:
        Malformed
    """
    try:
        submission = Submission.parse(body)
        return submission, Checkpoint.parse(parse_note(submission.note)[0])
    except BadProof as error:
        raise Malformed(error.detail) from error


def check_origin(submission: Submission, checkpoint: Checkpoint, logs: Logs) -> None:
    """Check that the checkpoint is one of a known log.

    Raises:
        UnknownLog, NotTheLogs
    """
    if checkpoint.origin not in logs:
        raise UnknownLog(f"this witness knows no log {checkpoint.origin!r}")
    if not any(_signed(submission.note, key) for key in logs[checkpoint.origin]):
        raise NotTheLogs(f"no key of {checkpoint.origin!r} that this witness knows signed the checkpoint")


def check_growth(submission: Submission, checkpoint: Checkpoint, last: Checkpoint | None) -> None:
    """Check that a checkpoint extends the last one that was signed here, if there is one.

    Raises:
        Malformed, OtherSize, Inconsistent
    """
    old, size, root = submission.old, checkpoint.size, checkpoint.root
    if old > size:
        raise Malformed(f"the checkpoint is of {size} events, which is less than the {old} before")
    had = last or Checkpoint(checkpoint.origin, 0, EMPTY)
    if old != had.size or (old == size and root != had.root):
        raise OtherSize(had.size)
    if not is_extended(old, size, submission.proof, had.root, root):
        raise Inconsistent(f"the proof does not lead from the {old} events that were signed here to these {size}")


def _signed(note: str, key: VerifierKey) -> bool:
    try:
        open_note(note, key)
    except ProofProblem:
        return False
    return True
