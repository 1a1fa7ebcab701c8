"""Limits that calls share, on a real broker: two guardrails, many calls at once, calls that fail, and that vanish."""

import itertools
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from dominie_contracts import BudgetExceeded, Forbidden, Invalid, Problem, QuotaExceeded
from dominie_contracts.guardrail import (
    LIMIT,
    Limits,
    LimitUse,
    ListLimits,
    Reservation,
    Reserve,
    Share,
    SharesReserved,
    SharesSettled,
)
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.subjects import service_subject
from dominie_contracts.token import Grants
from dominie_contracts.tool import TOOL, BeginLocal, Begun, FinishLocal, ToolResult, ToolSpec
from dominie_eventstore import JetStreamEventStore
from dominie_guardrail import build as guardrail
from dominie_guardrail.settings import Settings as GuardrailSettings
from dominie_identity import build as identity
from dominie_identity.settings import Settings as IdentitySettings
from dominie_kit.bus import Inner
from dominie_kit.context import Context, deadline_in
from dominie_kit.testing import House, Peer, connected, house, serving
from dominie_tool import build as tool
from dominie_tool.settings import Settings as ToolSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
POLICIES = """
@id("granted")
permit (principal, action, resource);

@id("spend") @limit("1000") @per("user") @within("month") @why("a user's refunds are limited")
forbid (principal, action == Action::"tool.begin", resource == Tool::"refund");

@id("often") @calls("3") @per("agent") @within("month") @why("no agent mails so often")
forbid (principal, action == Action::"tool.begin", resource == Tool::"mail");
"""
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"cents": {"type": "integer", "x-dominie": {"role": "amount"}}},
}
WAIT_S = 30.0


@dataclass
class Scene:
    """Identity, two guardrails, the tool service, and the agent a-desk."""

    house: House
    store: JetStreamEventStore
    settings: ToolSettings
    agent: Peer
    number: "itertools.count[int]" = field(default_factory=itertools.count)
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, user: str) -> str:
        if user not in self.tokens:
            mint = MintRunToken(user=user, run=f"run-{user}")
            self.tokens[user] = (await self.agent.ask(mint, RunToken, timeout_s=WAIT_S)).token
        return self.tokens[user]

    async def begin(
        self, user: str, cents: int | None = None, *, name: str = "refund", key: str | None = None
    ) -> Begun:
        spec = ToolSpec(name=name, input_schema=SCHEMA, effect="external")
        arguments: dict[str, JsonValue] = {} if cents is None else {"cents": cents}
        command = BeginLocal(spec=spec, arguments=arguments, process="p")
        key = key or f"k-{next(self.number)}"
        return await self.agent.ask(command, Begun, key=key, token=await self.token(user), timeout_s=WAIT_S)

    async def finish(self, begun: Begun, user: str, error: str | None = None) -> None:
        command = FinishLocal(action=begun.action, result=None, error=error, duration_ms=1)
        key, token = uuid.uuid4().hex, await self.token(user)
        await self.agent.ask(command, ToolResult, key=key, token=token, timeout_s=WAIT_S)

    async def events(self) -> list[Any]:
        found = [parse_event(event.type, event.envelope.data) async for event in self.store.read_all(category=LIMIT)]
        return [each for each in found if each is not None]

    async def granted(self, user: str, cents: int) -> Begun:
        """Begin until what was taken is free again."""
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    return await self.begin(user, cents)
                except BudgetExceeded:
                    await anyio.sleep(0.05)


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "policies").mkdir()
    (folder / "policies" / "limits.cedar").write_text(POLICIES)
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(house(folder))
        common: dict[str, Any] = {"nats_url": found.url, "keys": found.keys.path, "state": folder / "state"}
        await stack.enter_async_context(serving(identity(IdentitySettings(**common))))
        limits: dict[str, Any] = {"guardrail_settle_s": 0.1, "guardrail_vanish_s": 1.0}
        for policies in (folder / "policies", folder / "policies"):
            settings = GuardrailSettings(**common, **limits, guardrail_policies=policies)
            await stack.enter_async_context(serving(guardrail(settings)))
        await stack.enter_async_context(serving(tool(ToolSettings(**common))))
        users = tuple(f"u-{name}" for name in ("dana", "eli", "fay", "gil", "hal", "ida", "jan"))
        keys = await found.register("a-desk", users=users, grants=Grants())
        agent = await stack.enter_async_context(connected(found.url, keys, "acme", "a-desk"))
        store = JetStreamEventStore(found.operator.client)
        yield Scene(found, store, ToolSettings(**common), agent)


