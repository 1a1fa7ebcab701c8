"""A small stand-in for KurrentDB's server: the part of its gRPC protocol that our side uses, over a log in memory.

It was written from the protocol's definitions and the client's documentation. What passes on it shows that our side
says and understands what it means to; how a real KurrentDB behaves, only a real one shows.

    python eventstore/tests/kurrentdb_double.py [PORT]      (prints the port)
"""

import asyncio
import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import uuid4

import grpc
from google.protobuf import any_pb2
from kurrentdbclient.protos.v1 import gossip_pb2, shared_pb2, status_pb2, streams_pb2

STREAMS = "event_store.client.streams.Streams"
GOSSIP = "event_store.client.gossip.Gossip"
LEADER, FOLLOWER, READER = (
    gossip_pb2.MemberInfo.Leader,
    gossip_pb2.MemberInfo.Follower,
    gossip_pb2.MemberInfo.ReadOnlyReplica,
)
NO_PINGS_TOO_MANY = (("grpc.http2.min_ping_interval_without_data_ms", 1000), ("grpc.so_reuseport", 0))
_Options = streams_pb2.ReadReq.Options
_Matches = Callable[["Event"], bool]


@dataclass(frozen=True)
class Event:
    """One stored event; as on the real server its place in the log is a number of bytes, and leaves gaps."""

    position: int
    stream: str
    revision: int
    id: str
    type: str
    data: bytes

    def answer(self) -> streams_pb2.ReadResp:
        read = streams_pb2.ReadResp.ReadEvent
        event = read.RecordedEvent(
            id=shared_pb2.UUID(string=self.id),
            stream_identifier=shared_pb2.StreamIdentifier(stream_name=self.stream.encode()),
            stream_revision=self.revision,
            prepare_position=self.position,
            commit_position=self.position,
            metadata={"type": self.type, "content-type": "application/json", "created": "17000000000000000"},
            data=self.data,
        )
        return streams_pb2.ReadResp(event=read(event=event, commit_position=self.position))


@dataclass
class Log:
    """What the server keeps, and the accidents that a test plans for it."""

    events: list[Event] = field(default_factory=list)
    streams: dict[str, list[Event]] = field(default_factory=dict)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    lose_answers: int = 0
    """So many appends are stored and not answered."""
    cut_after: int | None = None
    """One read breaks off after so many events."""
    end_after: int | None = None
    """One read ends after so many events, as if that were all."""
    nodes: tuple[gossip_pb2.MemberInfo.VNodeState.ValueType, ...] = (LEADER,)
    """What the cluster's nodes say they are."""
    lenient: bool = False
    """A read from a position that no event has begins with the next one; a subscription is refused still."""
    repeats: bool = False
    """A subscription begins with the event at its position, not after it."""
    deny: bool = False
    """Nobody may do anything."""
    reading: int = 0
    """So many answers are on their way."""
    followed_from: list[int] = field(default_factory=list)
    """Where subscriptions began."""

    def __post_init__(self) -> None:
        self.store("$settings", [("$metadata", str(uuid4()), b"{}")])

    def store(self, stream: str, proposed: Sequence[tuple[str, str, bytes]]) -> Event:
        for type, id, data in proposed:
            before = self.events[-1] if self.events else None
            position = before.position + len(before.data) + 137 if before else 0
            mine = self.streams.setdefault(stream, [])
            mine.append(Event(position, stream, len(mine), id, type, data))
            self.events.append(mine[-1])
        return self.events[-1]

    def again(self, mine: Sequence[Event], after: int, ids: Sequence[str]) -> Event | None:
        """The last event of an append that is stored already: its ids, where it was to go."""
        found = list(islice(mine, after, after + len(ids)))
        return found[-1] if [event.id for event in found] == list(ids) else None


