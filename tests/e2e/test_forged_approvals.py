"""Approvals that are forged, replayed, widened or late, on a real broker: refused, with their problem, on the record.

Everything goes over raw connections, never through the sdk, which would not try any of this.
"""

import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from joserfc import jwt
from pydantic import JsonValue

from dominie.keys import KeyPair
from dominie_contracts import ApprovalRequired, Conflict, Forbidden, Invalid, Payload, Problem, ProblemDetails, headers
from dominie_contracts.action import Parked
from dominie_contracts.approvals import ANSWER_AUDIENCE
from dominie_contracts.guardrail import APPROVAL, Answered, AnswersRefused, Approvals, Approve, ListApprovals
from dominie_contracts.identity import Done, PrincipalView, Register, Revoke
from dominie_contracts.memory import MEMORY, Kept, Remember
from dominie_contracts.problems import problem_from
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.subjects import StreamName
from dominie_contracts.token import CONNECT_AUDIENCE, Grants
from dominie_contracts.tool import (
    TOOL,
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
from dominie_identity.settings import Settings as IdentitySettings
from dominie_kit.edge.run_tokens import ALGORITHM
from dominie_kit.testing import House, Peer, connected, house, serving
from dominie_memory import build as memory
from dominie_memory.settings import Settings as MemorySettings
from dominie_tool import build as tool
from dominie_tool.settings import Settings as ToolSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
POLICIES = """
@id("granted")
permit (principal, action, resource);

@id("large") @ask("finance") @why("refunds over $50 need a person")
forbid (principal, action in [Action::"tool.begin", Action::"tool.invoke"], resource)
when { context has amount && context.amount > 5000 };

@id("vault") @ask("finance") @why("the vault is finance's")
forbid (principal, action == Action::"memory.remember", resource == Namespace::"vault");

@id("huge") @ask("finance") @quorum("2") @four_eyes @why("refunds over $500 need two")
forbid (principal, action == Action::"tool.begin", resource == Tool::"refund")
when { context has amount && context.amount > 50000 };
"""
REFUND: dict[str, JsonValue] = {
    "type": "object",
    "properties": {
        "order": {"type": "string"},
        "cents": {"type": "integer", "x-dominie": {"role": "amount"}},
        "rate": {"type": "number"},
    },
}
GRANTS = Grants(tools=("pay",), namespaces=("vault",))
PAY = "def pay(order='', cents=0, rate=0.0):\n    return cents\n"
GROUPS = {"fay": "finance", "gil": "finance", "sam": "finance", "dana": "finance", "out": "sales", "old": "finance"}
WAIT_S = 30.0


@dataclass
class Scene:
    """Identity, guardrail and the tool service; a-desk for u-dana with the sponsor u-sam, its helper, and people."""

    house: House
    store: JetStreamEventStore
    peers: dict[str, Peer] = field(default_factory=dict)
    keys: dict[str, KeyPair] = field(default_factory=dict)
    number: "itertools.count[int]" = field(default_factory=itertools.count)

    async def begin(self, key: str, *, who: str = "desk", user: str = "u-dana", **more: Any) -> Begun:
        """Ask for a refund under an idempotency key."""
        spec = ToolSpec(name="refund", input_schema=REFUND, effect="external", version=more.pop("version", "1"))
        command = BeginLocal(spec=spec, arguments={"order": "A1", "cents": 9000, **more}, process="p")
        token = await self.token(who, user)
        return await self.peers[who].ask(command, Begun, key=key, token=token, timeout_s=WAIT_S)

    async def token(self, who: str, user: str = "u-dana", narrow: Grants | None = None) -> str:
        mint = MintRunToken(user=user, run=f"run-{who}-{user}", narrow=narrow)
        return (await self.peers[who].ask(mint, RunToken, timeout_s=WAIT_S)).token

    async def waits(self, key: str, **more: Any) -> Parked:
        """A refund that waits for finance; what it waits with."""
        with pytest.raises(ApprovalRequired) as raised:
            await self.begin(key, **more)
        return (await self.parked(str(raised.value.extra["action"])))[-1]

    async def parked(self, action: str, category: str = TOOL) -> list[Parked]:
        return [event for event in await self.trail(category, action) if isinstance(event, Parked)]

    async def trail(self, category: str, id: str) -> list[Payload]:
        found = await self.store.read(StreamName("acme", category, id))
        return [payload for event in found if (payload := parse_event(event.type, event.envelope.data))]

    async def answer(self, action: str, parked: Parked, who: str = "fay", **more: Any) -> Answered:
        """Answer as a person; `signed` is what they sign instead, `command` what they send instead."""
        said = {"action": action, "digest": parked.digest, "decision": more.pop("decision", "grant")}
        asks = [ask.key for ask in parked.asks]
        signed = proof(self.keys[who], who, {**said, "asks": asks, **more.pop("signed", {})})
        command = Approve.model_construct(**{"note": "", **said, "proof": signed, **more.pop("command", {})})
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    return await self.peers[who].ask(command, Answered, timeout_s=WAIT_S)
                except Invalid as problem:  # guardrail has not read of it yet
                    if "nothing waits" not in problem.detail or command.action != action or who == "abroad":
                        raise
                    await anyio.sleep(0.02)

    async def refused(self, who: str) -> int:
        """How many refusals of a person are on the record."""
        count = 0
        async for event in self.store.read_all(category=APPROVAL):
            payload = parse_event(event.type, event.envelope.data)
            if isinstance(payload, AnswersRefused) and payload.by == f"u-{who}":
                count += sum(payload.problems.values())
        return count


def proof(keys: KeyPair, who: str, claims: dict[str, Any]) -> str:
    now = int(time.time())
    known = {"sub": f"u-{who}", "tenant": "acme", "aud": ANSWER_AUDIENCE, "auth_time": now, "iat": now, "exp": now + 60}
    return jwt.encode(
        {"alg": ALGORITHM}, {**known, "jti": uuid.uuid4().hex, **claims}, keys.jwk, algorithms=[ALGORITHM]
    )


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "policies").mkdir()
    (folder / "policies" / "refunds.cedar").write_text(POLICIES)
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(house(folder))
        common: dict[str, Any] = {"nats_url": found.url, "keys": found.keys.path, "state": folder / "state"}
        await stack.enter_async_context(serving(identity(IdentitySettings(**common))))
        policies: dict[str, Any] = {
            "guardrail_policies": folder / "policies",
            "guardrail_approval_s": 4,
            "guardrail_refusals_s": 0.2,
        }
        await stack.enter_async_context(serving(guardrail(GuardrailSettings(**common, **policies))))
        await stack.enter_async_context(serving(tool(ToolSettings(**common))))
        await stack.enter_async_context(serving(memory(MemorySettings(**common))))
        scene = Scene(found, JetStreamEventStore(found.operator.client))
        await register(scene)
        for name, keys in scene.keys.items():
            kind = "a" if name in ("desk", "helper") else "u"
            tenant = "abroad" if name == "abroad" else "acme"
            peer = connected(found.url, keys, tenant, f"{kind}-{name}")
            scene.peers[name] = await stack.enter_async_context(peer)
        yield scene


