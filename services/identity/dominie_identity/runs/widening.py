"""Lets a run do more than it was let, once people have said yes to exactly that."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakValueDictionary

from pydantic import JsonValue

from dominie_contracts import Forbidden, Grants, Invalid, Problem, RunClaims
from dominie_contracts.action import Approved, Finished
from dominie_contracts.digests import digest_json
from dominie_contracts.identity import Registered
from dominie_contracts.registry import parse_own
from dominie_contracts.runs import RunToken, RunWidened, WidenRun
from dominie_contracts.token import EVERYTHING
from dominie_eventstore import EventStore
from dominie_identity.projection import Catalog, Offers
from dominie_identity.runs.authority import KINDS, Authority, missing
from dominie_identity.runs.handlers import RunHandlers
from dominie_kit import Action, Actions, Context, Outcome, Question, Request, Work
from dominie_kit.policy.shapes import WIDEN
from dominie_kit.policy.widening import widening

MAX_NAMES = 50
_USD = "max_cost_usd"


class Widening:
    """Answers `identity.widen`."""

    def __init__(
        self, store: EventStore, actions: Actions, runs: RunHandlers, catalog: Catalog, offers: Offers
    ) -> None:
        self._store = store
        self._actions = actions
        self._runs = runs
        self._catalog = catalog
        self._offers = offers
        self._one: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Those that ask the same here, by its action, take turns: the edge tells apart what comes under other keys."""

    async def widen(self, command: WidenRun, context: Context) -> RunToken:
        """A token with more, once people have said yes; the same asked again, under whatever key, is one action.

        Raises:
            ApprovalRequired: They have not yet.
            Forbidden: They said no; or it is more than the agent's registration grants, or not this run's to ask.
            Invalid: There is no such tool or model.
        """
        claims = context.claims
        assert claims is not None
        asked = replace(context, key=f"widen {claims.run} {digest_json(command.model_dump(mode='json'))}")
        try:
            await self._asked(command, asked, claims)
        finally:
            context.position = asked.position
        return await self._runs.renewed(context)

    async def _asked(self, command: WidenRun, context: Context, claims: RunClaims) -> None:
        action = self._actions.open(context)
        async with self._one.setdefault(action.id, asyncio.Lock()):
            await self._perform(command, action, claims)

    async def _perform(self, command: WidenRun, action: Action, claims: RunClaims) -> None:
        context = action.context
        agent, authority = await self._runs.may(context)
        known = (await self._actions.load(context, action.id)).state.requested
        if known is None and not _more(command, authority, claims.run):
            return
        more = dict(known.arguments) if known else _arguments(command, authority, claims.run)
        request = Request(WIDEN, more)
        try:
            if known is None:
                self._check(command, agent, authority, claims)
        except Problem as problem:
            raise await self._actions.refuse(action, request, problem) from problem
        await self._actions.perform(action, request, _question(claims, more), Work(self._grant, effect=True))

    async def _grant(self, action: Action) -> Outcome:
        """Write what was allowed, by whom; the record alone says that anybody did."""
        begun, claims = time.perf_counter(), action.context.claims
        requested = action.state.requested
        assert claims is not None and requested is not None
        trail = [parse_own(event) for event in await self._store.read(action.stream)]
        by = tuple(dict.fromkeys(name for each in trail if isinstance(each, Approved) for name in each.by))
        if not by:
            raise Forbidden("a run is widened by a person's yes alone", action=action.id)
        agent, _ = await self._runs.may(action.context)
        grants, usd = _of(requested.arguments)
        event = RunWidened(
            run=claims.run,
            agent=agent.principal,
            user=claims.sub,
            action=action.id,
            grants=grants,
            max_cost_usd=usd,
            by=by,
        )
        await self._runs.widened(event, action.context)
        duration_ms = round((time.perf_counter() - begun) * 1000, 3)
        return Outcome(Finished(outcome="ok", result=requested.arguments, duration_ms=duration_ms))

    def _check(self, command: WidenRun, agent: Registered, authority: Authority, claims: RunClaims) -> None:
        """Whether people may be asked at all."""
        if claims.fork is not None:
            raise Invalid("a forked run cannot be widened")
        if claims.parents:
            raise Forbidden(f"run {claims.run!r} is part of another one: that may be widened, and hand more on")
        names = [name for kind in KINDS for name in getattr(command.grants, kind)]
        if EVERYTHING in names or len(names) > MAX_NAMES:
            raise Invalid(f"a run asks for up to {MAX_NAMES} things, each by its name")
        for kind, beyond in ((kind, getattr(missing(agent.grants, command.grants), kind)) for kind in KINDS):
            if beyond:
                raise Forbidden(f"{kind} {beyond[0]!r} is more than {agent.principal} is registered with")
        self._check_there(claims.tenant, command.grants)
        if command.max_cost_usd is not None and all(each.run != claims.run for each in authority.ceilings):
            raise Invalid(f"run {claims.run!r} has no ceiling to raise")

    def _check_there(self, tenant: str, grants: Grants) -> None:
        for name in grants.tools:
            if name not in self._catalog.tools(tenant):
                raise Invalid(f"no tool {name!r} is registered; `dominie tool list` shows what is")
        for name in grants.models:
            if name not in self._offers.models:
                raise Invalid(f"no model {name!r} is offered")


def _more(command: WidenRun, authority: Authority, run: str) -> bool:
    """Whether it is more than the run may do anyway."""
    usd = command.max_cost_usd
    mine = [each.max_cost_usd for each in authority.ceilings if each.run == run]
    return missing(authority.grants, command.grants) != Grants() or (usd is not None and (not mine or usd > mine[0]))


def _arguments(command: WidenRun, authority: Authority, run: str) -> dict[str, JsonValue]:
    """Exactly what would be added, as people are shown it, to what, and why."""
    grants = missing(authority.grants, command.grants)
    found: dict[str, JsonValue] = {}
    for kind in (each for each in KINDS if getattr(grants, each)):
        found |= {kind: [*getattr(grants, kind)], f"now_{kind}": [*getattr(authority.grants, kind)]}
    usd, mine = command.max_cost_usd, [each.max_cost_usd for each in authority.ceilings if each.run == run]
    if usd is not None and (not mine or usd > mine[0]):
        found[_USD] = usd
        found |= {"now_usd": mine[0]} if mine else {}
    return {**found, "reason": command.reason}


def _of(arguments: Mapping[str, JsonValue]) -> tuple[Grants, float | None]:
    usd = arguments.get(_USD)
    assert usd is None or isinstance(usd, int | float)
    return Grants.model_validate({kind: arguments.get(kind, ()) for kind in KINDS}), usd


def _question(claims: RunClaims, more: Mapping[str, JsonValue]) -> Question:
    grants, usd = _of(more)
    return widening(claims.agent, claims.run, grants, usd, tenant=claims.tenant, user=claims.sub)
