"""One witness, as a log asks it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from dominie.cosignatures import SIZE_TYPE, Submission, WitnessKey, cosigned_by
from dominie.merkle import is_extended
from dominie.notes import is_size, parse_note
from dominie_audit.adapters.tlog.proving import consistency, root
from dominie_audit.adapters.tlog.published import Latest, Published, WitnessDiffers
from dominie_audit.adapters.tlog.tiles import Hashes, Tiles, TilesDamaged
from dominie_audit.adapters.witnesses.address import Address

if TYPE_CHECKING:
    from httpx import AsyncClient

MAX_ANSWER_BYTES = 64 * 2**10
_TRIES = 3
_PLAIN = {"accept-encoding": "identity"}


class Unusable(Exception):
    """A witness did not answer, or nothing that can be used."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answered."""

    status: int
    type: str
    text: str


class Asked:
    """A witness, and what it has as far as it is known."""

    def __init__(self, address: Address, published: Published, client: "AsyncClient") -> None:
        self.address = address
        self._published = published
        self._client = client
        self._had = 0

    async def sign(self, latest: Latest) -> str:
        """The witness's line for a checkpoint; none where it was asked for a newer one meanwhile.

        Raises:
            WitnessDiffers, Unusable, TilesDamaged, ProofProblem
        """
        size = latest.checkpoint.size
        for _ in range(_TRIES):
            old = self._had
            if old > size:
                return await self._overtaken(size)
            answer = await self._send(await run_sync(_submission, self._published.tiles, latest, old))
            if answer.status == 200:
                self._had = size
                return _line(answer.text, latest, self.address.key)
            if answer.status == 422:
                raise self._differs(f"has signed {old} other events", size)
            had = _size(answer)
            if had == old == size:
                raise self._differs(f"has signed {size} other events", size)
            self._had = had
        raise Unusable("it has another size each time")

    async def _overtaken(self, size: int) -> str:
        """A checkpoint is stored before a witness is asked: so what it has is there by now, or was there once."""
        now = await run_sync(self._published.latest)
        if now is None or now.checkpoint.size < self._had:
            raise self._differs(f"has signed {self._had} events", size)
        return ""

    def _differs(self, why: str, size: int) -> WitnessDiffers:
        return WitnessDiffers(self.address.key.name, why, size=size)

    async def _send(self, submission: Submission) -> Answer:
        from httpx import HTTPError

        body = bytearray()
        request = self._client.stream(
            "POST", f"{self.address.url}/add-checkpoint", content=submission.text.encode(), headers=_PLAIN
        )
        try:
            async with request as answer:
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise Unusable("its answer is too long")
        except HTTPError as error:
            raise Unusable(f"it cannot be reached: {error!r}") from error
        return Answer(answer.status_code, answer.headers.get("content-type", ""), body.decode(errors="replace"))


def _submission(tiles: Tiles, latest: Latest, old: int) -> Submission:
    """Ask with a proof that holds: whoever refuses that one has seen another log.

    Raises:
        TilesDamaged
    """
    new = latest.checkpoint
    hashes = Hashes(tiles, new.size)
    proof = consistency(hashes, old, new.size)
    if not is_extended(old, new.size, proof, root(hashes, old), new.root):
        raise TilesDamaged("they do not lead to the last checkpoint")
    return Submission(old, tuple(proof), latest.note)


def _line(text: str, latest: Latest, key: WitnessKey) -> str:
    """The witness's own line of an answer.

    Raises:
        Unusable, ProofProblem
    """
    checkpoint, _ = parse_note(latest.note)
    for line in text.splitlines(keepends=True):
        if cosigned_by(f"{checkpoint}\n{line}", [key]):
            return line
    raise Unusable("its answer is not signed with the key that is known here")


def _size(answer: Answer) -> int:
    """The size that a witness has, where it refuses for that.

    Raises:
        Unusable
    """
    text = answer.text.removesuffix("\n")
    if answer.status == 409 and answer.type == SIZE_TYPE and is_size(text):
        return int(text)
    raise Unusable(f"it answers {answer.status}: {text[:200]}")