class Server:
    """The server; it can be stopped and started again on its port, with its log."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.log = Log()
        self._server: grpc.aio.Server | None = None

    @property
    def url(self) -> str:
        return f"kurrentdb://127.0.0.1:{self.port}?tls=false"

    async def start(self) -> None:
        self._server = grpc.aio.server(options=NO_PINGS_TOO_MANY)
        self._server.add_generic_rpc_handlers(self._handlers())
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """End at once: whatever is on its way is lost."""
        if self._server is not None:
            await self._server.stop(None)

    async def serve(self) -> None:
        assert self._server is not None
        await self._server.wait_for_termination()

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        gossip = grpc.unary_unary_rpc_method_handler(
            self._gossip, shared_pb2.Empty.FromString, gossip_pb2.ClusterInfo.SerializeToString
        )
        read = grpc.unary_stream_rpc_method_handler(
            self._read, streams_pb2.ReadReq.FromString, streams_pb2.ReadResp.SerializeToString
        )
        append = grpc.stream_stream_rpc_method_handler(
            self._append, streams_pb2.BatchAppendReq.FromString, streams_pb2.BatchAppendResp.SerializeToString
        )
        return (
            grpc.method_handlers_generic_handler(STREAMS, {"Read": read, "BatchAppend": append}),
            grpc.method_handlers_generic_handler(GOSSIP, {"Read": gossip}),
        )

    async def _gossip(self, request: shared_pb2.Empty, context: grpc.aio.ServicerContext) -> gossip_pb2.ClusterInfo:
        return gossip_pb2.ClusterInfo(members=[gossip_pb2.MemberInfo(state=state) for state in self.log.nodes])

    async def _append(
        self, requests: AsyncIterator[streams_pb2.BatchAppendReq], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[streams_pb2.BatchAppendResp]:
        async for request in requests:
            await self._let_in(context)
            assert request.is_final, "an append is one request"
            answer = self._stored(request)
            async with self.log.grown:
                self.log.grown.notify_all()
            if self.log.lose_answers > 0:
                self.log.lose_answers -= 1
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
            yield answer

    def _stored(self, request: streams_pb2.BatchAppendReq) -> streams_pb2.BatchAppendResp:
        options = request.options
        stream = options.stream_identifier.stream_name.decode()
        mine = self.log.streams.get(stream, [])
        expected = options.WhichOneof("expected_stream_position")
        assert expected in ("stream_position", "no_stream"), "our side always says what it expects"
        after = options.stream_position + 1 if expected == "stream_position" else 0
        last = self.log.again(mine, after, [message.id.string for message in request.proposed_messages])
        if last is None and after != len(mine):
            return _wrong(request, len(mine))
        if last is None:
            proposed = [(m.metadata["type"], m.id.string, m.data) for m in request.proposed_messages]
            last = self.log.store(stream, proposed)
        position = shared_pb2.AllStreamPosition(commit_position=last.position, prepare_position=last.position)
        success = streams_pb2.BatchAppendResp.Success(current_revision=last.revision, position=position)
        return streams_pb2.BatchAppendResp(correlation_id=request.correlation_id, success=success)

    async def _let_in(self, context: grpc.aio.ServicerContext) -> None:
        if self.log.deny:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Access Denied")

    async def _read(
        self, request: streams_pb2.ReadReq, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[streams_pb2.ReadResp]:
        await self._let_in(context)
        self.log.reading += 1
        try:
            async for answer in self._answers(request.options, context):
                yield answer
        finally:
            self.log.reading -= 1

    async def _answers(
        self, options: _Options, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[streams_pb2.ReadResp]:
        if options.WhichOneof("count_option") == "subscription":
            async for answer in self._subscribe(options, context):
                yield answer
            return
        found = self._of_stream(options) if options.HasField("stream") else await self._of_all(options, context)
        if found is None:
            yield streams_pb2.ReadResp(stream_not_found=streams_pb2.ReadResp.StreamNotFound())
            return
        for number, event in enumerate(islice(found, options.count)):
            if number == self.log.cut_after:
                self.log.cut_after = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            if number == self.log.end_after:
                self.log.end_after = None
                return
            yield event.answer()

    def _of_stream(self, options: _Options) -> Iterator[Event] | None:
        mine = self.log.streams.get(options.stream.stream_identifier.stream_name.decode())
        if mine is None:
            return None
        if options.read_direction == _Options.Backwards:
            return iter(list(reversed(mine)))
        return iter(mine[options.stream.revision :])

    async def _of_all(self, options: _Options, context: grpc.aio.ServicerContext) -> Iterator[Event]:
        matches = _filter(options)
        if options.read_direction == _Options.Backwards:
            events = list(reversed(self.log.events))
        else:
            events = self.log.events[await self._index(options, context) :]
        return iter([event for event in events if matches(event)])

    async def _index(self, options: _Options, context: grpc.aio.ServicerContext, *, beyond: bool = False) -> int:
        if options.all.WhichOneof("all_option") == "start":
            return 0
        position = options.all.position.commit_position
        positions = [event.position for event in self.log.events]
        if position not in positions and (beyond or not self.log.lenient):
            await context.abort(grpc.StatusCode.UNKNOWN, "Unexpected FilteredReadAllResult: InvalidPosition")
        return (
            bisect_right(positions, position) if beyond and not self.log.repeats else bisect_left(positions, position)
        )

    async def _subscribe(
        self, options: _Options, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[streams_pb2.ReadResp]:
        matches = _filter(options)
        interval = options.filter.max * options.filter.checkpointIntervalMultiplier
        index = await self._index(options, context, beyond=True)
        self.log.followed_from.append(options.all.position.commit_position)
        yield streams_pb2.ReadResp(
            confirmation=streams_pb2.ReadResp.SubscriptionConfirmation(subscription_id=str(uuid4()))
        )
        while True:
            while index < len(self.log.events):
                event = self.log.events[index]
                index += 1
                if matches(event):
                    yield event.answer()
                if index % interval == 0:
                    yield _checkpoint(event)
            async with self.log.grown:
                if index == len(self.log.events):
                    await self.log.grown.wait()


def _filter(options: _Options) -> _Matches:
    if options.WhichOneof("filter_option") == "no_filter":
        return lambda event: True
    assert options.filter.WhichOneof("filter") == "stream_identifier", "our side filters by the names of streams"
    prefixes = tuple(options.filter.stream_identifier.prefix)
    assert prefixes and all(re.fullmatch(r"[a-z0-9_]+\.([a-z0-9_]+-)?", prefix) for prefix in prefixes)
    return lambda event: event.stream.startswith(prefixes)


def _checkpoint(event: Event) -> streams_pb2.ReadResp:
    at = streams_pb2.ReadResp.Checkpoint(commit_position=event.position, prepare_position=event.position)
    return streams_pb2.ReadResp(checkpoint=at)


def _wrong(request: streams_pb2.BatchAppendReq, count: int) -> streams_pb2.BatchAppendResp:
    wrong = shared_pb2.WrongExpectedVersion()
    if count:
        wrong.current_stream_revision = count - 1
    else:
        wrong.current_no_stream.SetInParent()
    details = any_pb2.Any()
    details.Pack(wrong)
    error = status_pb2.Status(message="WrongExpectedVersion", details=details)
    return streams_pb2.BatchAppendResp(correlation_id=request.correlation_id, error=error)


async def _main(port: int) -> None:
    server = Server(port)
    await server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    await server.serve()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
