"""Calls to tool workers and what comes back, with a connection that writes down what is published."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.errors import OutboundBufferLimitError

from dominie_contracts import ToolFailed
from dominie_contracts.heard import AtOnce
from dominie_contracts.tool import ToolSpec, WorkerAnswer, WorkerCall
from dominie_kit import Context, Lost, NotDone
from dominie_kit.context import deadline_in
from dominie_tool.adapters.workers import Workers

pytestmark = pytest.mark.anyio
RIGHT = WorkerAnswer(result=17).model_dump_json().encode()
Answers = Callable[[WorkerCall], list[tuple[str, bytes, dict[str, str]]]]


@dataclass
class Wire:
    """The broker and the workers behind it: `answers` says what comes for a call, and on which subjects."""

    answers: Answers
    heard: AtOnce[Msg] | None = None
    published: list[tuple[str, WorkerCall, str]] = field(default_factory=list)
    is_closed: bool = False

    async def subscribe(self, subject: str, *, future: AtOnce[Msg]) -> "Wire":
        assert subject == "ret.*.*.tool-1.*"
        self.heard = future
        return self

    async def unsubscribe(self) -> None:
        self.heard = None

    async def publish(self, subject: str, body: bytes, reply: str) -> None:
        call = WorkerCall.model_validate_json(body)
        assert call.model_dump_json().encode() == body
        self.published.append((subject, call, reply))
        for where, answer, found in self.answers(call):
            assert self.heard is not None
            client: Any = self
            self.heard.set_result(Msg(client, where, "", answer, found))


@dataclass
class Side:
    """A way to the workers, and what stands behind it."""

    wire: Wire
    workers: Workers

    async def call(self, timeout_s: float = 5.0) -> object:
        spec = ToolSpec(name="pay.now", version="2", input_schema={}, timeout_s=timeout_s)
        context = Context(tenant="acme", principal="a-desk", key="k", deadline=deadline_in(5))
        return await self.workers.call(spec, {"cents": 1}, "k-1", context)


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    wire = Wire(lambda call: [(call.reply_to, RIGHT, {})])
    client: Any = wire
    workers = Workers(client, "tool-1")
    async with workers.listening():
        yield Side(wire, workers)
    assert wire.heard is None


async def test_a_worker_is_sent_the_call_and_its_answer_comes_back(side: Side) -> None:
    assert (await side.call(), await side.call()) == (17, 17)
    (subject, call, reply), (_, _, other) = side.wire.published
    assert (subject, reply, other) == ("call.acme.pay%2Enow", *(f"ret.acme.pay%2Enow.tool-1.{n}" for n in "01"))
    assert (call.tool, call.version, call.arguments, call.key) == ("pay.now", "2", {"cents": 1}, "k-1")
    assert (call.agent, call.user, call.run, call.deadline_ms, call.reply_to) == ("a-desk", "", "", 5000, reply)


async def test_no_worker_is_there(side: Side) -> None:
    side.wire.answers = lambda call: [(call.reply_to, b"", {"Status": "503"})]
    with pytest.raises(NotDone, match="start one"):
        await side.call()


async def test_the_bus_is_away(side: Side) -> None:
    def away(call: WorkerCall) -> list[tuple[str, bytes, dict[str, str]]]:
        raise OutboundBufferLimitError

    side.wire.answers = away
    with pytest.raises(NotDone, match="away"):
        await side.call()


async def test_a_worker_that_does_not_answer_in_the_tools_time_is_lost(side: Side) -> None:
    side.wire.answers = lambda call: []
    with pytest.raises(Lost, match=r"did not answer in 0\.02 s"):
        await side.call(0.02)


async def test_nobody_answers_for_another_tenant_tool_or_call(side: Side) -> None:
    tails = ("other.pay%2Enow.tool-1.0", "acme.pay.tool-1.0", "acme.pay%2Enow.tool-1.1")
    side.wire.answers = lambda call: [(f"ret.{tail}", RIGHT, {}) for tail in tails]
    with pytest.raises(Lost):
        await side.call(0.02)


async def test_the_first_answer_stands(side: Side) -> None:
    second = WorkerAnswer(result=18).model_dump_json().encode()
    side.wire.answers = lambda call: [(call.reply_to, RIGHT, {}), (call.reply_to, second, {})]
    assert await side.call() == 17


@pytest.mark.parametrize("body", [b"", b"17", b'{"result": 1, "more": 2}', b'{"error": "no such account"}'])
async def test_an_answer_that_is_none_or_an_error_is_the_tools_failure(side: Side, body: bytes) -> None:
    side.wire.answers = lambda call: [(call.reply_to, body, {})]
    with pytest.raises(ToolFailed, match=r"pay\.now"):
        await side.call()
