"""Whether what the archive has is of this log: another house, or this one before a reset, may have written there."""

from dominie.notes import Checkpoint, ProofProblem
from dominie_audit.adapters.tlog.published import Published
from dominie_audit.adapters.tlog.tiles import CHECKPOINT
from dominie_contracts import Conflict, Unavailable
from dominie_contracts.envelope import unpack_position
from dominie_eventstore.archive import BlobMissing, Blobs, Index, segment_path


class ArchiveDiffers(Conflict):
    """The archive is another log's: nothing is written to it, and no segment counts as archived."""

    def __init__(self, why: str, *, segment: int | None = None) -> None:
        super().__init__(
            f"the archive is another log's ({why}); give this one a place of its own with DOMINIE_ARCHIVE",
            segment=segment,
        )
        self.why, self.segment = why, segment


class Ours:
    """Compares the archive with this deployment's own tree."""

    def __init__(self, published: Published, blobs: Blobs) -> None:
        self._published = published
        self._blobs = blobs

    def check_checkpoint(self) -> bool:
        """Whether there is a checkpoint.

        Raises:
            ArchiveDiffers: Another key signed it, or it names another log.
            OSError, ValueError
        """
        try:
            note = self._blobs.get(CHECKPOINT).decode()
        except BlobMissing:
            return False
        try:
            Checkpoint.open(note, self._published.key)
        except ProofProblem as error:
            raise ArchiveDiffers(f"its checkpoint: {error.detail}") from error
        return True

    def index(self, segment: int, first: int) -> Index:
        """What the archive has of a segment whose first event has this place in the whole log.

        Raises:
            BlobMissing: It is not archived.
            ArchiveDiffers: It is of another log.
            Unavailable: The own tree does not reach as far yet.
            OSError, ValueError, TilesDamaged
        """
        found = Index(self._blobs.mapped(segment_path(segment)))
        if not self.check_checkpoint():
            raise ArchiveDiffers("it has no checkpoint", segment=segment)
        if (found.segment, found.first) != (segment, first):
            raise ArchiveDiffers(f"it has segment {found.segment} from event {found.first} on", segment=segment)
        for number in {0, found.events - 1} if found.events else ():
            position = self._position(first + number)
            if position != found.positions[number] or unpack_position(position)[0] != segment:
                raise ArchiveDiffers(f"its event {first + number} has another position", segment=segment)
        return found

    def _position(self, place: int) -> int:
        latest = self._published.latest()
        if latest is None or latest.checkpoint.size <= place:
            raise Unavailable(f"no checkpoint covers event {place} yet, which is in the archive", retry_after_s=5)
        return self._published.tiles.position(place, latest.checkpoint.size)
