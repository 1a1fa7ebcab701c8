"""The judge, put together."""

from dominie_contracts.action import noted_in
from dominie_contracts.judge import JUDGE, Review
from dominie_contracts.model import Chat, Completion
from dominie_contracts.tool import TOOL
from dominie_eventstore import EventStore
from dominie_judge.adapters.model import ModelJudge
from dominie_judge.adapters.rules import RULES
from dominie_judge.aggregate import Panel
from dominie_judge.handlers import Handlers
from dominie_judge.projection import Deeds
from dominie_judge.settings import Settings
from dominie_kit import Context, Service


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """The judge as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    service = Service("judge", settings, store=store)

    async def ask(context: Context, chat: Chat, key: str) -> Completion:
        return await service.inner.call(context, chat, Completion, key=key)

    names = dict.fromkeys(name for name in settings.judge_model.replace(",", " ").split())
    models = [ModelJudge(name, ask, timeout_s=settings.judge_timeout_s) for name in names]
    panel = Panel(frozenset(judge.name for judge in RULES), settings.judge_quorum, settings.judge_on_abstention)
    deeds = Deeds(service.store)
    handlers = Handlers(service.actions(JUDGE), deeds, rules=RULES, models=models, panel=panel)
    service.follow(deeds, noted_in(TOOL, "amounts"))
    service.route(Review, handlers.review, between=True)
    return service
