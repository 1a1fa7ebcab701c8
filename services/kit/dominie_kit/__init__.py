"""What every service process shares: the bus edge, the decision point, actions, settings, the runner."""

from dominie_kit.actions import Action, Actions, Lost, NotDone, Outcome, Request, Work
from dominie_kit.context import Context
from dominie_kit.decision import Question
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