async def register(scene: Scene) -> None:
    found, users = scene.house, ("u-dana", "u-eli")
    for name, group in GROUPS.items():
        scene.keys[name] = await found.register(f"u-{name}", groups=(group,))
    scene.keys["eli"] = await found.register("u-eli")
    scene.keys["abroad"] = await found.register("u-abroad", tenant="abroad", groups=("finance",))
    scene.keys["double"] = scene.keys["dana"]
    double = Register(principal="u-double", nkey=scene.keys["dana"].public, tenant="acme", groups=("finance",))
    await found.operator.ask(double, PrincipalView)
    scene.keys["desk"] = await found.register("a-desk", users=users, sponsor="u-sam", grants=GRANTS)
    scene.keys["dev"] = await found.register("u-dev", groups=("developers",))
    spec = ToolSpec(name="pay", kind="sandboxed", source=PAY, function="pay", input_schema=REFUND, effect="external")
    async with connected(found.url, scene.keys["dev"], "acme", "u-dev") as developer:
        await developer.ask(RegisterTool(spec=spec), RegisteredTool)
    scene.keys["helper"] = await found.register("a-helper", users=users, sponsor="u-gil")


@pytest.fixture
async def key(scene: Scene) -> str:
    """An idempotency key that was not used yet."""
    return f"k-{next(scene.number)}"


