"""A forked run's actions: served from its parent's record without being done, then live, under a set of its own."""

from typing import TypeVar

import pytest
from pydantic import JsonValue

from dominie_contracts import (
    ApprovalRequired,
    Command,
    Conflict,
    Diverged,
    Forbidden,
    Message,
    Recorded,
    StreamName,
    Unavailable,
)
from dominie_contracts.action import Finished
from dominie_contracts.audit import AskRecord, Entry, FromRecord
from dominie_contracts.digests import digest_bytes
from dominie_contracts.forks import Fork as Progress
from dominie_contracts.forks import record, resume
from dominie_contracts.guardrail import POLICY, PoliciesProposed, PolicyFile
from dominie_contracts.token import Fork
from dominie_contracts.tool import TOOL
from dominie_kit import Action, Actions, Outcome, Request, Work
from dominie_kit.context import Context
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.policy.question import Question

pytestmark = pytest.mark.anyio

R = TypeVar("R", bound=Message)
POLICIES = (
    PERMIT_ALL
    + """
@id("big") @ask("finance") @why("finance looks at this") forbid (principal, action, resource == Tool::"asked");
@id("never") @why("nobody may") forbid (principal, action, resource == Tool::"denied");
"""
)


class Auditor:
    """Audit, as far as services ask it: it reads the same log, and holds how far each fork has come."""

    def __init__(self) -> None:
        self.desk: Desk | None = None
        self.away = False
        self.asked = 0
        self._forks: dict[str, Progress] = {}

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        assert isinstance(command, AskRecord) and context.fork is not None and context.run is not None
        self.asked += 1
        if self.away:
            raise Unavailable("audit is not running")
        if context.run not in self._forks:
            past = record(await self._entries(context.fork.run), before=context.fork.at)
            self._forks[context.run] = resume(past, await self._entries(context.run))
        past_action = self._forks[context.run].next(command)
        found = FromRecord(stream=past_action.stream, position=past_action.finished) if past_action else FromRecord()
        assert isinstance(found, reply)
        return found

    def forget(self) -> None:
        """Start again, with what the log says."""
        self._forks.clear()

    async def _entries(self, run: str) -> list[Entry]:
        assert self.desk is not None
        return [_entry(event) async for event in self.desk.store.read_all() if event.envelope.correlation_id == run]


def _entry(event: Recorded) -> Entry:
    envelope = event.envelope
    return Entry(
        position=event.position,
        stream=envelope.stream,
        version=envelope.version,
        type=envelope.type,
        time="",
        agent=envelope.actor,
        user=None,
        run=envelope.correlation_id,
        summary="",
        data=envelope.data,
    )


