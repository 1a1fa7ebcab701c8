"""newservice, put together."""

from dominie_contracts.newservice import NEWSERVICE, ListNotes, Note
from dominie_eventstore import EventStore
from dominie_kit import Service
from dominie_newservice.handlers import Handlers
from dominie_newservice.projection import Kept
from dominie_newservice.settings import Settings


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """newservice as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("newservice", settings, store=store)
    kept = Kept()
    handlers = Handlers(service.actions(NEWSERVICE), kept, list_max=settings.newservice_list_max)
    service.follow(kept, NEWSERVICE)
    service.route(Note, handlers.note)
    service.route(ListNotes, handlers.list_notes)
    return service