NOW = int(time.time())
OTHER = {"asks": ["large@of other words"]}
DAY_S = 86_400


@pytest.mark.parametrize(
    ("who", "more", "type_", "why"),
    [
        pytest.param("dana", {}, "forbidden", "asked for it", id="by its user"),
        pytest.param("double", {}, "forbidden", "key of somebody who asked", id="by its user under another name"),
        pytest.param("sam", {}, "forbidden", "is the sponsor", id="by the agent's sponsor"),
        pytest.param("out", {}, "forbidden", "not in finance", id="by somebody without the group"),
        pytest.param("eli", {}, "forbidden", "not in finance", id="by somebody without any group"),
        pytest.param("abroad", {}, "invalid", "nothing waits", id="from another tenant"),
        pytest.param("fay", {"command": {"proof": None}}, "unauthenticated", "own key", id="not signed"),
        pytest.param("fay", {"command": {"proof": "e30.e30.e30"}}, "unauthenticated", "not signed", id="no signature"),
        pytest.param("fay", {"signed": {"sub": "u-gil"}}, "unauthenticated", "another answer", id="in another's name"),
        pytest.param("fay", {"signed": {"tenant": "abroad"}}, "unauthenticated", "another answer", id="for a namesake"),
        pytest.param(
            "fay", {"signed": {"action": "0" * 32}}, "unauthenticated", "another answer", id="of another action"
        ),
        pytest.param(
            "fay", {"signed": {"digest": "0" * 64}}, "unauthenticated", "another answer", id="of other arguments"
        ),
        pytest.param(
            "fay", {"signed": {"decision": "deny"}}, "unauthenticated", "another answer", id="a no made a yes"
        ),
        pytest.param(
            "fay", {"signed": {"aud": CONNECT_AUDIENCE}}, "unauthenticated", "another answer", id="an assertion"
        ),
        pytest.param(
            "fay",
            {"signed": {"iat": NOW - DAY_S, "exp": NOW - DAY_S + 60}},
            "unauthenticated",
            "not signed when",
            id="old",
        ),
        pytest.param(
            "fay",
            {"signed": {"iat": NOW - DAY_S, "exp": NOW + DAY_S}},
            "unauthenticated",
            "not signed when",
            id="old and long-lived",
        ),
        pytest.param(
            "fay",
            {"signed": {"iat": NOW + DAY_S, "exp": NOW + DAY_S + 60}},
            "unauthenticated",
            "not signed when",
            id="signed in advance",
        ),
        pytest.param(
            "fay", {"signed": {"auth_time": NOW - 960}}, "unauthenticated", "15 minutes", id="signed in 16 minutes ago"
        ),
        pytest.param(
            "fay", {"signed": {"auth_time": NOW + DAY_S}}, "unauthenticated", "15 minutes", id="signs in tomorrow"
        ),
        pytest.param("fay", {"signed": {"auth_time": None}}, "unauthenticated", "not signed", id="signed in never"),
        pytest.param("fay", {"signed": OTHER}, "conflict", "not what you were shown", id="of a policy in other words"),
        pytest.param("fay", {"signed": {"asks": []}}, "conflict", "not what you were shown", id="of no policy"),
        pytest.param(
            "fay", {"command": {"digest": "0" * 64}}, "conflict", "not those you were shown", id="other arguments"
        ),
        pytest.param("fay", {"command": {"action": "0" * 32}}, "invalid", "nothing waits", id="of nothing"),
        pytest.param(
            "fay", {"command": {"action": "../policy/main"}}, "invalid", "nothing waits", id="of another stream"
        ),
    ],
)
async def test_what_is_no_answer_is_refused_and_counted(
    scene: Scene, key: str, who: str, more: dict[str, Any], type_: str, why: str
) -> None:
    parked = await scene.waits(key)
    action, before = await action_of(scene, key), await scene.refused(who)
    with pytest.raises(Problem, match=why) as raised:
        await scene.answer(action, parked, who, **more)
    assert raised.value.type == type_
    await until(lambda: more_refused(scene, who, before))
    assert await scene.trail(APPROVAL, action) == []
    await scene.waits(key)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(WAIT_S):
        while True:
            if await true():
                return
            await anyio.sleep(0.02)


