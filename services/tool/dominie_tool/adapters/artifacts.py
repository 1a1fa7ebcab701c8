"""Values that are too large for a command, in chunks: from agents in a run, and from workers in a call."""

import base64
import binascii
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext

import anyio
from pydantic import JsonValue

from dominie_contracts import DeadlineExceeded, Forbidden, Invalid, Unauthenticated, Unavailable
from dominie_contracts.artifact import CHUNK_BYTES, CallPass, Chunk, Reference, holder, names, references
from dominie_contracts.digests import digest_bytes
from dominie_contracts.shrinking import Large, Shrunk, shrink
from dominie_contracts.tool import ChunkPut, FetchChunk, KeepArtifact, PutChunk
from dominie_kit import Context
from dominie_kit.artifacts import Artifacts, Holding
from dominie_kit.personal.sealing import PersonKey

_AT_ONCE = 2
"""Calls whose values are put together, or whole in memory while their schema is looked at."""
Arguments = dict[str, JsonValue]
KeyById = Callable[[str, str], Awaitable[PersonKey | None]]
Serves = Callable[[str, str, str], bool]


class Parties:
    """Answers `put`, `keep` and `fetch`: an agent's run, or the call that a worker was given, is who may.

    Args:
        artifacts: Where they are.
        key: A person's key by tenant and id.
        serves: Whether a worker of a tenant may serve a tool.
    """

    def __init__(self, artifacts: Artifacts, key: KeyById, serves: Serves) -> None:
        self._artifacts = artifacts
        self._key = key
        self._serves = serves

    async def put(self, command: PutChunk, context: Context) -> ChunkPut:
        """Put a chunk."""
        try:
            data = base64.b64decode(command.data, validate=True)
        except binascii.Error as error:
            raise Invalid("a chunk's data are base64") from error
        self._artifacts.check_size(command.size)
        return ChunkPut(name=await self._artifacts.put(await self._holding(command.call, context), data))

    async def keep(self, command: KeepArtifact, context: Context) -> Reference:
        """Make an artifact of chunks."""
        holding = await self._holding(command.call, context)
        with _in_time(context):
            return await self._artifacts.keep(holding, command.chunks, command.media_type)

    async def fetch(self, command: FetchChunk, context: Context) -> Chunk:
        """A chunk of an artifact; a worker gets its arguments alone."""
        holding = await self._holding(command.call, context)
        if command.call is not None and command.name not in command.call.names:
            raise Forbidden("this artifact is no argument of the call", artifact=command.name)
        found = await self._artifacts.find(holding, command.name)
        chunks = len(found.manifest.chunks)
        data = await self._artifacts.chunk(found, command.index) if chunks or command.index else b""
        return Chunk(data=base64.b64encode(data).decode(), chunks=chunks, reference=found.reference)

    async def _holding(self, call: CallPass | None, context: Context) -> Holding:
        if context.claims is not None:
            return of_run(context)
        if call is None:
            raise Unauthenticated("artifacts need a run token, or the pass of a call that a worker was given")
        tenant, worker = context.tenant, context.principal
        may = self._serves(tenant, worker, call.tool)
        person = await self._key(tenant, call.proof.partition(".")[0]) if may else None
        if person is None or not hmac.compare_digest(call.proof.encode(), _proven(person, call).encode()):
            raise Forbidden(f"{worker} was not given this call of {call.tool!r}", reason="not-yours")
        return Holding(person, holder(tenant, call.agent, call.run))


def of_run(context: Context) -> Holding:
    """The artifacts of a command's run.

    Raises:
        Unavailable: The key of its user is not at hand.
    """
    if context.person is None or context.run is None:
        raise Unavailable("the key of the user is not at hand", retry_after_s=0.5)
    return Holding(context.person, holder(context.tenant, context.principal, context.run))


def proof(context: Context, tool: str, action: str, arguments: JsonValue) -> str:
    """The proof of a call that a worker is given; empty where it is for nobody."""
    if context.person is None:
        return ""
    return _proof(context.person, tool, action, context.principal, names(arguments), context.run or "")


