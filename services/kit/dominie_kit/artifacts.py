"""Artifacts: sealed in chunks under a person's key, named by digests under it, and held by runs (decision 0019).

A chunk's name is a digest of its bytes, and an artifact's name is one of its manifest, which lists the chunks in
order. So a chunk that is missing, cut, swapped or of another artifact is found when it is read. Each is durable by
itself, whatever instance put it: nothing about an artifact is in anybody's memory.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio
from pydantic import JsonValue
from pydantic_core import from_json

from dominie_contracts import Conflict, Forbidden, Invalid
from dominie_contracts.artifact import CHUNK_BYTES, Manifest, MediaType, Reference, reference, references
from dominie_contracts.digests import digest_bytes
from dominie_contracts.subjects import chunk_subject, manifest_subject
from dominie_kit.blobs import Blob, Blobs
from dominie_kit.personal.sealing import PersonKey, Unreadable

MAX_BYTES = 64 * 2**20
FRESH_FOR = timedelta(minutes=30)
"""What is older is written anew before an event may refer to it, so that no sweep takes it for forgotten."""
_NAME_CHARS = 32
_LARGE_CHUNKS = 16
_LARGE_AT_ONCE = 2
"""What has more chunks is looked through by so many commands at once: smaller ones do not wait for it."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Whose artifacts, and what stands for the run that holds them (`dominie_contracts.artifact.holder`)."""

    person: PersonKey
    holder: str

    def manifest(self, name: str) -> str:
        """The subject of a manifest."""
        return manifest_subject(self.person.owner[0], self.person.id, self.holder, name)

    def chunk(self, name: str) -> str:
        """The subject of a chunk."""
        return chunk_subject(self.person.owner[0], self.person.id, name)


@dataclass(frozen=True, slots=True)
class Artifact:
    """One that is there."""

    reference: Reference
    manifest: Manifest
    holding: Holding


