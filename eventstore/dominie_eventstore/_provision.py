"""Making what the log is stored in: the operator's work, with the operator's rights."""

from typing import Any

from nats.aio.client import Client

from dominie_contracts.subjects import SEGMENTS_STREAM, SEGMENTS_SUBJECT
from dominie_eventstore._operation import Operation, operating, segment_config
from dominie_eventstore._rolling import Roller
from dominie_eventstore._segments import Segments


async def provision(nc: Client, *, replicas: int = 1, timeout_s: float = 10.0) -> Segments:
    """Create the log, or bring the stream of its open segment up to date; doing it again changes nothing.

    Where somebody died on the way to the next segment, it is opened.

    Raises:
        StoreUnavailable: JetStream refuses, or did not answer in time.
    """
    async with operating(nc) as wire:
        operation = Operation(wire, "provisioning the log", timeout_s)
        await operation.put_stream(_catalogue_config(replicas))
        written = await operation.segments()
        if written.sequence == 0:
            await operation.put_stream(segment_config(0, replicas))
            return await operation.write(written, Segments())
        wanted = segment_config(written.segments.open, replicas)
        config = await operation.config(wanted["name"])
        if config is not None and config["subjects"] != wanted["subjects"]:
            return await Roller(wire, timeout_s).roll()
        await operation.put_stream(wanted)
        return written.segments


def _catalogue_config(replicas: int) -> dict[str, Any]:
    return {
        "name": SEGMENTS_STREAM,
        "subjects": [SEGMENTS_SUBJECT],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "num_replicas": replicas,
        "max_msgs": 1,
        "deny_delete": True,
        "deny_purge": True,
    }
