"""Tool workers on a real broker."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from nats.aio.msg import Msg

from dominie import Credentials, Invalid, ToolContext, tool
from dominie._link import Link
from dominie._worker import Worker
from dominie.testing import Asked, Broker, Callout, House, lasting
from dominie_contracts.artifact import CHUNK_BYTES, CallPass, Chunk, Reference
from dominie_contracts.subjects import return_subject
from dominie_contracts.tool import (
    ChunkPut,
    FetchChunk,
    KeepArtifact,
    PutChunk,
    RegisteredTool,
    RegisterTool,
    WorkerAnswer,
)

pytestmark = pytest.mark.anyio


@tool(effect="external", idempotent=True)
def refund(order: str, cents: int, context: ToolContext) -> dict[str, Any]:
    """Pay money back."""
    return {"order": order, "cents": cents, "for": context.user, "key": context.key}


@tool
async def greet(name: str) -> str:
    return f"hello {name}"


@tool
def broken(n: int) -> str:
    raise ValueError(f"no {n}")


@asynccontextmanager
async def working(credentials: Credentials, *tools: Any) -> AsyncIterator[None]:
    link, stop, ready = Link(replace(credentials, principal="w-desk")), asyncio.Event(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(Worker(link, tools).run(stop, ready.set))
            with anyio.fail_after(30):
                await ready.wait()
            yield
            stop.set()
    finally:
        await link.close()


@pytest.fixture
def registry(house: House) -> House:
    house.on(RegisterTool, lambda c, asked: RegisteredTool(name=c.spec.name, version=c.spec.version, changed=True))
    return house


class ToolService:
    """The other side of `call.`."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.answers: asyncio.Queue[tuple[str, WorkerAnswer]] = asyncio.Queue()
        self.listening: Any = None

    async def listen(self, wanted: bool) -> None:
        """Whether it hears answers."""
        if wanted:
            self.listening = await self.client.subscribe("ret.>", cb=self.heard)
        else:
            await self.listening.unsubscribe()
        await self.client.flush()

    async def heard(self, message: Msg) -> None:
        self.answers.put_nowait((message.subject, WorkerAnswer.model_validate_json(message.data)))

    async def send(self, name: str, arguments: dict[str, Any], **changed: Any) -> None:
        call = {
            "tool": name,
            "version": "1",
            "arguments": arguments,
            "key": "k1",
            "user": "u-dana",
            "agent": "a-desk",
            "run": "r1",
            "deadline_ms": 5000,
            "reply_to": return_subject("acme", name, "i1", "1"),
            **changed,
        }
        await self.client.publish(f"call.acme.{name}", json.dumps(call).encode())

    async def call(self, name: str, arguments: dict[str, Any], **changed: Any) -> WorkerAnswer:
        await self.send(name, arguments, **changed)
        with anyio.fail_after(30):
            return (await self.answers.get())[1]


@pytest.fixture
async def service(broker: Broker) -> AsyncIterator[ToolService]:
    client = await lasting(broker.url)
    found = ToolService(client)
    await found.listen(True)
    yield found
    await client.close()


async def test_it_registers_and_answers(credentials: Credentials, registry: House, service: ToolService) -> None:
    async with working(credentials, refund, greet, broken):
        paid = await service.call("refund", {"order": "A1", "cents": 5})
        greeted = await service.call("greet", {"name": "dana"}, key="k2")
        failed = await service.call("broken", {"n": 1}, key="k3")
    assert [asked.command.spec.name for asked in registry.commands(RegisterTool)] == ["refund", "greet", "broken"]
    assert registry.commands(RegisterTool)[0].subject.principal == "w-desk"
    assert paid.result == {"order": "A1", "cents": 5, "for": "u-dana", "key": "k1"}
    assert (greeted.result, greeted.error) == ("hello dana", None)
    assert (failed.result, failed.error) == (None, "ValueError: no 1")


async def test_arguments_that_do_not_fit_are_an_error(
    credentials: Credentials, registry: House, service: ToolService
) -> None:
    async with working(credentials, greet):
        answer = await service.call("greet", {"nom": "dana"})
    assert answer.error is not None and answer.error.startswith("Invalid: ")


async def test_a_repeated_call_joins_the_first(credentials: Credentials, registry: House, service: ToolService) -> None:
    ran, go = [], threading.Event()

    @tool
    def slow(n: int) -> int:
        ran.append(n)
        go.wait(20)
        return n

    async with working(credentials, slow):
        await service.send("slow", {"n": 1})
        await service.send("slow", {"n": 1}, reply_to=return_subject("acme", "slow", "i2", "9"))
        go.set()
        with anyio.fail_after(30):
            found = {subject: answer.result for subject, answer in [await service.answers.get() for _ in range(2)]}
        assert (await service.call("slow", {"n": 1})).result == 1
    assert found == {"ret.acme.slow.i1.1": 1, "ret.acme.slow.i2.9": 1} and ran == [1]


