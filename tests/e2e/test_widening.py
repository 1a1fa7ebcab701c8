"""Runs that ask for more than they were let, and runs with a plan, on a real broker: what people allowed, and no more.

Everything goes over raw connections, never through the sdk, which would not try any of this.
"""

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from joserfc import jwt
from pydantic import JsonValue

import dominie
from dominie.answers import sign_answer
from dominie.keys import KeyPair
from dominie_contracts import ApprovalRequired, Draft, Forbidden, Invalid, Payload, Problem
from dominie_contracts.action import Parked
from dominie_contracts.guardrail import APPROVAL, Answered, ApprovalAnswered, Approvals, Approve, ListApprovals
from dominie_contracts.identity import RUN, WIDENING, Done, PrincipalView, Register
from dominie_contracts.plans import Plan, PlanStep
from dominie_contracts.registry import event_type, parse_event
from dominie_contracts.runs import (
    Delegate,
    Delegations,
    EndDelegation,
    EndRun,
    ExchangeRun,
    MintRunToken,
    RunToken,
    RunWidened,
    WidenRun,
)
from dominie_contracts.subjects import StreamName
from dominie_contracts.token import Grants
from dominie_contracts.tool import (
    BeginLocal,
    Begun,
    InvokeTool,
    RegisteredTool,
    RegisterTool,
    ToolResult,
    ToolSpec,
)
from dominie_eventstore import JetStreamEventStore
from dominie_guardrail import build as guardrail
from dominie_guardrail.settings import Settings as GuardrailSettings
from dominie_identity import build as identity
from dominie_identity.adapters.nats_jwt import from_base64
from dominie_identity.settings import Settings as IdentitySettings
from dominie_kit.bus import Inner, now_ms
from dominie_kit.edge.run_tokens import RunTokenVerifier
from dominie_kit.settings import KitSettings
from dominie_kit.testing import House, Peer, connected, house, serving
from dominie_tool import build as tool
from dominie_tool.settings import Settings as ToolSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
POLICIES = """
@id("granted")
permit (principal, action, resource);

@id("mail") @ask("finance") @why("who mails is finance's to say")
forbid (principal, action == Action::"run.widen", resource) when { context.tools.contains("mail") };

@id("dear") @why("nobody spends so much")
forbid (principal, action == Action::"run.widen", resource) when { context has amount && context.amount > 100000 };

@id("here") @why("granted, and stopped here")
forbid (principal, action in Action::"tool.invoke", resource);
"""
READ, ALL = Grants(tools=("read",)), Grants(tools=("read", "refund", "mail"))
REFUND = Grants(tools=("refund",))
USER = "u-dana"
SOURCE = "def f():\n    return 1\n"
WAIT_S = 40.0


