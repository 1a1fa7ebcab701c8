"""What JetStream says of the stream of events itself; the answer is its leader's, which no other replica precedes."""

import re
from typing import Any, Final, NamedTuple

from dominie_contracts.subjects import EVENT_STREAM
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._port import Durability
from dominie_eventstore._wire import EXPECTED_SEQUENCE, Deadline, Lost, Refused, Wire, parse

INFO: Final = f"$JS.API.STREAM.INFO.{EVENT_STREAM}"
_NEVER: Final = str(2**63 - 1)
"""A sequence that no stream comes to."""
_SAID = re.compile(r"wrong last sequence: (\d+)")


class StreamState(NamedTuple):
    """How the stream is kept, and the sequence of its last message."""

    durability: Durability
    last: int


async def stream_state(wire: Wire, deadline: Deadline) -> StreamState:
    """Ask for it.

    Raises:
        StoreUnavailable: There is no such stream, or nobody said in time.
    """
    while True:
        try:
            found = parse(await wire.ask(INFO, b"", timeout_s=deadline.attempt_s))
        except Lost as error:
            await deadline.pause(error)
        except Refused as error:
            raise StoreUnavailable(f"asking how {EVENT_STREAM} is kept: {error}") from error
        else:
            return StreamState(_durability(found["config"]), int(found["state"]["last_seq"]))


def _durability(config: dict[str, Any]) -> Durability:
    replicas = int(config["num_replicas"])
    if config["storage"] != "file" or config.get("persist_mode", "default") != "default":
        return Durability("none", replicas)
    return Durability("fsync" if replicas == 1 else "quorum", replicas)


async def end_of(wire: Wire, subject: str, deadline: Deadline) -> int:
    """The sequence of a subject's last message, 0 if it has none, as the one who stores them knows it.

    A direct read may be answered by a replica that is behind. So a message is offered that can never be stored, and
    the refusal says it; that needs no right but the writer's own.

    Raises:
        StoreUnavailable: Nobody said in time.
    """
    while True:
        try:
            parse(await wire.ask(subject, b"", timeout_s=deadline.attempt_s, headers={EXPECTED_SEQUENCE: _NEVER}))
        except Lost as error:
            await deadline.pause(error)
        except Refused as error:
            if (said := _SAID.search(str(error))) is not None:
                return int(said[1])
            await deadline.pause(error)  # others write there at this moment
