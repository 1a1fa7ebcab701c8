"""Which events an archived segment has: a file of sorted arrays that is mapped, not read.

A line of JSON, filled up with spaces to whole words, says how long the arrays are; they follow it, little-endian:

    positions      8 bytes an event, in the order of the log
    fingerprints   8 bytes a stream, sorted: the first of the SHA-256 of its name
    starts         4 bytes a stream, and one more: where in `events` its own begin
    events         4 bytes an event: those of one stream after the other, by their number in the segment
    categories     4 bytes an event: those of one category after the other
"""

import json
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Literal

_WORD = 8


def segment_path(segment: int) -> str:
    """Where a segment's index is."""
    return f"segment/{segment}"


def fingerprint(stream: str) -> int:
    """What an index knows a stream by."""
    return int.from_bytes(sha256(stream.encode()).digest()[:_WORD])


class IndexDraft:
    """An index that is being made, an event after the other."""

    def __init__(self, segment: int, first: int) -> None:
        self._segment = segment
        self._first = first
        self._positions = array("Q")
        self._streams: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
        self._categories: defaultdict[str, array[int]] = defaultdict(lambda: array("I"))

    @property
    def events(self) -> int:
        """How many there are so far."""
        return len(self._positions)

    def add(self, position: int, stream: str) -> None:
        """Take in the next event."""
        number = len(self._positions)
        self._positions.append(position)
        self._streams[fingerprint(stream)].append(number)
        self._categories[stream.split(".", 2)[1]].append(number)

    def encode(self) -> bytes:
        """The file."""
        streams = sorted(self._streams.items())
        head = {
            "segment": self._segment,
            "first": self._first,
            "events": len(self._positions),
            "streams": len(streams),
            "categories": {name: len(numbers) for name, numbers in self._categories.items()},
        }
        arrays = (
            self._positions,
            array("Q", (name for name, _ in streams)),
            array("I", accumulate((len(numbers) for _, numbers in streams), initial=0)),
            *(numbers for _, numbers in streams),
            *self._categories.values(),
        )
        line = json.dumps(head).encode()
        return line + b" " * (-(len(line) + 1) % _WORD) + b"\n" + b"".join(_little(each) for each in arrays)


class Index:
    """An index as it is stored.

    Attributes:
        segment: Its number.
        first: The place of its first event in the whole log, from 0.
        events: How many it has.
        streams: How many streams they are of.
    """

    def __init__(self, stored: memoryview) -> None:
        """Read an index.

        Raises:
            ValueError: It is none, or was cut short.
        """
        if sys.byteorder != "little":
            raise ValueError("an index is read on little-endian machines alone")
        line = bytes(stored[: 1 << 16]).partition(b"\n")[0]
        try:
            head = json.loads(line)
            self.segment, self.first = int(head["segment"]), int(head["first"])
            self.events, self.streams = int(head["events"]), int(head["streams"])
            categories: Mapping[str, int] = head["categories"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"it is no index of a segment ({error!r})") from error
        at = len(line) + 1
        if len(stored) != at + 12 * self.events + 12 * self.streams + 4 + 4 * sum(categories.values()):
            raise ValueError("it was cut short")

        def take(count: int, kind: Literal["Q", "I"], width: int) -> memoryview:
            nonlocal at
            at += count * width
            return stored[at - count * width : at].cast(kind)

        self.positions = take(self.events, "Q", 8)
        self._fingerprints = take(self.streams, "Q", 8)
        self._starts = take(self.streams + 1, "I", 4)
        self._numbers = take(self.events, "I", 4)
        self._categories = {name: take(count, "I", 4) for name, count in categories.items()}

    def of_stream(self, stream: str) -> Sequence[int]:
        """The numbers of a stream's events, in order; another stream's too, if their fingerprints are the same."""
        at = self._place(fingerprint(stream))
        return () if at is None else self._numbers[self._starts[at] : self._starts[at + 1]]

    def has(self, name: int) -> bool:
        """Whether a stream with this fingerprint has events here."""
        return self._place(name) is not None

    def _place(self, name: int) -> int | None:
        at = bisect_left(self._fingerprints, name)
        return at if at < self.streams and self._fingerprints[at] == name else None

    def of_category(self, category: str | None) -> Sequence[int]:
        """The numbers of a category's events, or of all, in order."""
        return range(self.events) if category is None else self._categories.get(category, ())

    def beyond(self, numbers: Sequence[int], position: int) -> int:
        """How many of these events have a position up to this one: where among them the ones beyond it begin."""
        return bisect_right(numbers, position, key=self.positions.__getitem__)

    def message_of(self, number: int) -> range:
        """The numbers of the events that were appended together with this one."""
        message = self.positions[number] >> 8
        first = number - (self.positions[number] & 0xFF)
        end = number + 1
        while end < self.events and self.positions[end] >> 8 == message:
            end += 1
        return range(first, end)


def _little(numbers: "array[int]") -> bytes:
    if sys.byteorder != "little":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()
