"""A chat completion request, as far as a script looks at it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _text(content: object) -> object:
    """The text of a content: a string, nothing, or a list of parts, of which images have no text."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return content


Text = Annotated[str, BeforeValidator(_text)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Function(_Part):
    """A function as a tool offers it, or as a message calls it."""

    name: str
    arguments: str = ""


class ToolCall(_Part):
    """A tool call in an assistant's message."""

    id: str
    function: Function


class Message(_Part):
    """One message; images and other parts without text are accepted and not looked at."""

    role: str
    content: Text = ""
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None


class Offer(_Part):
    """A tool the request offers."""

    function: Function | None = None


class StreamOptions(_Part):
    """How to stream."""

    include_usage: bool = False


class Conversation(BaseModel):
    """The body of `POST /v1/chat/completions`; other fields are accepted and not looked at."""

    model_config = ConfigDict(frozen=True)

    model: str
    messages: tuple[Message, ...] = Field(min_length=1)
    tools: tuple[Offer, ...] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @cached_property
    def offers(self) -> frozenset[str]:
        """The names of the tools offered."""
        return frozenset(tool.function.name for tool in self.tools or () if tool.function)

    @cached_property
    def turn(self) -> tuple[Message, ...]:
        """The messages since the last user message, that one first; all, where there is none."""
        starts = [index for index, message in enumerate(self.messages) if message.role == "user"]
        return self.messages[starts[-1] :] if starts else self.messages

    @cached_property
    def called(self) -> tuple[str, ...]:
        """The tools whose results came in this turn, in the order of the results."""
        calls = {call.id: call.function.name for message in self.turn for call in message.tool_calls or ()}
        results = (message for message in self.turn if message.role == "tool")
        return tuple(calls.get(message.tool_call_id or "", message.name or "") for message in results)

    @cached_property
    def system(self) -> str | None:
        """The text of all system (or developer) messages."""
        texts = [message.content for message in self.messages if message.role in {"system", "developer"}]
        return "\n".join(texts) if texts else None

    @cached_property
    def user(self) -> str | None:
        """The text of the last user message."""
        return next((message.content for message in reversed(self.messages) if message.role == "user"), None)

    @cached_property
    def tool(self) -> str | None:
        """The text of this turn's last tool result."""
        return next((message.content for message in reversed(self.turn) if message.role == "tool"), None)

    @cached_property
    def heard(self) -> str:
        """The text of all user and tool messages, in order."""
        return "\n".join(message.content for message in self.messages if message.role in {"user", "tool"})

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of the model, the messages' texts and calls, and the tools offered."""
        return hashlib.sha256(self.model_dump_json(include={"model", "messages", "tools"}).encode()).hexdigest()

    @cached_property
    def tokens(self) -> int:
        """Its length in tokens: a quarter of its characters, rounded up."""
        calls = (call.function for message in self.messages for call in message.tool_calls or ())
        length = sum(len(message.content) for message in self.messages)
        return -(-(length + sum(len(call.name) + len(call.arguments) for call in calls)) // 4)