async def more_refused(scene: Scene, who: str, before: int) -> bool:
    return await scene.refused(who) > before


async def lapsed(answered: Payload) -> bool:
    return time.time() * 1000 > getattr(answered, "expires_ms", 0)


async def action_of(scene: Scene, key: str, **more: Any) -> str:
    with pytest.raises(ApprovalRequired) as raised:
        await scene.begin(key, **more)
    return str(raised.value.extra["action"])


async def granted(scene: Scene, key: str, *people: str, **more: Any) -> str:
    """A refund that has its yes, and nobody has gone on with it yet; its action."""
    parked, action = await scene.waits(key, **more), await action_of(scene, key, **more)
    for who in people or ("fay",):
        left = (await scene.answer(action, parked, who)).left
    assert left == ()
    return action


async def test_a_yes_goes_on_once_and_stays_with_its_action(scene: Scene, key: str) -> None:
    action = await granted(scene, key)
    for changed in ({"who": "helper"}, {"user": "u-eli"}):
        assert await action_of(scene, key, **changed) != action
    assert await action_of(scene, f"{key}-new") != action
    begun = await scene.begin(key)
    assert (begun.action, begun.then) == (action, "run")
    kinds = [event.KIND for event in await scene.trail(TOOL, action)]
    assert kinds.count("approved.v1") == kinds.count("started.v1") == 1


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"rate": 0.1 + 0.2}, id="0.1 + 0.2"),
        pytest.param({"cents": 9001}, id="a cent more"),
        pytest.param({"cents": 100}, id="less"),
        pytest.param({"order": "A2"}, id="another order"),
        pytest.param({"more": True}, id="one argument more"),
        pytest.param({"version": "2"}, id="another version"),
    ],
)
async def test_other_arguments_under_an_approved_key_are_a_conflict_and_on_the_record(
    scene: Scene, key: str, changed: dict[str, Any]
) -> None:
    action = await granted(scene, key, rate=0.3)
    for _ in range(3):
        with pytest.raises(Conflict, match="another request"):
            await scene.begin(key, **{"rate": 0.3, **changed})
    kinds = [event.KIND for event in await scene.trail(TOOL, action)]
    assert (kinds.count("mistaken.v1"), kinds.count("started.v1")) == (1, 0)
    assert (await scene.begin(key, rate=0.3)).then == "run"


@pytest.mark.parametrize("cents", ["-1", "9223372036854775807", "9007199254740992", "NaN", "1e999", "-Infinity", "9e3"])
@pytest.mark.parametrize("rest", ["", ".5"])
async def test_what_is_no_amount_is_never_asked(scene: Scene, key: str, cents: str, rest: str) -> None:
    spec = ToolSpec(name="refund", input_schema=REFUND, effect="external").model_dump_json()
    body = f'{{"spec": {spec}, "arguments": {{"order": "A1", "cents": {cents}{rest}}}}}'
    sent = {headers.KEY: key, headers.TOKEN: await scene.token("desk")}
    answer = await scene.peers["desk"].client.request(
        "cmd.acme.a-desk.tool.begin", body.encode(), timeout=WAIT_S, headers=sent
    )
    problem = problem_from(ProblemDetails.model_validate(json.loads(answer.data)))
    assert isinstance(problem, Invalid), problem.detail


async def test_what_was_not_granted_is_denied_and_not_asked(scene: Scene, key: str) -> None:
    async def pay(key: str, token: str) -> None:
        command = InvokeTool(tool="pay", arguments={"cents": 9000})
        await scene.peers["desk"].ask(command, ToolResult, resource="pay", key=key, token=token, timeout_s=WAIT_S)

    with pytest.raises(ApprovalRequired):
        await pay(key, await scene.token("desk"))
    with pytest.raises(Forbidden, match="not granted"):
        await pay(f"{key}-narrowed", await scene.token("desk", narrow=Grants()))
    assert not await scene.peers["helper"].may_publish("cmd.acme.a-helper.tool.invoke.pay")