async def test_many_at_once_get_no_more_than_there_is(scene: Scene) -> None:
    found = list[object]()
    await scene.token("u-dana")

    async def one() -> None:
        try:
            found.append(await scene.begin("u-dana", 100))
        except Problem as problem:
            found.append(problem)

    async with anyio.create_task_group() as group:
        for _ in range(25):
            group.start_soon(one)
    refused = [each for each in found if isinstance(each, Problem)]
    assert len(found) - len(refused) == 10
    assert {type(problem) for problem in refused} == {BudgetExceeded}
    assert refused[0].extra["used"] == refused[0].extra["most"] == 1000
    assert (await scene.begin("u-eli", 1000)).then == "run"
    reserved = [event for event in await scene.events() if isinstance(event, SharesReserved)]
    scopes = {share.scope for event in reserved for booking in event.bookings for share in booking.shares}
    assert len(scopes) == 2 and not any("dana" in scope for scope in scopes)


async def test_a_refusal_is_on_the_record_and_stays_one(scene: Scene) -> None:
    first = await scene.begin("u-fay", 1000)
    for _ in range(2):
        with pytest.raises(BudgetExceeded, match="1000 of 1000 a month are used by this user") as raised:
            await scene.begin("u-fay", 1, key="refused")
    await scene.finish(first, "u-fay", error="no such order")
    await scene.granted("u-fay", 1000)
    with pytest.raises(BudgetExceeded):
        await scene.begin("u-fay", 1, key="refused")
    assert raised.value.extra["policies"] == ["spend"]


async def test_what_was_done_stays_used_and_the_same_key_counts_once(scene: Scene) -> None:
    begun = [await scene.begin("u-gil", 600, key="paid") for _ in range(3)]
    assert len({each.action for each in begun}) == 1
    await scene.finish(begun[0], "u-gil")
    await until_kept(scene, begun[0].action)
    assert (await scene.begin("u-gil", 600, key="paid")).then == "finished"
    with pytest.raises(BudgetExceeded):
        await scene.begin("u-gil", 401)
    assert (await scene.begin("u-gil", 400)).then == "run"


async def until_kept(scene: Scene, action: str) -> None:
    with anyio.fail_after(WAIT_S):
        while True:
            settled = [event for event in await scene.events() if isinstance(event, SharesSettled)]
            if any(action in event.kept for event in settled):
                return
            await anyio.sleep(0.02)


async def test_what_never_began_runs_out(scene: Scene) -> None:
    """As if the tool service had died between its reservation and its own record."""
    inner = Inner("tool", scene.settings)
    await inner.open()
    try:
        reserved = await taken(scene, "u-hal")
        share = Share(policy="spend", scope=reserved, within="month", amount=999, most=1000)
        command = Reserve(action=uuid.uuid4().hex, category=TOOL, shares=(share,))
        context = Context(
            tenant="acme", principal="a-desk", key="k", deadline=deadline_in(WAIT_S), token=await scene.token("u-hal")
        )
        assert (await inner.call(context, command, Reservation, key="vanishes")).granted
    finally:
        await inner.close()
    with pytest.raises(BudgetExceeded):
        await scene.begin("u-hal", 2)
    assert (await scene.granted("u-hal", 999)).then == "run"


async def taken(scene: Scene, user: str) -> str:
    """The scope of a user's limit, from a reservation of theirs."""
    await scene.begin(user, 1)
    last = [event for event in await scene.events() if isinstance(event, SharesReserved)][-1]
    return str(last.bookings[-1].shares[0].scope)


