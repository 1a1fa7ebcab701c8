"""Making the JetStream stream that holds the events: the operator's work, with the operator's rights."""

import json
from typing import Any

from nats.aio.client import Client

from dominie_contracts.headers import MAX_EVENT_BYTES
from dominie_contracts.subjects import EVENT_STREAM
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._filters import event_filter
from dominie_eventstore._wire import Deadline, Lost, Refused, Wire, parse

_API = "$JS.API.STREAM"
_NAME_IN_USE = 10058


async def provision(nc: Client, *, replicas: int = 1, timeout_s: float = 10.0) -> None:
    """Create the stream of events, or bring it up to date; doing it again changes nothing.

    Raises:
        StoreUnavailable: JetStream refuses, or did not answer in time.
    """
    wire = Wire(nc)
    try:
        await _provision(
            wire, json.dumps(_config(replicas)).encode(), Deadline(f"provisioning {EVENT_STREAM}", timeout_s)
        )
    finally:
        await wire.close()


async def _provision(wire: Wire, config: bytes, deadline: Deadline) -> None:
    verb = "CREATE"
    while True:
        try:
            parse(await wire.ask(f"{_API}.{verb}.{EVENT_STREAM}", config, timeout_s=deadline.attempt_s))
        except Lost as error:
            await deadline.pause(error)
        except Refused as error:
            if verb == "UPDATE" or error.code != _NAME_IN_USE:
                raise StoreUnavailable(f"provisioning {EVENT_STREAM}: {error}") from error
            verb = "UPDATE"
        else:
            return


def _config(replicas: int) -> dict[str, Any]:
    return {
        "name": EVENT_STREAM,
        "subjects": [event_filter(None)],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": replicas,
        "max_msg_size": MAX_EVENT_BYTES,
        "allow_direct": True,
        "allow_atomic": True,
        "deny_delete": True,
        "deny_purge": True,
    }