async def test_memory_asks_too_and_reads_the_answer(scene: Scene, key: str) -> None:
    async def remember() -> Kept:
        command, token = Remember(namespace="vault", text="tea"), await scene.token("desk")
        return await scene.peers["desk"].ask(command, Kept, resource="vault", key=key, token=token, timeout_s=WAIT_S)

    with pytest.raises(ApprovalRequired, match="the vault") as raised:
        await remember()
    action = str(raised.value.extra["action"])
    (parked,) = await scene.parked(action, MEMORY)
    await scene.answer(action, parked)
    assert (await remember()).id == (await remember()).id


async def test_agents_cannot_answer_at_all(scene: Scene) -> None:
    for who in ("desk", "helper"):
        for subject in (f"cmd.acme.a-{who}.guardrail.approve", "cmd.acme.u-fay.guardrail.approve"):
            assert not await scene.peers[who].may_publish(subject)
        assert not await scene.peers[who].may_publish("evt.0.acme.approval.x")


async def test_a_yes_that_lapsed_is_asked_for_again(scene: Scene, key: str) -> None:
    action = await granted(scene, key)
    (first,) = await scene.parked(action)
    (answered,) = await scene.trail(APPROVAL, action)
    await until(lambda: lapsed(answered))
    for _ in range(2):
        await scene.waits(key)
    assert len(await scene.parked(action)) == 2
    (again,) = (await scene.parked(action))[1:]
    assert (again.digest, again.asks) == (first.digest, first.asks)
    assert (await scene.answer(action, again)).left == ()
    assert (await scene.begin(key)).then == "run"


async def test_a_no_is_final(scene: Scene, key: str) -> None:
    parked, action = await scene.waits(key), await action_of(scene, key)
    await scene.answer(action, parked, decision="deny")
    for who in ("fay", "gil"):
        with pytest.raises(Conflict, match="u-fay has answered already: deny"):
            await scene.answer(action, parked, who)
    for _ in range(2):
        with pytest.raises(Forbidden, match="u-fay said no"):
            await scene.begin(key)
    assert [event.KIND for event in await scene.trail(TOOL, action)][-1] == "finished.v1"


async def test_two_of_finance_are_two(scene: Scene, key: str) -> None:
    parked, action = await scene.waits(key, cents=60_000), await action_of(scene, key, cents=60_000)
    assert [ask.policy for ask in (await scene.answer(action, parked)).left] == ["huge"]
    assert [ask.policy for ask in (await scene.answer(action, parked)).left] == ["huge"]
    with pytest.raises(ApprovalRequired, match="waits for 2 of finance"):
        await scene.begin(key, cents=60_000)
    with pytest.raises(Forbidden, match="sponsor"):
        await scene.answer(action, parked, "sam")
    assert (await scene.answer(action, parked, "gil")).left == ()
    assert (await scene.begin(key, cents=60_000)).then == "run"


async def test_who_was_revoked_after_their_yes_has_not_said_it(scene: Scene, key: str) -> None:
    action = await granted(scene, key, "old")
    await scene.house.operator.ask(Revoke(principal="u-old", tenant="acme"), Done)
    with pytest.raises(Forbidden, match="u-old' is not registered, or no longer"):
        with anyio.fail_after(WAIT_S):
            await scene.begin(key)
    assert [event.KIND for event in await scene.trail(TOOL, action)][-1] == "finished.v1"


async def test_nobody_sees_what_does_not_concern_them(scene: Scene, key: str) -> None:
    await scene.waits(key)
    action = await action_of(scene, key)
    found = {
        who: (await scene.peers[who].ask(ListApprovals(), Approvals)).approvals
        for who in ("gil", "dana", "eli", "abroad")
    }
    assert [action in {view.action for view in found[who]} for who in found] == [True, True, False, False]