@dataclass
class Scene:
    """Identity, guardrail and tools; a-desk for u-dana, who delegated reading, with the sponsor u-sam, and people."""

    house: House
    store: JetStreamEventStore
    peers: dict[str, Peer] = field(default_factory=dict)
    keys: dict[str, KeyPair] = field(default_factory=dict)

    async def token(self, run: str, who: str = "desk", **more: Any) -> str:
        mint = MintRunToken.model_validate({"user": USER, "run": run, **more})
        return (await self.peers[who].ask(mint, RunToken, timeout_s=WAIT_S)).token

    async def widen(self, token: str, grants: Grants = REFUND, *, who: str = "desk", **more: Any) -> str:
        """Ask for more; the wider token."""
        command = WidenRun.model_validate({"grants": grants, "reason": "dana wants her money", **more})
        return (await self.peers[who].ask(command, RunToken, token=token, timeout_s=WAIT_S)).token

    async def asked(self, token: str, grants: Grants = REFUND, **more: Any) -> str:
        """Ask for more, where nobody has said yes yet; the action that waits."""
        with pytest.raises(ApprovalRequired) as raised:
            await self.widen(token, grants, **more)
        return str(raised.value.extra["action"])

    async def answer(self, action: str, who: str = "dana", decision: Any = "grant") -> Answered:
        (parked,) = [each for each in await self.trail(WIDENING, action) if isinstance(each, Parked)]
        person = dominie.Credentials("", "acme", f"u-{who}", self.keys[who])
        proof = sign_answer(person, action, parked.digest, [ask.key for ask in parked.asks], decision)
        command = Approve(action=action, digest=parked.digest, decision=decision, proof=proof)
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    return await self.peers[who].ask(command, Answered, timeout_s=WAIT_S)
                except Invalid as problem:  # guardrail has not read of it yet
                    if "nothing waits" not in problem.detail:
                        raise
                    await anyio.sleep(0.02)

    async def shown(self, action: str) -> dict[str, JsonValue]:
        """What an approver is shown of it."""
        with anyio.fail_after(WAIT_S):
            while True:
                found = await self.peers["dana"].ask(ListApprovals(), Approvals, timeout_s=WAIT_S)
                for each in found.approvals:
                    if each.action == action:
                        return each.arguments
                await anyio.sleep(0.02)

    async def part(self, token: str, name: str, *, who: str = "desk", **more: Any) -> str:
        """Hand a run on to a-helper; the part's id."""
        command = ExchangeRun.model_validate({"agent": "a-helper", "run": name, **more})
        return (await self.peers[who].ask(command, RunToken, token=token, timeout_s=WAIT_S)).run

    async def ceilings(self, part: str) -> dict[str, float]:
        """What a part of a-helper's, and those that it is part of, may spend."""
        claims = RunTokenVerifier(self.house.keys.signer).verify(await self.token(part, "helper"))
        return {each.run: each.max_cost_usd for each in claims.ceilings}

    async def until_ended(self, token: str) -> None:
        """Wait until services have read that a token's run was ended."""
        with anyio.fail_after(WAIT_S):
            while True:
                if "was ended" in await self.refund(token):
                    return
                await anyio.sleep(0.02)

    async def widened(self, run: str, grants: Grants = REFUND, **more: Any) -> str:
        """A run that people let do more; its token."""
        token = await self.token(run, **more)
        await self.answer(await self.asked(token, grants))
        return await self.widen(token, grants)

    def grants(self, token: str) -> set[str]:
        return set(RunTokenVerifier(self.house.keys.signer).verify(token).grants.tools)

    async def trail(self, category: str, id: str) -> list[Payload]:
        found = await self.store.read(StreamName("acme", category, id))
        return [payload for event in found if (payload := parse_event(event.type, event.envelope.data))]

    async def granted(self, run: str) -> list[RunWidened]:
        return [each for each in await self.trail(RUN, run) if isinstance(each, RunWidened)]

    async def refund(self, token: str, who: str = "desk") -> str:
        """What comes of a call of the tool that was not delegated."""
        command = InvokeTool(tool="refund", arguments={})
        with pytest.raises(Problem) as raised:
            await self.peers[who].ask(command, ToolResult, resource="refund", token=token, timeout_s=WAIT_S)
        return raised.value.detail

    async def call(self, token: str, name: str = "find", *, key: str | None = None, **arguments: JsonValue) -> str:
        """A local call under a plan: `run`, or why not."""
        spec = ToolSpec(name=name, input_schema={"type": "object"}, effect="external")
        command = BeginLocal(spec=spec, arguments=arguments, process="p")
        try:
            begun = await self.peers["desk"].ask(command, Begun, key=key, token=token, timeout_s=WAIT_S)
        except Forbidden as problem:
            return problem.detail
        return begun.then

    def forged(self, token: str, **changed: object) -> str:
        """The token with other claims, rightly signed."""
        claims = {**json.loads(from_base64(token.split(".")[1])), **changed}
        key = self.house.keys.identity.signer
        return jwt.encode({"alg": "Ed25519", "typ": "JWT"}, claims, key.jwk, algorithms=["Ed25519"])


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "policies").mkdir()
    (folder / "policies" / "p.cedar").write_text(POLICIES)
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(house(folder))
        common: dict[str, Any] = {"nats_url": found.url, "keys": found.keys.path, "state": folder / "state"}
        policies: dict[str, Any] = {"guardrail_policies": folder / "policies"}
        await stack.enter_async_context(serving(identity(IdentitySettings(**common))))
        await stack.enter_async_context(serving(guardrail(GuardrailSettings(**common, **policies))))
        await stack.enter_async_context(serving(tool(ToolSettings(**common))))
        scene = Scene(found, JetStreamEventStore(found.operator.client))
        await register(scene, stack)
        await delegate(scene)
        yield scene