class Artifacts:
    """Puts, keeps, finds and reads them; one chunk at a time is in memory, where nobody asks for the whole value."""

    def __init__(self, blobs: Blobs, *, max_bytes: int = MAX_BYTES) -> None:
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._large = anyio.Semaphore(_LARGE_AT_ONCE)

    def check_size(self, size: int) -> None:
        """Refuse what is larger than an artifact, or all artifacts of a call's arguments together, may be.

        Raises:
            Invalid: It is.
        """
        if size > self._max_bytes:
            why = f"{size} bytes or more are too many: an artifact, or all of a call's, has at most {self._max_bytes}"
            raise Invalid(why, size=size, limit=self._max_bytes, reason="too-large")

    async def put(self, holding: Holding, data: bytes) -> str:
        """Put a chunk; its name. The same bytes are put once more, and are as young as the last time.

        Raises:
            Invalid: It is empty or too long.
            Unavailable: It may be there, or not.
        """
        if not 1 <= len(data) <= CHUNK_BYTES:
            raise Invalid(f"a chunk has 1 to {CHUNK_BYTES} bytes, not {len(data)}")
        name = _name(holding.person, b"chunk", data)
        subject = holding.chunk(name)
        await self._blobs.put(subject, holding.person.seal_bytes(data, subject))
        return name

    async def keep(self, holding: Holding, chunks: Sequence[str], media_type: MediaType) -> Reference:
        """Make an artifact of chunks that were put; it is durable on return.

        Raises:
            Invalid: It is too large, or a chunk was not put or is not as long as it has to be.
            Unavailable: It may be there, or not.
        """
        self.check_size((len(chunks) - 1) * CHUNK_BYTES)
        async with self._turn(len(chunks)):
            size = await self._measure(holding, chunks)
        self.check_size(size)
        manifest = Manifest(size=size, media_type=media_type, chunks=tuple(chunks))
        return await self._write(holding, manifest)

    async def adopt(self, holding: Holding, other: Holding, wanted: Iterable[Reference]) -> None:
        """Let a run hold what another one holds.

        Raises:
            Forbidden: That one does not.
        """
        for found in dict.fromkeys(wanted):
            await self._write(holding, (await self.find(other, found.name)).manifest)

    async def accept(self, holding: Holding, wanted: Iterable[Reference]) -> list[Artifact]:
        """What an event is about to refer to, each once; all of it stays for longer than that can take.

        Raises:
            Forbidden: The run does not hold it.
            Invalid: It is not what the reference says, or a chunk was swept before somebody referred to it.
        """
        once, seen = tuple(dict.fromkeys(wanted)), set[str]()
        async with self._turn(sum(1 + each.size // CHUNK_BYTES for each in once)):
            return [await self._accept(holding, each, seen) for each in once]

    async def find(self, holding: Holding, name: str) -> Artifact:
        """An artifact that a run holds.

        Raises:
            Forbidden: It does not.
            Conflict: Its manifest is not what was written.
        """
        blob = await self._blobs.get(holding.manifest(name))
        if blob is None:
            raise _unknown(name)
        return opened(holding, name, blob.body)

    async def chunk(self, artifact: Artifact, index: int) -> bytes:
        """A chunk of an artifact.

        Raises:
            Invalid: It has fewer.
            Conflict: The chunk is not what was put.
        """
        names = artifact.manifest.chunks
        if index >= len(names):
            raise Invalid(f"the artifact has {len(names)} chunks", chunks=len(names))
        blob = await self._blobs.get(artifact.holding.chunk(names[index]))
        data = None if blob is None else _opened(artifact.holding, names[index], blob)
        if data is None:
            raise _damaged(artifact.reference.name)
        return data

    async def chunks(self, artifact: Artifact) -> AsyncIterator[bytes]:
        """All of them, in order."""
        for index in range(len(artifact.manifest.chunks)):
            yield await self.chunk(artifact, index)

    async def load(self, holding: Holding, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Values with their artifacts in their places, in memory: once each, however often it stands there.

        Raises:
            Forbidden, Invalid, Conflict, Unavailable
        """
        wanted = {found.name for value in values.values() for found in references(value)}
        loaded = {name: await self._value(await self.find(holding, name)) for name in sorted(wanted)}
        return {name: _filled(value, loaded) for name, value in values.items()}

    def _turn(self, chunks: int) -> anyio.Semaphore | nullcontext[None]:
        """A turn to look through so many."""
        return self._large if chunks > _LARGE_CHUNKS else nullcontext()

    async def _measure(self, holding: Holding, chunks: Sequence[str]) -> int:
        """The size of chunks in order; each is asked for once, however often it is named."""
        sizes: dict[str, int] = {}
        for number, name in enumerate(chunks):
            if name not in sizes:
                found = await self._young(holding.chunk(name))
                if found is None:
                    raise Invalid(f"chunk {number} was not put", chunk=number, reason="chunk-missing")
                sizes[name] = len(_opened(holding, name, found))
            if sizes[name] != CHUNK_BYTES and number + 1 < len(chunks):
                why = f"chunk {number} has {sizes[name]} bytes; all but the last have {CHUNK_BYTES}"
                raise Invalid(why, chunk=number, reason="chunk-out-of-order")
        return sum(sizes[name] for name in chunks)

    async def _accept(self, holding: Holding, wanted: Reference, seen: set[str]) -> Artifact:
        found = await self.find(holding, wanted.name)
        if found.reference != wanted:
            raise Invalid(f"the artifact {wanted.name} is not what its reference says", reason="reference-differs")
        if not await self._young(holding.manifest(wanted.name)):
            raise _unknown(wanted.name)
        for name in found.manifest.chunks:
            if name not in seen and not await self._young(holding.chunk(name)):
                why = f"a chunk of the artifact {wanted.name!r} is there no longer; put it again"
                raise Invalid(why, artifact=wanted.name, reason="chunk-missing")
            seen.add(name)
        return found

    async def _value(self, artifact: Artifact) -> JsonValue:
        data = bytearray()
        async for chunk in self.chunks(artifact):
            data += chunk
        return value_of(artifact.reference, data)

    async def _write(self, holding: Holding, manifest: Manifest) -> Reference:
        body = manifest.model_dump_json().encode()
        name = _name(holding.person, b"manifest", body)
        await self._blobs.put(holding.manifest(name), body)
        return Reference(name=name, size=manifest.size, media_type=manifest.media_type)

    async def _young(self, subject: str) -> Blob | None:
        """What is kept under a subject, written anew where it was old."""
        found = await self._blobs.get(subject)
        if found is not None and datetime.now(UTC) - found.stored > FRESH_FOR:
            await self._blobs.put(subject, found.body)
        return found


def opened(holding: Holding, name: str, body: bytes) -> Artifact:
    """The artifact that a manifest's bytes make.

    Raises:
        Conflict: They are not what the name is a digest of.
    """
    if _name(holding.person, b"manifest", body) != name:
        raise _damaged(name)
    manifest = Manifest.model_validate_json(body)
    return Artifact(Reference(name=name, size=manifest.size, media_type=manifest.media_type), manifest, holding)


def value_of(found: Reference, data: bytes | bytearray) -> JsonValue:
    """What an artifact's bytes stand for.

    Raises:
        Invalid: They are not of its media type.
    """
    try:
        if found.media_type == "text/plain":
            return data.decode()
        value: JsonValue = from_json(data)
    except ValueError as error:
        raise Invalid(f"the artifact {found.name} is no {found.media_type}") from error
    return value


def _filled(value: JsonValue, loaded: Mapping[str, JsonValue]) -> JsonValue:
    found = reference(value)
    if found is not None:
        return loaded[found.name]
    if isinstance(value, dict):
        return {name: _filled(part, loaded) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, loaded) for part in value]
    return value


def _opened(holding: Holding, name: str, blob: Blob) -> bytes:
    try:
        data = holding.person.unseal_bytes(blob.body, holding.chunk(name))
    except Unreadable as error:
        raise _damaged(name) from error
    if _name(holding.person, b"chunk", data) != name:
        raise _damaged(name)
    return data


def _name(person: PersonKey, kind: bytes, data: bytes) -> str:
    return digest_bytes(kind + b"\0" + data, key=person.names)[:_NAME_CHARS]


def _unknown(name: str) -> Forbidden:
    return Forbidden(f"this run holds no artifact {name!r}", artifact=name, reason="unknown-artifact")


def _damaged(name: str) -> Conflict:
    why = f"what is stored of the artifact {name!r} is not what was put: its digest differs"
    return Conflict(why, artifact=name, reason="digest-differs")
