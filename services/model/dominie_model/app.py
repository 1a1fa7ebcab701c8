"""The model service, put together."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from dominie_contracts import StreamName
from dominie_contracts.action import Finished
from dominie_contracts.model import MODEL, OFFER, OFFERS, Chat, ListModels, Offer
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.tool import TOOL
from dominie_eventstore import EventStore
from dominie_kit import Context, Service
from dominie_kit.context import deadline_in
from dominie_model.adapters.litellm_provider import LiteLLMProvider
from dominie_model.adapters.provider import Provider, Target
from dominie_model.adapters.script import Script
from dominie_model.adapters.scripted import serve_scripted
from dominie_model.aggregate import decide
from dominie_model.handlers import Handlers
from dominie_model.projection import Offered, Told
from dominie_model.settings import SCRIPTED, ModelSetting, Settings

_START_S = 30.0
_FREE = {"model": SCRIPTED, "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
"""What has no price would end the budget of its run."""


class Providers:
    """litellm, and the scripted model where no other is offered, open for as long as the service lives."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._provider: Provider | None = None
        self.offers = settings.model_offers or dict.fromkeys(("auto", "scripted"), ModelSetting.model_validate(_FREE))
        self.targets: dict[str, Target] = {name: _target(offer) for name, offer in self.offers.items()}

    def provider(self) -> Provider:
        """The open provider."""
        assert self._provider is not None, "the service is not running"
        return self._provider

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open what the offers need."""
        async with AsyncExitStack() as stack:
            self._provider = await stack.enter_async_context(LiteLLMProvider.open())
            if not self._settings.model_offers:
                script = Script.load(self._settings.model_script)
                base = await stack.enter_async_context(serve_scripted(script))
                own = ModelSetting.model_validate({**_FREE, "api_base": base, "api_key": "scripted"})
                self.targets.update({name: _target(own) for name in self.targets})
            yield


def _target(offer: ModelSetting) -> Target:
    return Target(offer.model, offer.api_base, offer.api_key, offer.input_cost_per_token, offer.output_cost_per_token)


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """The model service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("model", settings, store=store)
    providers, offered = Providers(settings), Offered()
    told = {category: Told() for category in (MODEL, TOOL)}
    offers = tuple(
        Offer(name=name, provider=offer.model, slots=offer.slots) for name, offer in sorted(providers.offers.items())
    )
    actions = service.actions(MODEL)
    handlers = Handlers(
        actions,
        service.inner,
        service.stream,
        providers.provider,
        providers.targets,
        offers,
        tuple(told.values()),
        timeout_s=settings.model_timeout_s,
    )

    async def announce() -> None:
        context = Context(tenant=PLATFORM, principal="svc-model", key=uuid.uuid4().hex, deadline=deadline_in(_START_S))
        stream = StreamName(PLATFORM, OFFER, OFFERS)
        drafts = actions.drafts(context, stream, *decide(offered.state, offers))
        if drafts:
            await service.store.append(stream, drafts, expected_version=offered.version)

    service.resource(providers.open)
    service.follow(offered, OFFER)
    for category, each in told.items():
        service.follow(each, category, name=f"told_{category}", takes=(Finished,))
    service.background(announce)
    service.route(Chat, handlers.chat, resource="model", between=True)
    service.route(ListModels, handlers.list_models, token=False, between=True)
    return service
