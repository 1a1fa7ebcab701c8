"""The scheduler, put together."""

from dominie_contracts.model import OFFER
from dominie_contracts.scheduler import PERMIT, AskPermit, ListCeilings, ReleasePermit
from dominie_eventstore import EventStore
from dominie_kit import Service
from dominie_scheduler.handlers import Handlers
from dominie_scheduler.listing import CeilingHandlers
from dominie_scheduler.projection import Budgets, Offers, Slots
from dominie_scheduler.settings import Settings


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """The scheduler as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("scheduler", settings, store=store)
    slots, offers, budgets = Slots(), Offers(), Budgets()
    handlers = Handlers(
        service.store,
        service.actions(PERMIT),
        slots,
        offers,
        default_slots=settings.scheduler_default_slots,
        reserve_usd=settings.scheduler_reserve_usd,
    )
    service.follow(slots, PERMIT)
    service.follow(offers, OFFER)
    service.follow(budgets, PERMIT)
    service.route(AskPermit, handlers.permit, token=False, direct=False, between=True)
    service.route(ReleasePermit, handlers.release, token=False, direct=False, between=True)
    service.route(ListCeilings, CeilingHandlers(budgets, slots).ceilings, token=False)
    return service
