"""Audit, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dominie_audit.handlers import Handlers
from dominie_audit.projection import Log
from dominie_audit.settings import Settings
from dominie_contracts.audit import ListRuns, Search, Trail, VerifyLog
from dominie_eventstore import EventStore
from dominie_kit import Service


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """Audit as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("audit", settings, store=store)
    folder = settings.state / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    log = Log(folder / "log.sqlite")
    handlers = Handlers(service.store, log, reply_bytes=settings.audit_reply_bytes)

    @asynccontextmanager
    async def kept() -> AsyncIterator[None]:
        with log:
            yield

    service.resource(kept)
    service.follow(log, None)
    service.route(Trail, handlers.trail, token=False)
    service.route(Search, handlers.search, token=False)
    service.route(ListRuns, handlers.runs, token=False)
    service.route(VerifyLog, handlers.verify, token=False)
    return service
