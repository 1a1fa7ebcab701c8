"""A question that is asked again: what was asked of people must not change by what the run reads meanwhile. Pure."""

from dataclasses import replace

from dominie_kit.governed.work import Action, Request
from dominie_kit.policy.question import Question
from dominie_kit.policy.shapes import PROVENANCE


def as_asked(action: Action, request: Request, question: Question | None) -> tuple[Request, Question | None]:
    """A repeated request, with where its arguments came from as it was when they were first given.

    What the run has read since then is not what they were made of.
    """
    before = action.state.decided
    if before is None or not before.labels or question is None:
        return request, question
    context = before.request.get("context")
    if not isinstance(context, dict):
        return request, question
    told = {name: value for name, value in question.context.items() if name not in PROVENANCE}
    told |= {name: context[name] for name in PROVENANCE if name in context}
    labels = {name: label.integrity for name, label in before.labels.items()}
    return replace(request, labels=labels), replace(question, context=told, labels=before.labels)
