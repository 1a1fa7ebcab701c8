"""The archive: sealed segments as entry bundles (c2sp.org/tlog-tiles) and an index each, in files or objects.

tile/entries/N[.p/W]   256 events' stored bytes, compressed with gzip, by their place in the whole log
segment/K              which events the segment K has: their positions, streams and categories
tile/L/N[.p/W], checkpoint   the hashes over them, and the signed checkpoint they were checked against
"""

from dominie_eventstore.archive._blobs import BlobMissing, Blobs, FolderBlobs, open_blobs
from dominie_eventstore.archive._bundles import BUNDLE, decode_bundle, encode_bundle, entries_path, tile_path
from dominie_eventstore.archive._index import Index, IndexDraft, fingerprint, segment_path
from dominie_eventstore.archive._reader import Archive

__all__ = [
    "BUNDLE",
    "Archive",
    "BlobMissing",
    "Blobs",
    "FolderBlobs",
    "Index",
    "IndexDraft",
    "decode_bundle",
    "encode_bundle",
    "entries_path",
    "fingerprint",
    "open_blobs",
    "segment_path",
    "tile_path",
]
