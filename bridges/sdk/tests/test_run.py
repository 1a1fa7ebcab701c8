"""The steps of a run, each over a real broker."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from dominie import (
    ApprovalRequired,
    AsyncClient,
    AsyncRun,
    BudgetExceeded,
    Credentials,
    DeadlineExceeded,
    Forbidden,
    Held,
)
from dominie.testing import Asked, House
from dominie_contracts import Invalid, Unauthenticated, Unavailable, headers
from dominie_contracts.judge import Review, Verdict, Vote
from dominie_contracts.memory import AddTurn, Kept, ListTurns, Memories, Memory, Recall, Remember, Turn, Turns
from dominie_contracts.model import Chat, Completion, Delta
from dominie_contracts.runs import MintRunToken
from dominie_contracts.subjects import out_subject
from dominie_contracts.tool import InvokeTool, ListTools, ToolResult, Tools, ToolSpec

pytestmark = pytest.mark.anyio
ASK = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def client(credentials: Credentials, house: House) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(credentials=credentials, timeout_s=10) as found:
        yield found


@pytest.fixture
async def run(client: AsyncClient) -> AsyncIterator[AsyncRun]:
    async with client.run("dana", session="t-17", id="r1") as found:
        yield found


def completion(text: str, **message: Any) -> Completion:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    body: dict[str, Any] = {"id": "c1", "object": "chat.completion", "choices": [choice]}
    return Completion(
        completion=body, model="m", cost_usd=0.01, input_tokens=1, output_tokens=1, waited_ms=0.0, action="act"
    )


def echo(command: InvokeTool, asked: Asked) -> ToolResult:
    return ToolResult(result=command.arguments, labels={}, action=asked.key[:8])


async def test_a_command_carries_who_for_whom_and_what_was_seen(run: AsyncRun, house: House) -> None:
    house.on(InvokeTool, echo)
    first = await run.invoke("pay.out", {"cents": 5})
    await run.invoke("pay.out", {"cents": 5})
    one, two = house.commands(InvokeTool)
    assert first.result == {"cents": 5}
    assert str(one.subject) == "cmd.acme.a-desk.tool.invoke.pay%2Eout"
    assert one.headers[headers.TOKEN] == "token-of-r1"
    assert 0 < int(one.headers[headers.DEADLINE]) <= 10_000
    assert headers.AFTER not in one.headers and two.headers[headers.AFTER] == str(house.position - 1)
    assert one.headers[headers.TRACEPARENT].split("-")[1] == two.headers[headers.TRACEPARENT].split("-")[1]
    assert [(a.command.user, a.command.session) for a in house.commands(MintRunToken)] == [("u-dana", "t-17")]


async def test_equal_steps_have_their_own_keys_and_find_them_after_a_restart(client: AsyncClient, house: House) -> None:
    house.on(InvokeTool, echo)
    for _ in range(2):
        run = client.run("dana", id="r1")
        await run.invoke("pay", {"cents": 5})
        await run.invoke("pay", {"cents": 5})
        await run.invoke("pay", {"cents": 6}, tool_call_id="call_1")
    keys = [asked.key for asked in house.commands(InvokeTool)]
    assert keys[:3] == keys[3:] and len(set(keys)) == 3


async def test_a_step_without_an_outcome_keeps_its_key(run: AsyncRun, house: House) -> None:
    def asks(command: InvokeTool, asked: Asked) -> ToolResult:
        raise ApprovalRequired("finance has to say yes", action="act", digest="d", groups=["finance"])

    house.on(InvokeTool, asks)
    for _ in range(2):
        with pytest.raises(ApprovalRequired) as caught:
            await run.invoke("pay", {"cents": 9})
    assert caught.value.extra["action"] == "act"
    house.on(InvokeTool, echo)
    assert (await run.wait_approval("act", 5)).result == {"cents": 9}
    assert len({asked.key for asked in house.commands(InvokeTool)}) == 1
    with pytest.raises(Invalid):
        await run.wait_approval("other", 1)


async def test_invoke_waits_for_a_person(run: AsyncRun, house: House) -> None:
    def first_asks(command: InvokeTool, asked: Asked) -> ToolResult:
        if len(house.commands(InvokeTool)) == 1:
            raise ApprovalRequired("finance has to say yes", action="act")
        return echo(command, asked)

    house.on(InvokeTool, first_asks)
    assert (await run.invoke("pay", {"cents": 9}, wait=5)).result == {"cents": 9}
    assert len({asked.key for asked in house.commands(InvokeTool)}) == 1


async def test_an_unavailable_service_is_asked_again(run: AsyncRun, house: House) -> None:
    def busy_first(command: InvokeTool, asked: Asked) -> ToolResult:
        if len(house.commands(InvokeTool)) < 3:
            raise Unavailable("busy", retry_after_s=0.01)
        return echo(command, asked)

    house.on(InvokeTool, busy_first)
    await run.invoke("pay", {})
    assert len({asked.key for asked in house.commands(InvokeTool)}) == 1


async def test_what_stays_away_is_named(run: AsyncRun, house: House) -> None:
    with pytest.raises(DeadlineExceeded, match="same key"):
        house.on(InvokeTool, lambda command, asked: None)
        await run.invoke("pay", {}, timeout_s=0.3)
    await house.nats.drain()
    with pytest.raises(Unavailable, match="'tool'"):
        await run.invoke("pay", {}, timeout_s=0.3)


async def test_a_problem_is_raised_as_what_it_is(run: AsyncRun, house: House) -> None:
    def no(command: InvokeTool, asked: Asked) -> ToolResult:
        raise Forbidden("no refunds today", policy="p1")

    house.on(InvokeTool, no)
    with pytest.raises(Forbidden, match="no refunds today") as caught:
        await run.invoke("pay", {})
    assert caught.value.extra == {"policy": "p1"}


async def test_a_token_that_is_not_taken_is_replaced_once(run: AsyncRun, house: House) -> None:
    def stale(command: InvokeTool, asked: Asked) -> ToolResult:
        if len(house.commands(MintRunToken)) == 1:
            raise Unauthenticated("expired")
        return echo(command, asked)

    house.on(InvokeTool, stale)
    await run.invoke("pay", {})
    assert len(house.commands(MintRunToken)) == 2


async def test_what_has_spent_its_ceiling_asks_anew_what_it_may(run: AsyncRun, house: House) -> None:
    """That may be more by now; a limit that calls share is no matter of the token."""

    def spent(command: InvokeTool, asked: Asked) -> ToolResult:
        raise BudgetExceeded("all of it", run="r0") if command.tool == "dear" else BudgetExceeded("that of today")

    house.on(InvokeTool, spent)
    for tool, minted in (("often", 1), ("often", 1), ("dear", 1), ("often", 2), ("often", 2)):
        with pytest.raises(BudgetExceeded):
            await run.invoke(tool, {})
        assert len(house.commands(MintRunToken)) == minted


async def test_too_large_a_command_is_not_sent(run: AsyncRun, house: House) -> None:
    with pytest.raises(Invalid, match="bytes"):
        await run.invoke("pay", {str(number): "x" * 1000 for number in range(300)})


async def test_chat_gives_the_text_and_keys_by_the_messages(run: AsyncRun, house: House) -> None:
    house.on(Chat, lambda command, asked: completion("hi"))
    reply = await run.chat(ASK, "gpt-4.1", priority="interactive", max_cost_usd=0.05, temperature=0)
    await run.chat(ASK, "gpt-4.1", temperature=1)
    one, two = house.commands(Chat)
    assert (reply.text, reply.tool_calls, reply.cost_usd) == ("hi", [], 0.01)
    assert str(one.subject).endswith(".model.chat.gpt-4%2E1")
    assert one.command.options == {"temperature": 0} and one.key != two.key


async def test_deltas_come_as_they_are_sent_and_what_got_lost_at_the_end(run: AsyncRun, house: House) -> None:
    async def streamed(command: Chat, asked: Asked) -> Completion:
        assert command.stream and command.stream_id
        for number, text in ((0, "one "), (0, "one "), (1, "two "), (3, "lost")):
            chunk: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
            delta = Delta(stream_id=command.stream_id, number=number, chunk=chunk)
            await house.nats.publish(out_subject("acme", "a-desk", "r1"), delta.model_dump_json().encode())
        return completion("one two three")

    house.on(Chat, streamed)
    found: list[Any] = [each async for each in run.stream(ASK)]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in found[:-1]][-1] in ("three", "one two three")
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in found[:-1]) == "one two three"
    assert found[-1].text == "one two three"


async def test_a_callback_that_fails_fails_the_call(run: AsyncRun, house: House) -> None:
    house.on(Chat, lambda command, asked: completion("hi"))
    with pytest.raises(ZeroDivisionError):
        await run.chat(ASK, on_delta=lambda chunk: 1 // 0)


async def test_memory_and_session(run: AsyncRun, house: House) -> None:
    memory = Memory(id="m1", text="prefers e-mail", score=1.0, time="now")
    house.on(Remember, lambda command, asked: Kept(id="m1"))
    house.on(Recall, lambda command, asked: Memories(memories=(memory,)))
    house.on(AddTurn, lambda command, asked: Kept(id="t1"))
    house.on(ListTurns, lambda command, asked: Turns(turns=(Turn(role="user", text="hi", time="now"),)))
    assert await run.remember("prefers e-mail") == "m1"
    assert await run.recall("how to reach dana?") == (memory,)
    await run.say("hi")
    assert [turn.text for turn in await run.turns()] == ["hi"]
    assert str(house.commands(Recall)[0].subject).endswith(".memory.recall.user")
    assert str(house.commands(AddTurn)[0].subject).endswith(".memory.add_turn")


async def test_tools_are_those_that_may_be_called(run: AsyncRun, house: House) -> None:
    spec = ToolSpec(name="pay", input_schema={"type": "object"})
    house.on(ListTools, lambda command, asked: Tools(tools=(spec,)))
    assert await run.tools() == (spec,)


async def test_a_released_reply_becomes_a_turn(run: AsyncRun, house: House) -> None:
    house.on(Review, lambda command, asked: Verdict(verdict="released", votes=(), action="act"))
    house.on(AddTurn, lambda command, asked: Kept(id="t1"))
    assert await run.reply("Done.") == "Done."
    assert [(a.command.role, a.command.text) for a in house.commands(AddTurn)] == [("assistant", "Done.")]


async def test_a_held_reply_is_raised(run: AsyncRun, house: House) -> None:
    vote = Vote(judge="rules", vote="reject", why="it promises $900")
    house.on(Review, lambda command, asked: Verdict(verdict="held", votes=(vote,), action="act"))
    with pytest.raises(Held, match="promises") as caught:
        await run.reply("You get $900.")
    assert caught.value.extra["action"] == "act" and not house.commands(AddTurn)


async def test_a_run_needs_somebody_to_act_for(credentials: Credentials) -> None:
    client = AsyncClient(credentials=replace(credentials, user=None))
    with pytest.raises(Invalid, match="behalf"):
        client.run()


async def test_many_at_once(run: AsyncRun, house: House) -> None:
    house.on(InvokeTool, echo)
    results = await asyncio.gather(*(run.invoke("pay", {"n": n}) for n in range(200)))
    assert [found.result for found in results] == [{"n": n} for n in range(200)]
    assert len(house.commands(MintRunToken)) == 1
