"""The transparency log over all events (RFC 6962, c2sp.org/tlog-tiles): leaf i is event i's stored bytes.

tlog/checkpoint             signed; replaced last, so that what it speaks of is always there
tlog/witnessed              the last checkpoint that enough witnesses signed, if any is asked; not tlog-tiles'
tlog/tile/L/N[.p/W]         256 hashes of level L, or W of them at the right edge
tlog/position/N[.p/W]       where the event store has those 256 leaves: 8 bytes each, big-endian; not tlog-tiles'
"""
