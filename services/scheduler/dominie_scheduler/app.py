"""The scheduler, put together."""

from dominie_contracts.model import OFFER
from dominie_contracts.scheduler import PERMIT, AskPermit, ReleasePermit
from dominie_eventstore import EventStore
from dominie_kit import Service
from dominie_scheduler.handlers import Handlers
from dominie_scheduler.projection import Offers, Slots
from dominie_scheduler.settings import Settings


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """The scheduler as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("scheduler", settings, store=store)
    slots, offers = Slots(), Offers()
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
    service.route(AskPermit, handlers.permit, token=False, direct=False, between=True)
    service.route(ReleasePermit, handlers.release, token=False, direct=False, between=True)
    return service
