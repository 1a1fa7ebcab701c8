"""A question that is asked again: what was asked of people must not change by what the run reads meanwhile. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from dominie_contracts.endorsing import ENDORSEMENT
from dominie_contracts.provenance import REST, Label
from dominie_kit.governed.work import Action, Request
from dominie_kit.policy.question import Question
from dominie_kit.policy.shapes import PROVENANCE


def as_asked(action: Action, request: Request, question: Question | None) -> tuple[Request, Question | None]:
    """A repeated request, with where its arguments came from as it was when they were first given.

    What the run has read since then is not what they were made of. But what rested on people's word is asked about as
    it is now, where that was taken back.
    """
    before = action.state.decided
    if before is None or not before.labels or question is None:
        return request, question
    context = before.request.get("context")
    if not isinstance(context, dict) or _taken_back(before.labels, question.labels):
        return request, question
    told = {name: value for name, value in question.context.items() if name not in PROVENANCE}
    told |= {name: context[name] for name in PROVENANCE if name in context}
    labels = {name: label.integrity for name, label in before.labels.items()}
    return replace(request, labels=labels), replace(question, context=told, labels=before.labels)


def _taken_back(before: Mapping[str, Label], now: Mapping[str, Label]) -> bool:
    """Whether an argument that may have rested on an endorsement is not what that had made of it."""
    return any(_kind(label) != _kind(now.get(name)) for name, label in before.items() if _rests_on_people(label))


def _rests_on_people(label: Label) -> bool:
    """Where not all sources are named, one of the others may be an endorsement."""
    return any(source.startswith((f"{ENDORSEMENT}:", REST)) for source in label.sources)


def _kind(label: Label | None) -> object:
    return label and (label.integrity, label.readers)
