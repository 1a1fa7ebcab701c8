"""A bucket with an S3 interface, through `obstore`; keys and addresses come from AWS's own variables."""

from collections.abc import Iterator

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from dominie_eventstore.archive._blobs import PIECE_BYTES, BlobMissing, FolderBlobs


class BucketBlobs:
    """Objects under a prefix; what is mapped is fetched once into a folder."""

    def __init__(self, place: str, *, cache: FolderBlobs) -> None:
        self._place = place
        self._cache = cache
        try:
            self._store = S3Store.from_url(place)
        except BaseError as error:
            raise ValueError(f"{place!r} is no bucket that can be used: {error}") from error

    def get(self, name: str) -> bytes:
        """See `Blobs.get`."""
        try:
            return self._store.get(name).bytes().to_bytes()
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissing(name, self._place) from error
        except BaseError as error:
            raise OSError(f"{self._place}: {error}") from error

    def mapped(self, name: str) -> memoryview:
        """See `Blobs.mapped`."""
        try:
            return self._cache.mapped(name)
        except BlobMissing:
            self._cache.put(name, self.get(name))
            return self._cache.mapped(name)

    def pieces(self, name: str) -> Iterator[bytes]:
        """See `Blobs.pieces`."""
        try:
            for piece in self._store.get(name).stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissing(name, self._place) from error
        except BaseError as error:
            raise OSError(f"{self._place}: {error}") from error

    def sizes(self) -> Iterator[tuple[str, int]]:
        """See `Blobs.sizes`."""
        try:
            for page in self._store.list():
                yield from ((found["path"], found["size"]) for found in page)
        except BaseError as error:
            raise OSError(f"{self._place}: {error}") from error

    def put(self, name: str, data: bytes, *, compressed: bool = False) -> None:
        """See `Blobs.put`."""
        try:
            self._store.put(name, data, attributes={"Content-Encoding": "gzip"} if compressed else None)
        except BaseError as error:
            raise OSError(f"{self._place}: {error}") from error
