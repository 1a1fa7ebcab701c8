"""Events as they are stored, page by page, all with places in one checkpoint; and where they are written."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dominie import Client
    from dominie_contracts.audit import Leaf, Leaves, Selection, SignedCheckpoint

Output = Annotated[Path | None, typer.Option("--output", "-o", dir_okay=False, help="Write to a file.")]


class Exported:
    """Events that were selected, oldest first; asked for as they are taken.

    Attributes:
        checkpoint: It covers all of them, and all that audit had read when they were asked for.
        count: How many were taken.
    """

    def __init__(self, client: "Client", asked: "Selection", *, proofs: bool) -> None:
        self._client = client
        self._asked = asked.model_dump() | {"proofs": proofs}
        self._first = self._page()
        assert self._first.checkpoint is not None
        self.checkpoint: SignedCheckpoint = self._first.checkpoint
        self.count = 0

    @property
    def size(self) -> int:
        """How many events the checkpoint covers."""
        from dominie.notes import Checkpoint

        return Checkpoint.parse(self.checkpoint.checkpoint.partition("\n\n")[0] + "\n").size

    @property
    def empty(self) -> bool:
        """Whether there are none."""
        return not self._first.leaves

    def __iter__(self) -> "Iterator[Leaf]":
        page, size = self._first, self.size
        while True:
            self.count += len(page.leaves)
            yield from page.leaves
            if not page.truncated or not page.leaves:
                return
            page = self._page(size=size, after=page.leaves[-1].position)

    def _page(self, **place: int) -> "Leaves":
        from dominie_contracts.audit import Export, Leaves

        return self._client.ask(Export.model_validate(self._asked | place), Leaves)


@contextmanager
def writing(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file, which is there once all is written and not before.

    Raises:
        Invalid: It cannot be written.
    """
    from dominie import Invalid

    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        if output.exists() and not output.is_file():
            with output.open("wb") as device:
                yield device
            return
        draft = output.with_name(f".{output.name}.new")
        try:
            with draft.open("wb") as file:
                yield file
            draft.replace(output)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise Invalid(f"{str(output)!r} cannot be written: {error.strerror or error}") from error
