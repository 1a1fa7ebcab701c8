"""One rule of a script: when it matches, and what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from dominie_model.adapters.conversation import Conversation
from dominie_model.adapters.script_fill import fill, fill_text, names


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as fault:
        raise ValueError(f"{pattern!r} is no regular expression: {fault}") from None
    return pattern


Regex = Annotated[str, AfterValidator(_regex)]
Groups = dict[str, str]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class When(_Strict):
    """When a rule matches.

    Attributes:
        model: The model's exact name.
        last_role: The role of the last message.
        system: Searched in all system messages.
        user: Searched in the last user message.
        tool: Searched in the last tool result since the last user message.
        called: The tools with a result since the last user message: exactly these, in this order.
        offers: The name of a tool that the request offers.
    """

    model: str | None = None
    last_role: str | None = None
    system: Regex | None = None
    user: Regex | None = None
    tool: Regex | None = None
    called: tuple[str, ...] | None = None
    offers: str | None = None

    def match(self, conversation: Conversation) -> Groups | None:
        """The named groups of its regexes, or None where it does not match."""
        if not self._fits(conversation):
            return None
        groups: Groups = {}
        for pattern, text in self._searches(conversation):
            found = re.search(pattern, text) if text is not None else None
            if found is None:
                return None
            groups |= found.groupdict("")
        return groups

    def _fits(self, conversation: Conversation) -> bool:
        return (
            self.model in {None, conversation.model}
            and self.last_role in {None, conversation.messages[-1].role}
            and self.called in {None, conversation.called}
            and (self.offers is None or self.offers in conversation.offers)
        )

    def _searches(self, conversation: Conversation) -> Iterator[tuple[str, str | None]]:
        if self.system is not None:
            yield self.system, conversation.system
        if self.user is not None:
            yield self.user, conversation.user
        if self.tool is not None:
            yield self.tool, conversation.tool


class Call(_Strict):
    """A tool call to answer with."""

    name: str
    arguments: dict[str, JsonValue] = {}


class Reply(_Strict):
    """What to answer: `content`, `tool_calls`, or both. A content that is no string is sent as JSON text."""

    content: JsonValue = None
    tool_calls: tuple[Call, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("a reply needs content or tool_calls")
        return self


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call of an answer; the arguments are JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule says to a conversation, its placeholders filled."""

    content: str | None
    tool_calls: tuple[Called, ...]
    delay_s: float
    status: int | None
    retry_after_s: float | None


class Rule(_Strict):
    """One rule."""

    when: When = When()
    find: dict[str, Regex] = {}
    reply: Reply
    delay_ms: float = Field(default=0, ge=0)
    status: int | None = Field(default=None, ge=400, le=599)
    retry_after_s: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _fillable(self) -> Self:
        patterns = [self.when.system, self.when.user, self.when.tool, *self.find.values()]
        known = {name for pattern in patterns if pattern is not None for name in re.compile(pattern).groupindex}
        unknown = set(names(self.reply.model_dump(mode="json"))) - known - set(self.find)
        if unknown:
            raise ValueError(f"no regex of this rule fills {', '.join(sorted(unknown))}; write {{{{ for a brace")
        return self

    def answer(self, conversation: Conversation) -> Answer | None:
        """The answer, or None where the rule does not match.

        Raises:
            Unfillable: It matches, but a text that should become a number is none.
        """
        groups = self.when.match(conversation)
        found = None if groups is None else self._find(conversation.heard)
        if groups is None or found is None:
            return None
        values = groups | found
        calls = tuple(Called(call.name, _json(fill(call.arguments, values))) for call in self.reply.tool_calls)
        content = self.reply.content
        if content is not None:
            content = fill_text(content, values) if isinstance(content, str) else _json(fill(content, values))
        return Answer(content, calls, self.delay_ms / 1000, self.status, self.retry_after_s)

    def _find(self, text: str) -> Groups | None:
        groups: Groups = {}
        for field, pattern in self.find.items():
            found = None
            for found in re.finditer(pattern, text):  # noqa: B007  the last match is wanted
                pass
            if found is None:
                return None
            groups |= {field: (found[1] or "") if found.re.groups else found[0], **found.groupdict("")}
        return groups


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)
