"""The witness itself: one checkpoint at a time, and what it signed is on disk before the answer."""

from collections.abc import Callable, Sequence

import anyio
from anyio.to_thread import run_sync

from dominie.cosignatures import Cosigner
from dominie.notes import VerifierKey, parse_note
from dominie_witness.rules import check_growth, check_origin, logs_of, read
from dominie_witness.state import State


class Witness:
    """Signs checkpoints of the logs whose keys it was given."""

    def __init__(self, state: State, cosigner: Cosigner, logs: Sequence[VerifierKey], now: Callable[[], float]) -> None:
        self._state = state
        self._cosigner = cosigner
        self._logs = logs_of(logs)
        self._now = now
        self._one = anyio.Lock()

    async def add(self, body: bytes) -> str:
        """Take a checkpoint as `add-checkpoint` does; the line with the cosignature.

        Raises:
            Malformed, UnknownLog, NotTheLogs, OtherSize, Inconsistent, StateGone, OSError
        """
        async with self._one:
            return await run_sync(self._add, body)

    def _add(self, body: bytes) -> str:
        submission, checkpoint = read(body)
        check_origin(submission, checkpoint, self._logs)
        last = self._state.last(checkpoint.origin)
        check_growth(submission, checkpoint, last)
        if checkpoint != last:
            self._state.store(checkpoint.origin, submission.note)
        return self._cosigner.cosign(parse_note(submission.note)[0], int(self._now()))