async def register(scene: Scene, stack: AsyncExitStack) -> None:
    found = scene.house
    groups = {"dana": ("finance",), "fay": ("finance",), "sam": ("finance",), "eve": ("user",), "dev": ("developers",)}
    for name, their in groups.items():
        scene.keys[name] = await found.register(f"u-{name}", groups=their)
    double = Register(principal="u-double", nkey=scene.keys["dana"].public, tenant="acme", groups=("finance",))
    await found.operator.ask(double, PrincipalView, timeout_s=WAIT_S)
    scene.keys["double"] = scene.keys["dana"]
    for name, tenant in (("dev", "acme"), ("far", "abroad")):
        keys = scene.keys.get(name) or await found.register(f"u-{name}", tenant=tenant, groups=("developers",))
        async with connected(found.url, keys, tenant, f"u-{name}") as developer:
            for each in ALL.tools if tenant == "acme" else ("theirs",):
                spec = ToolSpec(
                    name=each,
                    kind="sandboxed",
                    source=SOURCE,
                    function="f",
                    input_schema={"type": "object"},
                )
                await developer.ask(RegisterTool(spec=spec), RegisteredTool, timeout_s=WAIT_S)
    wide = Grants(tools=(*ALL.tools, "theirs"))
    for name, grants in (("desk", wide), ("helper", ALL)):
        scene.keys[name] = await found.register(f"a-{name}", sponsor="u-sam", grants=grants)
    for name, keys in scene.keys.items():
        kind = "a" if name in ("desk", "helper") else "u"
        scene.peers[name] = await stack.enter_async_context(connected(found.url, keys, "acme", f"{kind}-{name}"))


async def delegate(scene: Scene) -> None:
    until_s = int(time.time()) + 3600
    command = Delegate(agent="a-desk", grants=READ, expires_s=until_s, max_cost_usd=5)
    await scene.peers["dana"].ask(command, Delegations, timeout_s=WAIT_S)


@pytest.fixture
def run() -> str:
    """A run of its own."""
    return uuid.uuid4().hex


async def test_a_user_lets_their_run_do_more_once(scene: Scene, run: str) -> None:
    token = await scene.token(run)
    assert "not granted" in await scene.refund(token)
    action = await scene.asked(token)
    (parked,) = [each for each in await scene.trail(WIDENING, action) if isinstance(each, Parked)]
    assert [(ask.group, ask.policy) for ask in parked.asks] == [("user", "widening")]
    assert await scene.shown(action) == {"tools": ["refund"], "now_tools": ["read"], "reason": "dana wants her money"}
    assert await scene.asked(token) == action  # asked again, under another key
    await scene.answer(action)
    wider = await scene.widen(token)
    assert scene.grants(wider) == {"read", "refund"}
    assert await scene.refund(wider) == "granted, and stopped here"
    assert "not granted" in await scene.refund(token)  # the token of before says what it said
    assert scene.grants(await scene.widen(token)) == scene.grants(await scene.token(run)) == {"read", "refund"}
    assert [(each.by, each.action) for each in await scene.granted(run)] == [((USER,), action)]


async def test_a_yes_is_for_one_widening_of_one_run(scene: Scene, run: str) -> None:
    wider = await scene.widened(run)
    other = await scene.token(f"{run}-other")
    assert scene.grants(other) == {"read"}
    await scene.asked(other)  # the same, of another run
    await scene.asked(wider, reason="and now for something else", max_cost_usd=9)  # another, of the same run
    assert len(await scene.granted(run)) == 1


@pytest.mark.parametrize("who", ["sam", "fay", "eve"])
async def test_nobody_else_answers_for_the_user(scene: Scene, run: str, who: str) -> None:
    token = await scene.token(run)
    with pytest.raises(Forbidden):
        await scene.answer(await scene.asked(token), who)
    await scene.asked(token)


async def test_a_policy_names_who_is_asked_and_the_user_is_not_among_them(scene: Scene, run: str) -> None:
    token, mail = await scene.token(run), Grants(tools=("mail",))
    action = await scene.asked(token, mail)
    for who, why in (("dana", "not in finance"), ("sam", "the sponsor"), ("double", "key of somebody who asked")):
        with pytest.raises(Forbidden, match=why):
            await scene.answer(action, who)
    await scene.answer(action, "fay")
    assert scene.grants(await scene.widen(token, mail)) == {"read", "mail"}
    assert [each.by for each in await scene.granted(run)] == [("u-fay",)]


async def test_a_no_stands(scene: Scene, run: str) -> None:
    token = await scene.token(run)
    await scene.answer(await scene.asked(token), decision="deny")
    for _ in range(2):
        with pytest.raises(Forbidden, match="u-dana said no"):
            await scene.widen(token)
    assert scene.grants(await scene.token(run)) == {"read"}


async def test_many_that_come_with_a_yes_at_once_widen_once(scene: Scene, run: str) -> None:
    token = await scene.token(run)
    await scene.answer(await scene.asked(token))
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(scene.widen, token)
    assert len(await scene.granted(run)) == 1