def _proven(person: PersonKey, call: CallPass) -> str:
    return _proof(person, call.tool, call.action, call.agent, call.names, call.run)


def _proof(person: PersonKey, tool: str, action: str, agent: str, given: tuple[str, ...], run: str) -> str:
    """The run comes last, since nobody else says what it may hold."""
    parts = ("call", *person.owner, tool, action, agent, ",".join(given), run)
    return f"{person.id}.{digest_bytes(chr(0).join(parts).encode(), key=person.names)}"


@contextmanager
def _in_time(context: Context) -> Iterator[None]:
    """Give up at the command's deadline: nobody waits for the answer any more."""
    try:
        with anyio.fail_after(context.left_s):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded("the time for this command ran out; ask again with the same key") from error


class Values:
    """What the service itself does with the artifacts in arguments and results."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._room = anyio.Semaphore(_AT_ONCE)

    def whole(self, arguments: Arguments, context: Context) -> AbstractAsyncContextManager[Arguments]:
        """The arguments with their artifacts in place, once it is sure that this run holds them and they stay.

        Few calls at once have theirs in memory, and none more than an artifact may have.

        Raises:
            Forbidden, Invalid, Conflict, Unavailable, DeadlineExceeded
        """
        return self._filled(arguments, context) if names(arguments) else nullcontext(arguments)

    @asynccontextmanager
    async def _filled(self, arguments: Arguments, context: Context) -> AsyncIterator[Arguments]:
        wanted = list(references(arguments))
        self._artifacts.check_size(sum(each.size for each in wanted))
        async with AsyncExitStack() as room:
            with _in_time(context):
                await self._artifacts.accept(of_run(context), wanted)
                await room.enter_async_context(self._room)
                whole = await self._artifacts.load(of_run(context), arguments)
            yield whole

    async def load(self, arguments: Arguments, context: Context) -> Arguments:
        """The arguments of a call that is run, with their artifacts in place; `whole` has seen to them before.

        Raises:
            Forbidden, Invalid, Conflict, Unavailable, DeadlineExceeded
        """
        if not names(arguments):
            return arguments
        with _in_time(context):
            async with self._room:
                return await self._artifacts.load(of_run(context), arguments)

    async def shorten(self, result: JsonValue, context: Context) -> JsonValue:
        """A result as it is recorded: what is too large for that becomes artifacts of this run.

        Raises:
            Invalid: A part is larger than an artifact may be.
            Unavailable: It may be there, or not.
        """
        return await self._kept(shrink(result), context)

    async def _kept(self, part: Shrunk, context: Context) -> JsonValue:
        match part:
            case Large(data, media_type):
                self._artifacts.check_size(len(data))
                starts = range(0, len(data), CHUNK_BYTES)
                chunks = [await self._artifacts.put(of_run(context), data[at : at + CHUNK_BYTES]) for at in starts]
                return (await self._artifacts.keep(of_run(context), chunks, media_type)).stand_in
            case dict():
                return {name: await self._kept(each, context) for name, each in part.items()}
            case list():
                return [await self._kept(each, context) for each in part]
            case _:
                return part

    async def accept(self, result: JsonValue, context: Context) -> None:
        """See that a result's artifacts were put for this run, and stay.

        Raises:
            Forbidden, Invalid, Conflict, Unavailable
        """
        wanted = list(references(result))
        if wanted:
            await self._artifacts.accept(of_run(context), wanted)

    async def adopt(self, result: JsonValue, context: Context) -> None:
        """Let a forked run hold what was served to it from its parent's record.

        Raises:
            Forbidden: The parent holds it no longer.
        """
        wanted = list(references(result))
        if wanted and context.fork is not None:
            own = of_run(context)
            parent = Holding(own.person, holder(context.tenant, context.principal, context.fork.run))
            await self._artifacts.adopt(own, parent, wanted)
