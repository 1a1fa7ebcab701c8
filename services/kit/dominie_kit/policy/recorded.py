"""Decisions as the log holds them, and made again. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue, ValidationError

from dominie_contracts import StreamName
from dominie_contracts.action import Decided, Decision, Limit
from dominie_contracts.audit import Entry
from dominie_contracts.personal import is_hidden
from dominie_kit.policy.looked_for import known
from dominie_kit.policy.policies import UNDECIDABLE, Policies
from dominie_kit.policy.question import Question
from dominie_kit.policy.schema import ARGUMENTS
from dominie_kit.policy.shapes import INVOKE, LINKS, MIN, UNKNOWN, VERSION

_MISSING = "does not have the attribute"


class Lost(ValueError):
    """A decision that cannot be made again; its text says why, in words that many share."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision as it was made: what the policies said, before any yes of a person."""

    position: int
    action: str
    time: str
    agent: str
    user: str | None
    decision: Decision
    policies: tuple[str, ...]
    groups: tuple[str, ...] | None
    """Who was asked; None where they had said yes already, so that it does not say."""
    why: str
    limits: tuple[Limit, ...]
    question: Question
    clock_s: int

    @classmethod
    def of(cls, entry: Entry) -> "Recorded":
        """What an event says.

        Raises:
            Lost: Its request was erased, or is not one.
        """
        if is_hidden(entry.data.get("request")):
            raise Lost("erased")
        try:
            decided = Decided.model_validate(entry.data)
            question = question_of(decided.request)
        except (ValidationError, KeyError, TypeError, AttributeError) as error:
            raise Lost("not a request that can be read") from error
        had_yes = decided.decision == "allow" and decided.why == ("approved",)
        return cls(
            position=entry.position,
            action=StreamName.parse(entry.stream).id,
            time=entry.time,
            agent=entry.agent,
            user=entry.user,
            decision="ask" if had_yes else decided.decision,
            policies=decided.policies,
            groups=None if had_yes else tuple(sorted({ask.group for ask in decided.asks})),
            why="; ".join(decided.why),
            limits=decided.limits,
            question=question,
            clock_s=int(datetime.fromisoformat(entry.time).timestamp()) if decided.clock_s is None else decided.clock_s,
        )

    @property
    def amount(self) -> int | None:
        """The amount that it was about."""
        found = self.question.context.get("amount")
        return found if isinstance(found, int) else None


def question_of(request: Mapping[str, JsonValue]) -> Question:
    """The question that a recorded request is."""
    named = {part: _mapping(request[part]) for part in ("principal", "action", "resource", "context")}
    resource = named["resource"]
    return Question(
        str(named["principal"]["id"]),
        str(named["action"]["id"]),
        str(resource["type"]),
        str(resource["id"]),
        named["context"],
    )


def again(recorded: Recorded, policies: Policies) -> Decided:
    """The same request under other policies, at the same time.

    Raises:
        Lost: They look at something that was not recorded, the request did not fit its tool's schema then, or they
            have other limits, which only live calls use up. Nor where a check did not look then that they look at.
    """
    question = recorded.question
    if ARGUMENTS in policies.looks_at(question) and _of_tool(question) and ARGUMENTS not in question.context:
        raise Lost("the arguments were not recorded then")
    if _of_call(question) and _origins(policies.looks_at(question)) - question.context.keys():
        raise Lost("where the arguments came from was not recorded then")
    if not known(question.context, policies.seeks(question)):
        raise Lost("the checks that they look at did not look then")
    decided = policies.decide(question, clock_s=recorded.clock_s)
    if decided.why and _MISSING in decided.why[0]:
        raise Lost("an attribute was not recorded then")
    if recorded.why.startswith(UNDECIDABLE) and decided.decision != recorded.decision:
        raise Lost("it could not be decided then")
    if decided.decision != "deny" and decided.limits != recorded.limits:
        raise Lost("another limit counts what calls have together")
    return decided


def _origins(looked_at: frozenset[str]) -> set[str]:
    """What says where arguments came from, and was not always recorded, of what policies look at."""
    found = {MIN} if looked_at & {MIN, "readers", "outside"} else set[str]()
    return found | (looked_at & {UNKNOWN, LINKS})


def changed(recorded: Recorded, decided: Decided) -> bool:
    """Whether it would go otherwise: another decision, or other people to ask."""
    groups = tuple(sorted({ask.group for ask in decided.asks}))
    return decided.decision != recorded.decision or (recorded.groups is not None and groups != recorded.groups)


def _of_tool(question: Question) -> bool:
    return question.action == INVOKE or VERSION in question.action


def _of_call(question: Question) -> bool:
    return question.action == "tool.begin" or _of_tool(question)


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value
