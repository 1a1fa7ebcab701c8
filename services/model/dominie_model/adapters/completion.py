"""An answer in the shapes of the OpenAI API: one completion, or a stream of chunks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TypeAlias

from dominie_model.adapters.conversation import Conversation
from dominie_model.adapters.script_rule import Answer

Json: TypeAlias = dict[str, object]

_PIECE = re.compile(r"\S*\s*")
_ARGUMENTS_PIECE = 16


def completion(conversation: Conversation, answer: Answer) -> Json:
    """The answer as a `chat.completion`."""
    message: Json = {"role": "assistant", "content": answer.content}
    if answer.tool_calls:
        message["tool_calls"] = _calls(conversation, answer)
    choice = {"index": 0, "message": message, "finish_reason": _finish(answer), "logprobs": None}
    return _head(conversation, "chat.completion") | {"choices": [choice], "usage": usage(conversation, answer)}


def chunks(conversation: Conversation, answer: Answer) -> Iterator[Json]:
    """The answer as `chat.completion.chunk`s: a word, or a piece of a call's arguments, at a time."""
    head = _head(conversation, "chat.completion.chunk")
    with_usage = conversation.stream_options is not None and conversation.stream_options.include_usage

    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return head | {"choices": [choice]} | ({"usage": None} if with_usage else {})

    yield chunk({"role": "assistant", "content": None if answer.content is None else ""})
    for piece in _PIECE.findall(answer.content or ""):
        if piece:
            yield chunk({"content": piece})
    for delta in _call_deltas(conversation, answer):
        yield chunk({"tool_calls": [delta]})
    yield chunk({}, _finish(answer))
    if with_usage:
        yield head | {"choices": [], "usage": usage(conversation, answer)}


def usage(conversation: Conversation, answer: Answer) -> Json:
    """Token counts: a quarter of the characters, rounded up."""
    said = len(answer.content or "") + sum(len(call.name) + len(call.arguments) for call in answer.tool_calls)
    tokens = -(-said // 4)
    return {
        "prompt_tokens": conversation.tokens,
        "completion_tokens": tokens,
        "total_tokens": conversation.tokens + tokens,
    }


def _head(conversation: Conversation, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{conversation.digest[:24]}",
        "object": kind,
        "created": 0,  # the same conversation gets the same bytes
        "model": conversation.model,
    }


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.tool_calls else "stop"


def _calls(conversation: Conversation, answer: Answer) -> list[Json]:
    return [
        {
            "id": _call_id(conversation, index),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(answer.tool_calls)
    ]


def _call_deltas(conversation: Conversation, answer: Answer) -> Iterator[Json]:
    for index, call in enumerate(answer.tool_calls):
        yield {
            "index": index,
            "id": _call_id(conversation, index),
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        for start in range(0, len(call.arguments), _ARGUMENTS_PIECE):
            piece = call.arguments[start : start + _ARGUMENTS_PIECE]
            yield {"index": index, "function": {"arguments": piece}}


def _call_id(conversation: Conversation, index: int) -> str:
    return "call_" + hashlib.sha256(f"{conversation.digest}/{index}".encode()).hexdigest()[:24]