async def test_it_answers_only_to_its_own_return_subject(
    credentials: Credentials, registry: House, service: ToolService
) -> None:
    stolen: list[Msg] = []

    async def heard(message: Msg) -> None:
        stolen.append(message)

    await service.client.subscribe("evt.>", cb=heard)
    async with working(credentials, greet):
        await service.send("greet", {"name": "eve"}, reply_to="evt.0.acme.tool.x", key="evil")
        await service.send("greet", {"name": "eve"}, reply_to="ret.acme.other.i1.1", key="evil")
        await service.call("greet", {"name": "dana"})
    assert not stolen and service.answers.empty()


async def test_a_call_that_a_restart_interrupts_is_answered_after_it(
    credentials: Credentials, registry: House, service: ToolService, broker: Broker
) -> None:
    begun, go = threading.Event(), threading.Event()

    @tool
    def slow(n: int) -> int:
        begun.set()
        go.wait(10)
        return n

    async with working(credentials, slow):
        await service.send("slow", {"n": 1})
        assert await anyio.to_thread.run_sync(begun.wait, 10)
        broker.kill()
        broker.start()
        go.set()
        with anyio.fail_after(30):
            assert (await service.answers.get())[1].result == 1
        assert (await service.call("slow", {"n": 2}, key="k2")).result == 2


async def test_answers_that_nobody_hears_are_given_again(
    credentials: Credentials, registry: House, service: ToolService
) -> None:
    async with working(credentials, greet):
        await service.listen(False)
        for number in range(3):
            await service.send("greet", {"name": str(number)}, key=str(number))
        missed = await service.client.subscribe("ret.acme.greet.i1.late")
        await service.send("greet", {"name": "dana"}, key="k4", reply_to="ret.acme.greet.i1.late")
        await missed.next_msg(timeout=30)
        await service.listen(True)
        with anyio.fail_after(30):
            found = {(await service.answers.get())[1].result for _ in range(3)}
    assert found == {"hello 0", "hello 1", "hello 2"}


async def test_a_call_that_takes_too_long_is_an_error(
    credentials: Credentials, registry: House, service: ToolService
) -> None:
    @tool
    async def never() -> None:
        await asyncio.Event().wait()

    async with working(credentials, never):
        answer = await service.call("never", {}, deadline_ms=50)
    assert answer.error == "TimeoutError: never took longer than 0.05 s"


async def test_what_is_large_is_fetched_and_put_for_the_call_that_it_belongs_to(
    credentials: Credentials, registry: House, service: ToolService
) -> None:
    @tool
    async def louder(text: str) -> str:
        return text.upper()

    given = Reference(name="a" * 32, size=200_000, media_type="text/plain")
    kept = given.model_copy(update={"name": "b" * 32})

    def fetch(command: FetchChunk, asked: Asked) -> Chunk:
        part = b"x" * min(CHUNK_BYTES, 200_000 - command.index * CHUNK_BYTES)
        return Chunk(data=base64.b64encode(part).decode(), chunks=2, reference=given)

    registry.on(FetchChunk, fetch)
    registry.on(PutChunk, lambda command, asked: ChunkPut(name=str(len(command.data))))
    registry.on(KeepArtifact, lambda command, asked: kept)
    async with working(credentials, louder):
        answer = await service.call("louder", {"text": given.stand_in}, proof="id.proof")
    assert (answer.result, answer.error) == (kept.stand_in, None)
    shown = CallPass(tool="louder", action="k1", agent="a-desk", names=("a" * 32,), run="r1", proof="id.proof")
    moved = [*registry.commands(FetchChunk), *registry.commands(PutChunk), *registry.commands(KeepArtifact)]
    assert [asked.command.call for asked in moved] == [shown] * 5
    put = "".join(base64.b64decode(asked.command.data).decode() for asked in registry.commands(PutChunk))
    assert put == "X" * 200_000


async def test_what_runs_is_finished_before_it_stops(
    credentials: Credentials, registry: House, service: ToolService
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @tool
    async def slow() -> str:
        begun.set()
        await go.wait()
        return "done"

    async with working(credentials, slow):
        await service.send("slow", {})
        await begun.wait()
        asyncio.get_running_loop().call_later(0.05, go.set)
    with anyio.fail_after(30):
        assert (await service.answers.get())[1].result == "done"


def test_two_tools_of_one_name_are_refused(credentials: Credentials) -> None:
    with pytest.raises(Invalid):
        Worker(Link(credentials), [greet, greet])


async def test_a_worker_loses_no_call_while_its_rights_are_renewed(
    callout: Callout, answered: House, guarded: Credentials
) -> None:
    answered.on(RegisterTool, lambda c, asked: RegisteredTool(name=c.spec.name, version="1", changed=True))
    callout.known["w-desk"] = guarded.keys.public
    callout.publish.append("ret.acme.greet.>")
    callout.subscribe.append("call.acme.greet")
    service = ToolService(answered.nats)
    await service.listen(True)
    with anyio.fail_after(30):
        async with working(replace(guarded, rights_s=0.2), greet):
            number, before = 0, callout.connects
            while callout.connects < before + 15:
                await service.send("greet", {"name": str(number)}, key=str(number))
                number += 1
                if number % 10 == 0:
                    await answered.nats.flush()
            missing = {f"hello {n}" for n in range(number)}
            while missing:
                missing.discard(str((await service.answers.get())[1].result))