BEYOND: dict[str, tuple[Grants, dict[str, Any], str]] = {
    "beyond the registration": (Grants(tools=("pay",)), {}, "forbidden"),
    "everything": (Grants(tools=("*",)), {}, "invalid"),
    "another tenant's tool": (Grants(tools=("theirs",)), {}, "invalid"),
    "a model that nobody offers": (Grants(models=("big",)), {}, "forbidden"),
    "more than policy lets anybody": (REFUND, {"max_cost_usd": 5000}, "forbidden"),
    "an amount beyond all numbers": (REFUND, {"max_cost_usd": 1e300}, "forbidden"),
}


@pytest.mark.parametrize("case", BEYOND)
async def test_nobody_is_asked_for_what_cannot_be(scene: Scene, run: str, case: str) -> None:
    grants, more, problem = BEYOND[case]
    with pytest.raises(Problem) as raised:
        await scene.widen(await scene.token(run), grants, **more)
    assert raised.value.type.endswith(problem)
    assert await scene.granted(run) == []


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
async def test_an_amount_that_is_none_is_refused(scene: Scene, run: str, wrong: float) -> None:
    token = await scene.token(run)
    command = WidenRun.model_construct(grants=REFUND, max_cost_usd=wrong, reason="")
    with pytest.raises(Invalid):
        await scene.peers["desk"].ask(command, RunToken, token=token, timeout_s=WAIT_S)


async def test_what_a_run_may_do_anyway_is_not_asked(scene: Scene, run: str) -> None:
    token = await scene.token(run)
    assert scene.grants(await scene.widen(token, READ, max_cost_usd=4)) == {"read"}


async def test_a_ceiling_is_raised_to_what_was_allowed(scene: Scene, run: str) -> None:
    token = await scene.token(run)
    action = await scene.asked(token, Grants(), max_cost_usd=9)
    assert await scene.shown(action) == {"max_cost_usd": 9, "now_usd": 5, "reason": "dana wants her money"}
    await scene.answer(action)
    await scene.widen(token, Grants(), max_cost_usd=9)
    for asked, usd in ((None, 9), (7, 7)):
        claims = RunTokenVerifier(scene.house.keys.signer).verify(await scene.token(run, max_cost_usd=asked))
        assert [each.max_cost_usd for each in claims.ceilings] == [usd]
    with pytest.raises(Forbidden, match="only narrows"):
        await scene.token(run, max_cost_usd=10)


async def test_a_raised_ceiling_is_that_of_the_parts_that_were_there_before(scene: Scene, run: str) -> None:
    """But for one that was handed on with less: that has what it was handed."""
    found = {"all": await scene.token(run), "less": await scene.token(run, max_cost_usd=3)}
    parts = {name: await scene.part(token, f"{run}-{name}") for name, token in found.items()}
    below = await scene.part(found["all"], f"{run}-below", max_cost_usd=1)
    of_part = await scene.part(await scene.token(parts["all"], "helper"), f"{run}-deep", who="helper")
    await scene.answer(await scene.asked(found["all"], Grants(), max_cost_usd=9))
    assert await scene.ceilings(parts["all"]) == {run: 5}  # a yes alone raises nothing
    await scene.widen(found["all"], Grants(), max_cost_usd=9)
    assert await scene.ceilings(parts["all"]) == await scene.ceilings(of_part) == {run: 9}
    assert await scene.ceilings(parts["less"]) == {run: 3}
    assert await scene.ceilings(below) == {run: 9, below: 1}


async def test_a_part_of_a_run_asks_for_nothing_and_has_what_was_named(scene: Scene, run: str) -> None:
    wider = await scene.widened(run)
    found = {}
    for name, narrow in (("plain", None), ("named", ALL.model_copy(update={"tools": ("read", "refund")}))):
        part = ExchangeRun(agent="a-helper", run=f"{run}-{name}", narrow=narrow)
        opened = await scene.peers["desk"].ask(part, RunToken, token=wider, timeout_s=WAIT_S)
        found[name] = await scene.token(opened.run, "helper")
    assert {name: scene.grants(token) for name, token in found.items()} == {
        "plain": {"read"},
        "named": {"read", "refund"},
    }
    with pytest.raises(Forbidden, match="part of another one"):
        await scene.widen(found["plain"], who="helper")


async def test_what_was_widened_ends_with_its_run(scene: Scene, run: str) -> None:
    wider = await scene.widened(run)
    waits = await scene.asked(wider, Grants(), max_cost_usd=6)
    await scene.answer(waits)
    await scene.peers["dana"].ask(EndRun(run=run), Done, timeout_s=WAIT_S)
    await scene.until_ended(wider)
    for attempt in (scene.widen(wider, Grants(), max_cost_usd=6), scene.token(run)):
        with pytest.raises(Problem, match="was ended"):
            await attempt
    assert [each.max_cost_usd for each in await scene.granted(run)] == [None]