class Shop:
    """A service whose work is counted."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.actions: Actions = desk.actions(TOOL)
        self.done: list[str] = []

    async def act(self, context: Context, tool: str = "refund", cents: int = 30) -> Action:
        request = Request("tool.invoke", {"cents": cents}, tool)
        call: dict[str, JsonValue] = {
            "tenant": "acme",
            "user": "u-dana",
            "effect": "write",
            "kind": "worker",
            "version": "1",
            "untrusted": [],
        }
        question = Question("a-desk", "tool.invoke", "Tool", tool, call)
        return await self.actions.perform(
            self.actions.open(context), request, question, Work(self._work, notes=("amounts",))
        )

    async def _work(self, action: Action) -> Outcome:
        self.done.append(action.id)
        return Outcome(Finished(outcome="ok", result=len(self.done), duration_ms=1, cost_usd=0.5))

    async def trail(self, action: Action) -> list[Recorded]:
        return await self.desk.store.read(action.stream)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def auditor() -> Auditor:
    return Auditor()


@pytest.fixture
async def shop(auditor: Auditor) -> Shop:
    auditor.desk = desk = Desk("tool", auditor)
    await desk.publish(POLICIES)
    return Shop(desk)


@pytest.fixture
async def parent(shop: Shop) -> int:
    """A run that paid 30, then was refused; the position at which it asked for what was refused."""
    await shop.act(shop.desk.context("k1"))
    with pytest.raises(Forbidden):
        await shop.act(shop.desk.context("k2"), "denied")
    return next(event.position for event in [e async for e in shop.desk.store.read_all(category=TOOL)][3:])


def forked(shop: Shop, key: str, at: int, under: Fork | None = None, *, run: str = "r-2", of: str = "r-1") -> Context:
    fork = (under or Fork(run="", at=0)).model_copy(update={"run": of, "at": at})
    return shop.desk.context(key, run=run, fork=fork)


async def propose(shop: Shop, text: str, tenant: str = "acme") -> Fork:
    """Propose a set; what a fork under it has to name."""
    proposed = PoliciesProposed(
        digest=digest_bytes(text.encode()), files=(PolicyFile(name="p.cedar", text=text),), by="u-dev"
    )
    (event,) = await shop.desk.append(POLICY, proposed.digest, proposed, tenant=tenant)
    shop.desk.decisions.apply(event)
    return Fork(run="", at=0, policies=proposed.digest, policies_at=event.position)


async def test_what_the_parent_did_is_served_and_not_done(shop: Shop, parent: int) -> None:
    action = await shop.act(forked(shop, "k1", parent))
    origin = (await shop.desk.store.read(shop.actions.open(shop.desk.context("k1")).stream))[-1]
    assert (shop.done, action.state.finished and action.state.finished.result) == ([action.id], 1) or len(
        shop.done
    ) == 1
    trail = await shop.trail(action)
    assert [event.envelope.type for event in trail] == ["tool.requested.v1", "tool.decided.v1", "tool.finished.v1"]
    assert trail[-1].envelope.data["served_from"] == origin.position
    assert {event.envelope.correlation_id for event in trail} == {"r-2"}


async def test_what_others_look_for_is_noted_of_the_fork_too(shop: Shop, parent: int) -> None:
    action = await shop.act(forked(shop, "k1", parent))
    (note,) = await shop.desk.store.read(StreamName("acme", "tool_amounts", action.id))
    assert note.envelope.correlation_id == "r-2"


async def test_a_refusal_that_is_on_record_is_served_too(shop: Shop, parent: int) -> None:
    await shop.act(forked(shop, "k1", parent + (9 << 8)))
    with pytest.raises(Forbidden, match="nobody may") as caught:
        await shop.act(forked(shop, "k2", parent + (9 << 8)), "denied")
    assert len(shop.done) == 1 and "action" in caught.value.extra


async def test_then_it_is_live_under_its_own_policies(shop: Shop, parent: int) -> None:
    under = await propose(shop, PERMIT_ALL)
    served = await shop.act(forked(shop, "k1", parent, under))
    live = await shop.act(forked(shop, "k2", parent, under), "denied")
    assert shop.done[1:] == [live.id]
    versions = [{event.envelope.policy_version for event in await shop.trail(action)} for action in (served, live)]
    assert versions == [{digest_bytes(POLICIES.encode())}, {under.policies}]
    with pytest.raises(Forbidden):
        await shop.act(shop.desk.context("k9"), "denied")


async def test_without_policies_of_its_own_those_in_force_decide(shop: Shop, parent: int) -> None:
    await shop.act(forked(shop, "k1", parent))
    with pytest.raises(Forbidden, match="nobody may"):
        await shop.act(forked(shop, "k2", parent), "denied")


async def test_policies_that_were_never_proposed_here_are_refused(shop: Shop, parent: int) -> None:
    theirs = await propose(shop, PERMIT_ALL, tenant="other")
    await shop.act(forked(shop, "k1", parent, theirs))
    with pytest.raises(Forbidden, match="never proposed"):
        await shop.act(forked(shop, "k2", parent, theirs), "denied")
    with pytest.raises(Unavailable, match="not been read yet"):
        await shop.act(forked(shop, "k3", parent, Fork(run="", at=0, policies="other", policies_at=10**9)), "denied")
    assert len(shop.done) == 1


async def test_another_request_than_the_record_holds_is_refused_and_recorded(shop: Shop, parent: int) -> None:
    for key in ("k1", "k1"):
        with pytest.raises(Diverged) as caught:
            await shop.act(forked(shop, key, parent), cents=31)
    assert caught.value.extra["asked"] == "refund(cents=31)"
    assert caught.value.extra["expected"] == ["refund(cents=30)"]
    assert await shop.desk.types(TOOL) == [*STORED, "requested.v1", "finished.v1"] and len(shop.done) == 1


STORED = ["requested.v1", "decided.v1", "finished.v1"] * 2


async def test_the_same_key_meets_its_own_record_and_never_its_parents(
    shop: Shop, auditor: Auditor, parent: int
) -> None:
    first = await shop.act(forked(shop, "k1", parent))
    asked = auditor.asked
    again = await shop.act(forked(shop, "k1", parent))
    assert (again.id, auditor.asked) == (first.id, asked)
    assert first.id != shop.actions.open(shop.desk.context("k1")).id
    live = await shop.act(forked(shop, "k5", parent), cents=40)
    assert (await shop.act(forked(shop, "k5", parent), cents=40)).id == live.id
    assert len(shop.done) == 2
    for tool, cents in (("refund", 99), ("other", 30)):
        with pytest.raises(Conflict):
            await shop.act(forked(shop, "k1", parent), tool, cents)


async def test_a_yes_to_the_parent_is_none_to_its_fork(shop: Shop) -> None:
    with pytest.raises(ApprovalRequired) as first:
        await shop.act(shop.desk.context("k1"), "asked")
    with pytest.raises(ApprovalRequired) as second:
        await shop.act(forked(shop, "k1", 10**9), "asked")
    assert first.value.extra["digest"] != second.value.extra["digest"]
    allowed = await propose(shop, PERMIT_ALL)
    await shop.act(forked(shop, "k1", 10**9, allowed, run="r-3"), "asked")
    assert len(shop.done) == 1


async def test_a_fork_of_a_fork_is_served_from_the_fork(shop: Shop, parent: int) -> None:
    await shop.act(forked(shop, "k1", parent))
    await shop.act(forked(shop, "k2", parent), cents=40)
    again = await shop.act(forked(shop, "k1", 10**9, run="r-3", of="r-2"))
    assert again.state.finished is not None
    await shop.act(forked(shop, "k2", 10**9, run="r-3", of="r-2"), cents=40)
    assert len(shop.done) == 2


async def test_audit_away_means_not_now_and_audit_back_goes_on(shop: Shop, auditor: Auditor, parent: int) -> None:
    auditor.away = True
    with pytest.raises(Unavailable):
        await shop.act(forked(shop, "k1", parent))
    assert await shop.desk.types(TOOL) == STORED
    auditor.away = False
    await shop.act(forked(shop, "k1", parent))
    auditor.forget()
    await shop.act(forked(shop, "k2", parent), cents=40)
    assert len(shop.done) == 2


async def test_a_run_that_is_no_fork_asks_nobody(shop: Shop, auditor: Auditor, parent: int) -> None:
    assert auditor.asked == 0


async def test_a_refusal_before_any_policy_is_served_as_it_was(shop: Shop) -> None:
    request = Request("tool.invoke", {"cents": 1}, "gone")
    here = shop.actions
    await here.refuse(here.open(shop.desk.context("k1")), request, Conflict("there is no such tool"))
    with pytest.raises(Conflict, match="no such tool"):
        await here.recorded(here.open(forked(shop, "k1", 10**9)), request)
    assert await here.recorded(here.open(forked(shop, "k2", 10**9)), request) is None
