"""Memory, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dominie_contracts.endorsing import ENDORSEMENT, Endorsed, EndorsementRevoked
from dominie_contracts.memory import MEMORY, AddTurn, ListTurns, Recall, Remember
from dominie_eventstore import EventStore
from dominie_kit import Service
from dominie_kit.governed.given import Provenance
from dominie_memory.handlers import Handlers
from dominie_memory.projection import Endorsements, Library
from dominie_memory.settings import Settings


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """Memory as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("memory", settings, store=store)
    library = Library(settings.state / "memory", service.keyring.term)
    provenance, endorsed = Provenance(), Endorsements()
    handlers = Handlers(service.actions(MEMORY), library, service.keyring, provenance, endorsed, service.standing)

    @asynccontextmanager
    async def files() -> AsyncIterator[None]:
        with library.open():
            yield

    service.resource(files)
    service.follow(library, MEMORY, indexed=True)
    provenance.follow(service)
    service.follow(endorsed, ENDORSEMENT, takes=(Endorsed, EndorsementRevoked), own=False)
    service.route(Remember, handlers.remember, resource="namespace")
    service.route(Recall, handlers.recall, resource="namespace")
    service.route(AddTurn, handlers.add_turn)
    service.route(ListTurns, handlers.turns)
    return service
