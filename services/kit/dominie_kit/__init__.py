"""What every service process shares: the bus edge, the decision point, actions, settings, the runner."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dominie_kit.context import Context
    from dominie_kit.governed.actions import Actions
    from dominie_kit.governed.work import Action, Lost, NotDone, Outcome, Request, Work
    from dominie_kit.policy.question import Question
    from dominie_kit.service import Service
    from dominie_kit.settings import KitSettings

__all__ = [
    "Action",
    "Actions",
    "Context",
    "KitSettings",
    "Lost",
    "NotDone",
    "Outcome",
    "Question",
    "Request",
    "Service",
    "Work",
]
_HOMES = {
    "Actions": "governed.actions",
    "Context": "context",
    "KitSettings": "settings",
    "Question": "policy.question",
    "Service": "service",
}


def __getattr__(name: str) -> object:
    """Import on first use: `dominie --help` must not wait for what only services need."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'governed.work')}"), name)
