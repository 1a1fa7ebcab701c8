"""The link: rights that end, a broker that dies, an identity that is away, refusals."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest
from nats.aio.msg import Msg

from dominie import AsyncClient, AsyncRun, Credentials, Forbidden, Unauthenticated
from dominie._connection import Subscription
from dominie._link import Link
from dominie.keys import KeyPair
from dominie.testing import Asked, Callout, House, keeping_house
from dominie_contracts.tool import InvokeTool, ToolResult

pytestmark = pytest.mark.anyio
RENEWALS = 20


async def echo(command: InvokeTool, asked: Asked) -> ToolResult:
    await asyncio.sleep(float(command.arguments.get("takes_s") or 0))  # type: ignore[arg-type]  # a number
    return ToolResult(result=command.arguments, labels={}, action="act")


@asynccontextmanager
async def running(credentials: Credentials, timeout_s: float = 20) -> AsyncIterator[AsyncRun]:
    async with AsyncClient(credentials=credentials, timeout_s=timeout_s) as client, client.run("dana") as run:
        yield run


async def test_it_lives_through_renewals_without_a_failed_call(
    guarded: Credentials, callout: Callout, answered: House
) -> None:
    answered.on(InvokeTool, echo)
    worst_s = 0.0
    with anyio.fail_after(30):
        async with running(guarded) as run, asyncio.TaskGroup() as group:
            long = group.create_task(run.invoke("slow", {"takes_s": 2.5}))
            number = 0
            while callout.connects < RENEWALS:
                began_s = time.monotonic()
                assert (await run.invoke("pay", {"n": number})).result == {"n": number}
                worst_s, number = max(worst_s, time.monotonic() - began_s), number + 1
        assert long.result().result == {"takes_s": 2.5}
    keys = [asked.key for asked in answered.commands(InvokeTool) if asked.command.tool == "pay"]
    assert worst_s < 4 and len(keys) == len(set(keys)), "a renewal loses no reply, so nothing is sent again"


async def test_rights_that_end_too_soon_teach_it(guarded: Credentials, callout: Callout, answered: House) -> None:
    answered.on(InvokeTool, echo)
    with anyio.fail_after(20):
        async with running(replace(guarded, rights_s=300)) as run:
            while callout.connects < 3:
                await run.invoke("pay", {"takes_s": 0.05})


async def test_it_survives_the_broker(callout: Callout, guarded: Credentials) -> None:
    with anyio.fail_after(20):
        async with callout.answering(), keeping_house(callout.broker.url, callout.service.seed) as house:
            house.on(InvokeTool, echo)
            async with running(guarded) as run, asyncio.TaskGroup() as group:
                long = group.create_task(run.invoke("slow", {"takes_s": 0.5}))
                await house.until(InvokeTool)
                callout.broker.kill()
                callout.broker.start()
                assert (await run.invoke("pay", {"n": 1})).result == {"n": 1}
            assert long.result().result == {"takes_s": 0.5}


async def test_live_ones_go_on_while_identity_is_away_and_new_ones_wait(
    guarded: Credentials, callout: Callout, keys: KeyPair
) -> None:
    long_lived = replace(guarded, rights_s=20)
    callout.rights_s = 20
    with anyio.fail_after(30):
        async with keeping_house(callout.broker.url, callout.service.seed) as house, asyncio.TaskGroup() as group:
            house.on(InvokeTool, echo)
            async with callout.answering():
                client = AsyncClient(credentials=long_lived)
                await client.open()
            run = client.run("dana")
            waiting = group.create_task(AsyncClient(credentials=guarded, timeout_s=15).open())
            until_s = time.monotonic() + 3.5
            while time.monotonic() < until_s:
                await run.invoke("pay", {"takes_s": 0.05})
            assert not waiting.done()
            async with callout.answering():
                await waiting
                await run.invoke("pay", {})
            await client.aclose()


async def test_a_service_that_dies_in_the_middle_is_asked_again(guarded: Credentials, answered: House) -> None:
    def dies_first(command: InvokeTool, asked: Asked) -> ToolResult | None:
        return ToolResult(result=7, labels={}, action="a") if len(answered.commands(InvokeTool)) > 1 else None

    answered.on(InvokeTool, dies_first)
    with anyio.fail_after(20):
        async with running(guarded) as run:
            assert (await run.invoke("pay", {})).result == 7
    assert len({asked.key for asked in answered.commands(InvokeTool)}) == 1


async def test_a_refusal_is_forbidden_and_not_a_time_out(
    guarded: Credentials, callout: Callout, answered: House
) -> None:
    callout.publish = ["cmd.acme.a-desk.identity.token", "cmd.acme.a-desk.tool.invoke.pay"]
    answered.on(InvokeTool, echo)
    with anyio.fail_after(30):
        async with running(replace(guarded, rights_s=60)) as run:
            calls = [run.invoke("Other", {"n": n}) for n in range(20)] + [
                run.invoke("pay", {"n": n}) for n in range(20)
            ]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(each) for each in found] == [Forbidden] * 20 + [ToolResult] * 20
    assert callout.connects <= 3 and "Other" in str(found[0])


async def test_a_grant_that_came_after_the_connection_counts(
    guarded: Credentials, callout: Callout, answered: House
) -> None:
    callout.publish = ["cmd.acme.a-desk.identity.token"]
    answered.on(InvokeTool, echo)
    with anyio.fail_after(30):
        async with running(replace(guarded, rights_s=60)) as run:
            with pytest.raises(Forbidden):
                await run.invoke("pay", {})
            callout.publish.append("cmd.acme.a-desk.tool.invoke.pay")
            await run.invoke("pay", {})


async def test_who_is_not_known_is_told_at_once(guarded: Credentials, answered: House) -> None:
    with anyio.fail_after(30), pytest.raises(Unauthenticated, match="a-eve"):
        async with AsyncClient(credentials=replace(guarded, principal="a-eve")):
            pass


async def test_who_is_revoked_finds_out_with_the_next_rights(
    guarded: Credentials, callout: Callout, answered: House
) -> None:
    answered.on(InvokeTool, echo)
    with anyio.fail_after(30):
        async with running(guarded) as run:
            await run.invoke("pay", {})
            callout.known.clear()
            with pytest.raises(Unauthenticated):
                while True:
                    await run.invoke("pay", {"takes_s": 0.05})


async def test_a_subscription_waits_for_the_right_to_it(
    guarded: Credentials, callout: Callout, answered: House
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    def hear(message: Msg) -> None:
        heard.put_nowait(message.data)

    link = Link(replace(guarded, rights_s=60))
    try:
        with anyio.fail_after(15):
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(link.subscribe(Subscription("call.acme.pay", hear, queue="pay")))
                await callout.until(2)
                callout.subscribe.append("call.acme.pay")
                await asking
            await answered.nats.publish("call.acme.pay", b"1")
            assert await heard.get() == b"1"
            await link.renewed(await link.connection(time.monotonic() + 5), time.monotonic() + 5)
            await answered.nats.publish("call.acme.pay", b"2")
            assert await heard.get() == b"2" and heard.empty()
    finally:
        await link.close()


async def test_what_is_heard_and_fails_ends_no_connection(
    guarded: Credentials, callout: Callout, answered: House, caplog: pytest.LogCaptureFixture
) -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()
    callout.subscribe.append("call.acme.pay")
    link = Link(replace(guarded, rights_s=60))
    try:
        with anyio.fail_after(15):
            await link.subscribe(Subscription("call.acme.pay", lambda message: heard.put_nowait(int(message.data))))
            await answered.nats.publish("call.acme.pay", b"no number")
            await answered.nats.publish("call.acme.pay", b"1")
            assert await heard.get() == 1
    finally:
        await link.close()
    assert "could not be handled" in caplog.text
