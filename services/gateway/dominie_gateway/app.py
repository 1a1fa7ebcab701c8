"""The gateway, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dominie_contracts.identity import PRINCIPAL
from dominie_eventstore import EventStore
from dominie_gateway.adapters.http import Api, application
from dominie_gateway.adapters.live import LivePage
from dominie_gateway.adapters.people import People
from dominie_gateway.adapters.server import HttpServer
from dominie_gateway.handlers import Handlers
from dominie_gateway.people.clients import Clients
from dominie_gateway.people.code_flow import CodeFlow
from dominie_gateway.people.devices import Devices
from dominie_gateway.people.entrance import Entrance
from dominie_gateway.people.sessions import Sessions
from dominie_gateway.people.signing_in import SigningIn
from dominie_gateway.projection import Keys, Recent
from dominie_gateway.settings import Settings
from dominie_kit import Service


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """The gateway as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("gateway", settings, store=store)
    keys, recent = Keys(), Recent(settings.gateway_page_events)
    api = Api(
        Handlers(service.inner, keys, service.store.last_position), settings, lambda: service.inner.client.is_connected
    )
    clients = Clients(settings.gateway_client_secret_files)
    people, sessions = People(service.inner, clients, api.body), Sessions(service.standing)
    entrance = Entrance(people, sessions, token=settings.gateway_page_token, public_url=settings.gateway_public_url)
    server = HttpServer(
        application(
            api,
            LivePage(recent, entrance),
            people,
            Devices(entrance, clients, api.body),
            SigningIn(people, entrance, sessions, CodeFlow(clients)),
        ),
        host=settings.gateway_host,
        port=settings.gateway_port,
        place=settings.state / "gateway.json",
        stopping=recent.close,
    )

    @asynccontextmanager
    async def near_the_end() -> AsyncIterator[None]:
        recent.begin_near(await service.store.last_position())
        yield

    service.resource(near_the_end)
    service.resource(server.opened)
    service.follow(keys, PRINCIPAL)
    service.follow(recent, None)
    service.background(server.run)
    return service
