"""Publishing appends to a replicated stream: each by itself, many on their way.

The nodes of a cluster gather what arrives for their consensus and fsync it together, so batches of our own gain
nothing there; and alone, an append that comes too late spoils none but itself.
"""

import asyncio
from typing import Final

from dominie_contracts.subjects import event_subject
from dominie_eventstore._wire import EXPECTED_SEQUENCE, Lost, Wire, parse

_IN_FLIGHT: Final = 1024
"""The broker refuses beyond some thousands that it has yet to agree on."""


class Pipeline:
    """Stores messages, each with a request of its own."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._room = asyncio.Semaphore(_IN_FLIGHT)

    async def publish(self, segment: int, stream: str, payload: bytes, *, after: int, timeout_s: float) -> int:
        """Store one message of a stream in a segment; its sequence.

        Raises:
            Lost: No answer came; it may be stored.
            Refused: It is not stored.
        """
        subject = event_subject(segment, stream)
        try:
            async with asyncio.timeout(timeout_s):
                await self._room.acquire()
        except TimeoutError as error:
            raise Lost(f"{subject}: {_IN_FLIGHT} others wait before it") from error
        try:
            headers = {EXPECTED_SEQUENCE: str(after)}
            answer = await self._wire.ask(subject, payload, timeout_s=timeout_s, headers=headers)
        finally:
            self._room.release()
        return int(parse(answer)["seq"])
