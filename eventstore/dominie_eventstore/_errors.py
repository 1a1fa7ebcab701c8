"""What can go wrong in the event store.

EventStoreError
├── WrongExpectedVersion   somebody else wrote this stream first; read it and decide again
├── StoreUnavailable       the store did not answer in time; the append may or may not have been stored
│   └── ArchiveUnavailable the archive of older segments cannot be read
├── EventTooLarge          the events of one append do not fit in one message
└── CorruptEvent           stored bytes are not the event they should be; nothing after them can be trusted
"""


class EventStoreError(Exception):
    """Anything that the event store raises."""


class WrongExpectedVersion(EventStoreError):
    """The stream is not at the version that the writer had seen."""

    def __init__(self, stream: str, *, expected: int, actual: int) -> None:
        super().__init__(f"stream {stream!r} is at version {actual}, not {expected}: read it and decide again")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class StoreUnavailable(EventStoreError):
    """The store did not answer in time.

    An append that ends so may have been stored: repeat it with the same event ids, and it is stored once.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: try again")
        self.what = what


class ArchiveUnavailable(StoreUnavailable):
    """The archive of older segments cannot be read, or does not have what it should."""


class EventTooLarge(EventStoreError):
    """The events of one append are larger than one message may be."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the append is {size} bytes long and may be {limit}: store the value elsewhere, name its digest"
        )
        self.size = size
        self.limit = limit


class CorruptEvent(EventStoreError):
    """Stored bytes are not the event they should be."""

    def __init__(self, position: int, *, stream: str, why: str) -> None:
        super().__init__(f"the event at position {position} of stream {stream!r} is corrupt: {why}; run `audit verify`")
        self.position = position
        self.stream = stream
        self.why = why
