"""Moves what is too large for a command: out of arguments and results, and in again, in chunks (decision 0019)."""

import asyncio
import base64
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol, TypeVar

from pydantic import JsonValue
from pydantic_core import from_json

from dominie_contracts import Command, Invalid, Message
from dominie_contracts.artifact import CHUNK_BYTES, MAX_CHUNKS, CallPass, Chunk, Reference, reference, references
from dominie_contracts.shrinking import Large, Shrunk, shrink, shrink_arguments
from dominie_contracts.tool import ChunkPut, FetchChunk, KeepArtifact, PutChunk

R = TypeVar("R", bound=Message)
T = TypeVar("T")
U = TypeVar("U")
AT_ONCE = 8
"""Chunks on their way, of all values of one mover."""


class Ask(Protocol):
    """Asks one command, as a run or as a tool worker does."""

    async def __call__(self, command: Command, reply: type[R], *, key: str) -> R:
        """The reply.

        Raises:
            Problem: Refused, or no answer in time.
        """
        ...


class Artifacts:
    """Moves values for one run, or for one call that a worker was given."""

    def __init__(self, ask: Ask, call: CallPass | None = None) -> None:
        self._ask = ask
        self._call = call
        self._room = asyncio.Semaphore(AT_ONCE)

    async def arguments_out(self, arguments: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Arguments as they can be sent."""
        return {name: await self._put(part) for name, part in shrink_arguments(arguments).items()}

    async def out(self, value: JsonValue) -> JsonValue:
        """A value as it can be sent."""
        return await self._put(shrink(value))

    async def back(self, value: JsonValue) -> JsonValue:
        """A value that was sent, as it was."""
        if next(references(value), None) is None:
            return value
        found = reference(value)
        if found is not None:
            return await self._fetch(found)
        if isinstance(value, dict):
            return {name: await self.back(part) for name, part in value.items()}
        assert isinstance(value, list)
        return [await self.back(part) for part in value]

    async def _put(self, value: Shrunk) -> JsonValue:
        match value:
            case Large():
                return (await self._keep(value)).stand_in
            case dict():
                return {name: await self._put(part) for name, part in value.items()}
            case list():
                return [await self._put(part) for part in value]
            case _:
                return value

    async def _keep(self, large: Large) -> Reference:
        data = memoryview(large.data)
        if len(data) > MAX_CHUNKS * CHUNK_BYTES:
            raise Invalid(f"the value has {len(data)} bytes; no artifact has more than {MAX_CHUNKS * CHUNK_BYTES}")

        async def put(part: memoryview) -> str:
            command = PutChunk(data=base64.b64encode(part).decode(), size=len(data), call=self._call)
            return (await self._ask(command, ChunkPut, key=uuid.uuid4().hex)).name

        chunks = await self._each([data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)], put)
        command = KeepArtifact(chunks=tuple(chunks), media_type=large.media_type, call=self._call)
        return await self._ask(command, Reference, key=uuid.uuid4().hex)

    async def _fetch(self, found: Reference) -> JsonValue:
        data = bytearray(found.size)

        async def part(index: int) -> None:
            command = FetchChunk(name=found.name, index=index, call=self._call)
            chunk = base64.b64decode((await self._ask(command, Chunk, key=uuid.uuid4().hex)).data)
            begins = index * CHUNK_BYTES
            if len(chunk) != min(CHUNK_BYTES, found.size - begins):
                raise Invalid(f"chunk {index} of the artifact {found.name} has {len(chunk)} bytes")
            data[begins : begins + len(chunk)] = chunk

        await self._each(range(-(-found.size // CHUNK_BYTES)), part)
        value: JsonValue = data.decode() if found.media_type == "text/plain" else from_json(data)
        return value

    async def _each(self, items: Iterable[T], do: Callable[[T], Awaitable[U]]) -> list[U]:
        """Do something with each, some at once; the results in order.

        Raises:
            Exception: The first that came up; the others are given up.
        """
        failed: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(do, item)) for item in items]
        except* Exception as errors:
            failed = errors.exceptions[0]
        if failed is not None:
            raise failed
        return [task.result() for task in tasks]

    async def _one(self, do: Callable[[T], Awaitable[U]], item: T) -> U:
        async with self._room:
            return await do(item)
