"""Guardrail, put together."""

import uuid

import structlog

from dominie_contracts import Problem
from dominie_contracts.action import noted_in
from dominie_contracts.endorsing import ENDORSEMENT
from dominie_contracts.guardrail import (
    APPROVAL,
    POLICY,
    Approve,
    ListApprovals,
    ListLimits,
    ProposePolicies,
    PublishPolicies,
    Reserve,
)
from dominie_contracts.identity import WIDENING
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.rights import caller
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.tool import CATALOG, TOOL
from dominie_eventstore import EventStore
from dominie_guardrail.adapters.refusals import Refusals, writer
from dominie_guardrail.handlers import Handlers
from dominie_guardrail.limits.handlers import LimitHandlers
from dominie_guardrail.limits.ledger import Ledger
from dominie_guardrail.projection import Answers, Asked, InForce, Notes, Shapes
from dominie_guardrail.settings import DEFAULT_POLICIES, Settings
from dominie_kit import Context, Service
from dominie_kit.bus import now_ms
from dominie_kit.context import deadline_in
from dominie_kit.errors import KitError
from dominie_kit.policy.folder import read_policies

log = structlog.get_logger()
_START_S = 30.0


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """Guardrail as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("guardrail", settings, store=store)
    in_force, asked, shapes = InForce(), Asked(service.store), Shapes()
    actions = service.actions(APPROVAL)
    refusals = Refusals(writer(service.store, actions), every_s=settings.guardrail_refusals_s)
    ledger = Ledger(service.store, actions, vanish_s=settings.guardrail_vanish_s)
    limits = LimitHandlers(service.store, ledger, in_force.limits, service.keyring.of)
    handlers = Handlers(
        service.store,
        actions,
        service.standing,
        asked,
        refusals,
        service.keyring.of,
        shapes,
        now_ms=now_ms,
        approval_s=settings.guardrail_approval_s,
        local=settings.local,
    )
    service.in_force = lambda: (in_force.digest, in_force.position)
    service.follow(in_force, POLICY)
    service.follow(shapes, CATALOG)
    for category in (TOOL, MODEL, MEMORY, WIDENING, ENDORSEMENT):
        service.follow(Notes(asked, category), noted_in(category, "parked"), name=f"asked-{category}")
    service.follow(Answers(asked), APPROVAL)
    service.route(PublishPolicies, handlers.publish, token=False, direct=False, between=True)
    service.route(ProposePolicies, handlers.propose, token=False)
    service.route(ListApprovals, handlers.approvals, token=False)
    service.route(Approve, handlers.approve, token=False)
    service.route(ListLimits, limits.limits, token=False)
    service.route(Reserve, ledger.reserve, direct=False, between=True)

    async def publish_at_start() -> None:
        folder = settings.guardrail_policies
        if folder is None and in_force.digest is not None:
            return
        context = Context(
            tenant=PLATFORM,
            principal=caller(PublishPolicies.NAME),
            key=uuid.uuid4().hex,
            deadline=deadline_in(_START_S),
        )
        try:
            await handlers.publish(PublishPolicies(files=read_policies(folder or DEFAULT_POLICIES)), context)
        except (Problem, KitError) as problem:
            log.error("guardrail.policies_refused", folder=str(folder), why=str(problem))

    async def settle() -> None:
        await ledger.run(settings.guardrail_settle_s)

    service.background(publish_at_start)
    service.background(settle)
    service.background(refusals.run)
    return service