async def test_calls_are_counted_per_agent_whoever_they_are_for(scene: Scene) -> None:
    for user in ("u-dana", "u-eli", "u-fay"):
        await scene.begin(user, name="mail")
    with pytest.raises(QuotaExceeded, match="3 of 3 a month are used by this agent"):
        await scene.begin("u-gil", name="mail")


async def test_where_there_is_nothing_to_count_it_is_refused(scene: Scene) -> None:
    with pytest.raises(Forbidden, match="no amount"):
        await scene.begin("u-hal")


async def test_nobody_but_services_reserves(scene: Scene) -> None:
    assert not await scene.agent.may_publish(service_subject("guardrail", "reserve"))
    assert not await scene.agent.may_publish("cmd.acme.a-desk.guardrail.reserve")
    assert not await scene.agent.may_publish("evt.0.acme.limit.2026-11")


async def seen_by(scene: Scene, who: str, *, tenant: str = "acme", most: int = 200, **more: Any) -> dict[Any, LimitUse]:
    """What a person sees of the limits, by policy and whose it is."""
    keys = await scene.house.register(who, tenant=tenant, **more)
    async with connected(scene.house.url, keys, tenant, who) as peer:
        found = await peer.ask(ListLimits(most=most), Limits, timeout_s=WAIT_S)
    return {(use.policy, use.whom): use for use in found.limits}


async def test_what_is_used_is_told_to_whom_it_concerns(scene: Scene) -> None:
    begun = await scene.begin("u-ida", 300)
    await scene.finish(begun, "u-ida")
    await until_kept(scene, begun.action)
    await scene.begin("u-ida", 50)
    for group in ("developers", "auditors"):
        found = await seen_by(scene, f"u-of-{group}", groups=(group,))
        ida = found["spend", "u-ida"]
        assert (ida.used, ida.reserved, ida.left, ida.most) == (300, 50, 650, 1000)
        assert (ida.per, ida.within, ida.counts) == ("user", "month", "amount")
        assert ("spend", "u-jan") not in found and ida.resets_s > 0
    assert (await seen_by(scene, "u-ida")) == {("spend", "u-ida"): ida}
    none = await seen_by(scene, "u-jan")
    assert [(use.whom, use.used, use.left) for use in none.values()] == [("u-jan", 0, 1000)]
    abroad = await seen_by(scene, "u-ida", tenant="abroad", groups=("developers",))
    assert {(policy, use.whom, use.used) for (policy, _), use in abroad.items()} == {("spend", "", 0), ("often", "", 0)}


async def test_an_agent_sees_its_own_and_its_users(scene: Scene) -> None:
    await scene.begin("u-jan", 10)
    found = await scene.agent.ask(ListLimits(), Limits, token=await scene.token("u-jan"), timeout_s=WAIT_S)
    assert {use.whom for use in found.limits} == {"a-desk", "u-jan"}
    bare = await scene.agent.ask(ListLimits(), Limits, timeout_s=WAIT_S)
    assert {(use.policy, use.whom) for use in bare.limits} == {("often", "a-desk")}
    with pytest.raises(Invalid, match="no policy 'granted' in force sets a limit"):
        await scene.agent.ask(ListLimits(policy="granted"), Limits, timeout_s=WAIT_S)


async def test_of_many_those_come_first_of_which_least_is_left(scene: Scene) -> None:
    keys = await scene.house.register("u-counts", groups=("auditors",))
    async with connected(scene.house.url, keys, "acme", "u-counts") as peer:
        every = await peer.ask(ListLimits(), Limits, timeout_s=WAIT_S)
        first = await peer.ask(ListLimits(most=1), Limits, timeout_s=WAIT_S)
    assert [use.left / use.most for use in every.limits] == sorted(use.left / use.most for use in every.limits)
    assert first.limits[0].left == every.limits[0].left and first.more == len(every.limits) - 1
