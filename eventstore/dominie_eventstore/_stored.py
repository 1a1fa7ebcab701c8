"""What JetStream says of a segment's stream itself; the answer is its leader's, which no other replica precedes."""

import re
from typing import Any, Final, NamedTuple

from dominie_contracts.subjects import event_subject, fence_subject, segment_stream
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._port import Durability
from dominie_eventstore._wire import EXPECTED_SEQUENCE, Deadline, Lost, Refused, Wire, parse

_NEVER: Final = str(2**63 - 1)
"""A sequence that no stream comes to."""
_SAID = re.compile(r"wrong last sequence: (\d+)")


class StreamState(NamedTuple):
    """How the stream is kept, and the sequence of its last append."""

    durability: Durability
    last: int


async def stream_state(wire: Wire, segment: int, deadline: Deadline) -> StreamState:
    """Ask for it.

    Raises:
        StoreUnavailable: There is no such stream, or nobody said in time.
    """
    stream = segment_stream(segment)
    while True:
        try:
            found = parse(await wire.ask(f"$JS.API.STREAM.INFO.{stream}", b"", timeout_s=deadline.attempt_s))
        except Lost as error:
            await deadline.pause(error)
        except Refused as error:
            raise StoreUnavailable(f"asking how {stream} is kept: {error}") from error
        else:
            fence = found["config"]["subjects"] == [fence_subject(segment)]
            return StreamState(_durability(found["config"]), int(found["state"]["last_seq"]) - fence)


def _durability(config: dict[str, Any]) -> Durability:
    replicas = int(config["num_replicas"])
    if config["storage"] != "file" or config.get("persist_mode", "default") != "default":
        return Durability("none", replicas)
    return Durability("fsync" if replicas == 1 else "quorum", replicas)


async def end_of(wire: Wire, segment: int, stream: str, *, timeout_s: float) -> int:
    """The sequence in a segment of a stream's last message, 0 if it has none, as the one who stores them knows it.

    A direct read may be answered by a replica that is behind. So a message is offered that can never be stored, and
    the refusal says it; that needs no right but the writer's own.

    Raises:
        Lost, Refused: It did not say; others may write there at this moment, or the log has moved on.
    """
    subject = event_subject(segment, stream)
    try:
        parse(await wire.ask(subject, b"", timeout_s=timeout_s, headers={EXPECTED_SEQUENCE: _NEVER}))
    except Refused as error:
        if (said := _SAID.search(str(error))) is not None:
            return int(said[1])
        raise
    raise Lost(f"{subject}: a message that cannot be stored was stored")