async def test_a_run_without_its_delegation_is_not_widened_whoever_said_yes(scene: Scene, run: str) -> None:
    token = await scene.token(run)
    await scene.answer(await scene.asked(token))
    wider = await scene.widened(f"{run}-before")
    await scene.peers["dana"].ask(EndDelegation(agent="a-desk"), Delegations, timeout_s=WAIT_S)
    try:
        for attempt in (scene.widen(token), scene.widen(wider), scene.token(f"{run}-before")):
            with pytest.raises(Forbidden, match="has not let"):
                await attempt
        assert await scene.granted(run) == []
    finally:
        await delegate(scene)


async def test_a_yes_that_guardrail_makes_up_widens_nothing(scene: Scene, run: str) -> None:
    """Whoever writes approvals can still not say yes for a person."""
    token = await scene.token(run)
    action = await scene.asked(token)
    (parked,) = [each for each in await scene.trail(WIDENING, action) if isinstance(each, Parked)]
    fay = dominie.Credentials("", "acme", "u-fay", scene.keys["fay"])
    asks = tuple(ask.key for ask in parked.asks)
    made_up = ApprovalAnswered(
        action=action,
        category=WIDENING,
        digest=parked.digest,
        decision="grant",
        by="u-fay",
        groups=("user",),
        expires_ms=now_ms() + 60_000,
        note="",
        asks=asks,
        answered_ms=now_ms(),
        nkey=fay.keys.public,
        proof=sign_answer(fay, action, parked.digest, asks, "grant"),
    )
    await write(scene, StreamName("acme", APPROVAL, action), made_up)
    with pytest.raises(Forbidden, match="'u-fay' is not in user"):
        await scene.widen(token)
    assert await scene.granted(run) == []


async def write(scene: Scene, stream: StreamName, payload: Payload) -> None:
    """As guardrail would, or somebody with its key."""
    draft = Draft(
        id=uuid.uuid4().hex,
        source="dominie/guardrail",
        type=event_type(stream.category, payload),
        time=datetime.now(UTC),
        actor="svc-guardrail",
        data=payload.model_dump_json(),
    )
    inner = Inner("guardrail", KitSettings(nats_url=scene.house.url, keys=scene.house.keys.path))
    await inner.open()
    try:
        version = len(await scene.store.read(stream))
        await JetStreamEventStore(inner.client).append(stream, [draft], expected_version=version)
    finally:
        await inner.close()


PLAN = Plan(steps=(PlanStep(tool="find", most=2, fixed={"/order": "A1"}),))


async def test_a_run_with_a_plan_is_held_to_it(scene: Scene, run: str) -> None:
    token = await scene.token(run, plan=PLAN)
    told = [await scene.call(token, key=f"{run}-{n}", order="A1") for n in (1, 1, 2, 3)]
    assert told[:3] == ["run"] * 3
    assert told[3].endswith("as often as they may")
    assert await scene.call(token, order="A2") == "outside of the run's plan: it fixes another argument"
    assert await scene.call(token, "wipe") == "outside of the run's plan: it has no step of this tool"
    assert await scene.call(await scene.token(f"{run}-other"), "wipe") == "run"


async def test_no_other_plan_takes_its_place(scene: Scene, run: str) -> None:
    """Neither in the run, nor in a token that somebody with identity's key signs."""
    wide = Plan(steps=(PlanStep(tool="wipe"),))
    token = await scene.token(run, plan=PLAN)
    with pytest.raises(Problem, match="another plan_digest"):
        await scene.token(run, plan=wide)
    await scene.token(f"{run}-wide", plan=wide)
    forged = scene.forged(token, plan_digest=wide.digest)
    assert await scene.call(forged, "wipe") == f"the plan of run {run!r} is not the one that the run token is bound to"
    missing = scene.forged(await scene.token(f"{run}-none"), plan_digest=PLAN.digest)
    assert "not on record" in await scene.call(missing, order="A1")


async def test_parts_of_a_run_share_its_plan_however_many_come_at_once(scene: Scene, run: str) -> None:
    token = await scene.token(run, plan=PLAN)
    part = ExchangeRun(agent="a-desk", run=f"{run}-part")
    theirs = (await scene.peers["desk"].ask(part, RunToken, token=token, timeout_s=WAIT_S)).token
    told: list[str] = []

    async def one(mine: str) -> None:
        told.append(await scene.call(mine, order="A1"))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one, token)
            group.start_soon(one, theirs)
    assert told.count("run") == 2
