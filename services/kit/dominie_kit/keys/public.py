"""The deployment's public keys on the bus: the bucket that identity alone writes, made and read by the operator."""

import json
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError

from dominie_contracts import Unavailable
from dominie_contracts.subjects import JWKS_SUBJECT, KEYS_STREAM

_HISTORY, _TIMEOUT_S = 5, 5.0
_EXISTS = 10058


async def provision_keys(client: Client, *, replicas: int) -> None:
    """Make the bucket (NATS ADR-8), or bring it up to date: with the operator's rights."""
    config = StreamConfig(
        name=KEYS_STREAM,
        subjects=[f"{JWKS_SUBJECT.rpartition('.')[0]}.>"],
        max_msgs_per_subject=_HISTORY,
        discard=DiscardPolicy.NEW,
        num_replicas=replicas,
        allow_direct=True,
        allow_rollup_hdrs=True,
        deny_delete=True,
    )
    stream = client.jetstream(timeout=_TIMEOUT_S)
    try:
        await stream.add_stream(config)
    except APIError as error:
        if error.err_code != _EXISTS:
            raise Unavailable(f"the bucket of keys cannot be made ({error.description})") from error
        await stream.update_stream(config)


async def read_keys(client: Client) -> dict[str, Any]:
    """The JWKS, as identity published it last.

    Raises:
        Unavailable: There is none yet, or the broker does not answer.
    """
    try:
        found = await client.jetstream(timeout=_TIMEOUT_S).get_last_msg(KEYS_STREAM, JWKS_SUBJECT, direct=True)
    except NotFoundError as error:
        raise Unavailable("no keys are published yet; identity does it when it starts", retry_after_s=1) from error
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable(f"the bucket of keys does not answer ({type(error).__name__})", retry_after_s=1) from error
    keys: dict[str, Any] = json.loads(found.data or b"{}")
    return keys
