"""Asking for more at several instances, on a log in memory: what one was killed at, another finishes, once."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from dominie import Credentials
from dominie.keys import KeyPair
from dominie_contracts import ApprovalRequired, Draft, Forbidden, Invalid, StreamName, Unavailable
from dominie_contracts.action import Started
from dominie_contracts.identity import PRINCIPAL, RUN, WIDENING, Registered
from dominie_contracts.plans import Plan, PlanStep
from dominie_contracts.runs import Delegated, MintRunToken, WidenRun
from dominie_contracts.token import Fork, Grants
from dominie_contracts.tool import CATALOG, ToolRegistered, ToolSpec
from dominie_eventstore import Appended, StoreUnavailable
from dominie_identity.adapters.run_tokens import RunTokenSigner
from dominie_identity.aggregate import Caller
from dominie_identity.projection import Catalog, Offers, Principals
from dominie_identity.runs.aggregate import Run, decide_fork
from dominie_identity.runs.asking import for_itself
from dominie_identity.runs.authority import Authority
from dominie_identity.runs.handlers import RunHandlers
from dominie_identity.runs.widening import Widening
from dominie_kit import Context
from dominie_kit.edge.run_tokens import RunTokenVerifier
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.personal.opened import OpenedStore

pytestmark = pytest.mark.anyio
SIGNER = KeyPair.generate()
READ, REFUND = Grants(tools=("read",)), Grants(tools=("refund",))
ASK = WidenRun(grants=REFUND, reason="it came broken")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Killed(OpenedStore):
    """A log that is away once, when an event of this type is to be written."""

    kills = "none"

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        if any(draft.type == self.kills for draft in drafts):
            self.kills = "none"
            raise StoreUnavailable("killed")
        return await super().append(stream, drafts, expected_version=expected_version, timeout_s=timeout_s)


@dataclass
class Scene:
    """a-desk, which u-dana lets read; registered with more."""

    desk: Desk
    dana: Credentials
    log: Killed

    def instance(self) -> tuple[RunHandlers, Widening]:
        principals, catalog, offers, signer = Principals(), Catalog(), Offers(), RunTokenSigner(lambda now_s: SIGNER)
        self.desk.follow(principals, PRINCIPAL)
        self.desk.follow(catalog, CATALOG)
        runs = RunHandlers(
            self.log,
            self.desk.actions(RUN),
            principals,
            signer,
            self.desk.keys,  # type: ignore[arg-type]  # all that is asked of it
            local=False,
            run_token_s=300,
            fork_s=3600,
        )
        return runs, Widening(self.log, self.desk.actions(WIDENING), runs, catalog, offers)

    async def command(self, runs: RunHandlers, run: str = "r-1", **more: object) -> Context:
        """What an agent asks with its token, under a key of its own."""
        await self.desk.caught_up()
        minting = self.desk.context(run=run)
        minting.claims = None
        mint = MintRunToken.model_validate({"user": "u-dana", "run": run, **more})
        token = (await runs.token(mint, minting)).token
        context = self.desk.context(run=run)
        context.claims = RunTokenVerifier(SIGNER.public).verify(token)
        return context

    async def widened(self, run: str = "r-1") -> int:
        events = await self.desk.store.read(StreamName("acme", RUN, run))
        return sum(event.type == "run.widened.v1" for event in events)


@pytest.fixture
async def scene() -> Scene:
    desk = Desk("identity")
    desk.store = log = Killed(desk.log, desk.keyring)
    await desk.publish()
    dana = await desk.join("u-dana")
    await desk.join("u-sam")
    await desk.join("a-desk", sponsor="u-sam", grants=Grants(tools=("read", "refund")))
    for name in ("read", "refund", "pay"):
        spec = ToolSpec(name=name, input_schema={"type": "object"})
        await desk.append(CATALOG, name, ToolRegistered(spec=spec, owner="w-ledger"))
    let = Delegated(
        tenant="acme",
        principal="u-dana",
        agent="a-desk",
        grants=READ,
        expires_s=int(time.time()) + 3600,
        max_cost_usd=None,
    )
    await desk.append(PRINCIPAL, "u-dana", let)
    return Scene(desk, dana, log)


async def asked(scene: Scene, widening: Widening, context: Context) -> StreamName:
    with pytest.raises(ApprovalRequired) as raised:
        await widening.widen(ASK, context)
    return StreamName("acme", WIDENING, str(raised.value.extra["action"]))


async def test_what_one_instance_asked_another_goes_on_with(scene: Scene) -> None:
    runs, widening = scene.instance()
    context = await scene.command(runs)
    stream = await asked(scene, widening, context)
    again, other = scene.instance()
    assert await asked(scene, other, await scene.command(again)) == stream
    await scene.desk.answer(stream, scene.dana)
    token = (await other.widen(ASK, await scene.command(again))).token
    assert RunTokenVerifier(SIGNER.public).verify(token).grants.tools == ("read", "refund")
    await widening.widen(ASK, await scene.command(runs))
    assert await scene.widened() == 1


@pytest.mark.parametrize("at", ["run.widened.v1", "widening.finished.v1"])
async def test_what_an_instance_was_killed_at_another_finishes_once(scene: Scene, at: str) -> None:
    runs, widening = scene.instance()
    stream = await asked(scene, widening, await scene.command(runs))
    await scene.desk.answer(stream, scene.dana)
    scene.log.kills = at
    with pytest.raises(StoreUnavailable):
        await widening.widen(ASK, await scene.command(runs))
    again, other = scene.instance()
    context = await scene.command(again)
    context.deadline += 60
    await other.widen(ASK, context)
    assert await scene.widened() == 1
    trail = await scene.desk.types(WIDENING)
    assert trail.count("approved.v1") == 1 and trail.count(Started.KIND) == 2


async def test_where_decisions_are_only_observed_a_run_is_not_widened(scene: Scene) -> None:
    runs, widening = scene.instance()
    widening._actions = scene.desk.actions(WIDENING, observe=True)
    with pytest.raises(Forbidden, match="person's yes alone"):
        await widening.widen(ASK, await scene.command(runs))
    assert await scene.widened() == 0


async def test_a_limit_on_widenings_counts_with_guardrail(scene: Scene) -> None:
    """And while that is away nothing is widened."""
    limit = """@id("few") @calls("1") @per("agent") @within("day")
    forbid (principal, action == Action::"run.widen", resource);"""
    await scene.desk.publish(PERMIT_ALL + limit)
    runs, widening = scene.instance()
    stream = await asked(scene, widening, await scene.command(runs))
    await scene.desk.answer(stream, scene.dana)
    with pytest.raises(Unavailable, match="guardrail"):
        await widening.widen(ASK, await scene.command(runs))
    assert await scene.widened() == 0


async def test_what_the_agent_is_registered_with_later_bounds_what_was_widened(scene: Scene) -> None:
    runs, widening = scene.instance()
    stream = await asked(scene, widening, await scene.command(runs))
    await scene.desk.answer(stream, scene.dana)
    await widening.widen(ASK, await scene.command(runs))
    known = {"tenant": "acme", "principal": "a-desk", "nkey": SIGNER.public, "sponsor": "u-sam", "by": "u-sam"}
    await scene.desk.append(
        PRINCIPAL, "a-desk", Registered.model_validate({**known, "grants": READ, "users": (), "groups": ()})
    )
    claims = (await scene.command(runs)).claims
    assert claims is not None and claims.grants == READ


async def test_a_forked_run_asks_for_nothing(scene: Scene) -> None:
    runs, widening = scene.instance()
    context = await scene.command(runs)
    assert context.claims is not None
    context.claims = context.claims.model_copy(update={"fork": Fork(run="r-0", root="r-0", at=1)})
    with pytest.raises(Invalid, match="forked"):
        await widening.widen(ASK, context)


PLAN = Plan(steps=(PlanStep(tool="read"),))


async def test_a_fork_follows_its_parents_plan_and_is_not_forked_again(scene: Scene) -> None:
    runs, _ = scene.instance()
    claims = (await scene.command(runs, plan=PLAN)).claims
    assert claims is not None and (claims.plan_digest, claims.plan_run) == (PLAN.digest, None)
    parent = await runs.load("acme", "r-1")
    agent = scene.desk.standing.find("acme", "a-desk")
    sam = Caller("acme", "u-sam", ("developers", "operators"))
    forked = decide_fork(parent, Fork(run="r-1", at=9), agent, sam, run="f", expires_s=1)
    assert (forked.plan_digest, forked.plan_run) == (PLAN.digest, "r-1")
    with pytest.raises(Invalid, match="forked once"):
        decide_fork(Run(forked), Fork(run="f", at=9), agent, sam, run="g", expires_s=1)


def test_the_plan_that_is_signed_is_the_one_that_binds() -> None:
    agent = Registered(
        tenant="acme", principal="a-desk", nkey="U", sponsor=None, grants=READ, users=(), groups=(), by="operator"
    )
    wanted = MintRunToken(user="u-dana", run="r", plan=PLAN)
    opened = for_itself(agent, wanted, None, local=False).opens(Authority(READ), "service", (), expires_s=1)
    assert (opened.plan_digest, opened.plan) == (PLAN.digest, PLAN.model_dump(mode="json"))
