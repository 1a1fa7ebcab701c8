"""Where the bytes of artifacts are kept: a stream of the broker's, with one message for each subject."""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic_core import from_json, to_json

from dominie_contracts import Unavailable
from dominie_contracts.subjects import ARTIFACTS, ARTIFACTS_STREAM

_TIMEOUT_S = 5.0
_EXISTS = 10058
_NOT_FOUND = 404
_MAX_BYTES = 512 * 1024


class Blob(NamedTuple):
    """One message as it is kept."""

    subject: str
    sequence: int
    stored: datetime
    body: bytes


class Held(NamedTuple):
    """The subjects of all that is kept, and how much that is."""

    subjects: tuple[str, ...]
    size: int
    steady: bool = True
    """Whether no subject can be missing: in a long list one may, where something changed while it was made."""


class Blobs(Protocol):
    """Keeps one body for each subject."""

    async def put(self, subject: str, body: bytes) -> None:
        """Keep a body, instead of what was there; it is durable on return.

        Raises:
            Unavailable: It may be there, or not.
        """
        ...

    async def get(self, subject: str) -> Blob | None:
        """What is kept under a subject; under a pattern, the last of what fits.

        Raises:
            Unavailable: There is no telling.
        """
        ...


class Shelf(Blobs, Protocol):
    """Says what there is, and takes away."""

    async def held(self) -> "Held":
        """Everything that is kept.

        Raises:
            Unavailable: There is no telling.
        """
        ...

    async def remove(self, blob: Blob) -> bool:
        """Take away a body, and overwrite it; whether it was there. What was put in its place since then stays.

        Raises:
            Unavailable: It may be gone, or not.
        """
        ...


class StreamBlobs:
    """Keeps them over somebody else's connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def put(self, subject: str, body: bytes) -> None:
        """See `Blobs`."""
        self._answer(await self._ask(subject, body))

    async def get(self, subject: str) -> Blob | None:
        """See `Blobs`. A replica may be behind: what it does not have, the leader is asked for."""
        answer = await self._ask(f"$JS.API.DIRECT.GET.{ARTIFACTS_STREAM}.{subject}", b"")
        found = answer.headers or {}
        if "Nats-Sequence" not in found:
            return await self._from_leader(subject)
        return Blob(found["Nats-Subject"], int(found["Nats-Sequence"]), _time(found["Nats-Time-Stamp"]), answer.data)

    async def _from_leader(self, subject: str) -> Blob | None:
        answer = await self._ask(f"$JS.API.STREAM.MSG.GET.{ARTIFACTS_STREAM}", to_json({"last_by_subj": subject}))
        said: dict[str, Any] = from_json(answer.data)
        if said.get("error", {}).get("code") == _NOT_FOUND:
            return None
        found = self._answer(answer)["message"]
        return Blob(found["subject"], int(found["seq"]), _time(found["time"]), b64decode(found.get("data", "")))

    async def held(self) -> Held:
        """See `Shelf`. The broker names so many subjects at once, by their places among all.

        What is removed meanwhile moves the others up, past where the next page begins. Whatever is put or removed
        changes the last sequence or the number of messages.
        """
        before, subjects = await self._info(), list[str]()
        while True:
            found = await self._info({"subjects_filter": ARTIFACTS, "offset": len(subjects)})
            page = found["state"].get("subjects") or {}
            subjects += page
            if not page or len(subjects) >= found.get("total", 0):
                break
        state, was = (await self._info())["state"], before["state"]
        same = (state["last_seq"], state["messages"]) == (was["last_seq"], was["messages"])
        return Held(tuple(subjects), int(state["bytes"]), steady=same or len(page) == len(subjects))

    async def _info(self, asked: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._answer(await self._ask(f"$JS.API.STREAM.INFO.{ARTIFACTS_STREAM}", to_json(asked or {})))

    async def remove(self, blob: Blob) -> bool:
        """See `Shelf`. The broker has several errors for a message that is gone."""
        answer = await self._ask(f"$JS.API.STREAM.MSG.DELETE.{ARTIFACTS_STREAM}", to_json({"seq": blob.sequence}))
        if "error" in from_json(answer.data):
            there = await self.get(blob.subject)
            if there is None or there.sequence != blob.sequence:
                return False
        return bool(self._answer(answer)["success"])

    async def _ask(self, subject: str, body: bytes) -> Msg:
        try:
            return await self._client.request(subject, body, timeout=_TIMEOUT_S)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            raise Unavailable(f"the store of artifacts does not answer ({why})", retry_after_s=0.5) from error

    @staticmethod
    def _answer(message: Msg) -> dict[str, Any]:
        said: dict[str, Any] = from_json(message.data)
        if error := said.get("error"):
            why = error.get("description", "unknown error")
            raise Unavailable(f"the store of artifacts refuses ({why})", retry_after_s=1)
        return said


async def provision_artifacts(client: Client, *, replicas: int) -> None:
    """Create the stream of artifacts, or bring it up to date: with the operator's rights.

    Raises:
        Unavailable: JetStream refuses, or does not answer.
    """
    blobs = StreamBlobs(client)
    config = to_json(
        {
            "name": ARTIFACTS_STREAM,
            "subjects": [ARTIFACTS],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "num_replicas": replicas,
            "max_msgs_per_subject": 1,
            "max_msg_size": _MAX_BYTES,
            "allow_direct": True,
            "deny_purge": True,
        }
    )
    answer = await blobs._ask(f"$JS.API.STREAM.CREATE.{ARTIFACTS_STREAM}", config)
    if from_json(answer.data).get("error", {}).get("err_code") == _EXISTS:
        answer = await blobs._ask(f"$JS.API.STREAM.UPDATE.{ARTIFACTS_STREAM}", config)
    blobs._answer(answer)


def _time(text: str) -> datetime:
    """JetStream's times have nanoseconds."""
    head, _, rest = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{rest[:6]:0<6}").replace(tzinfo=UTC)
