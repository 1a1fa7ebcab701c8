"""A streamed chat completion: deltas as they come, in order, and in the end exactly what the reply says."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from nats.aio.msg import Msg
from pydantic import JsonValue, ValidationError

from dominie._connection import Subscription
from dominie._link import Link
from dominie_contracts.model import Delta

Chunk = dict[str, JsonValue]
"""OpenAI's `chat.completion.chunk`."""


class Assembler:
    """Hands on each delta once and in order; what got lost on the way is taken from the reply."""

    def __init__(self, on_delta: Callable[[Chunk], object]) -> None:
        self._on_delta = on_delta
        self._next = 0
        self._first: Chunk | None = None
        self._live = True
        self._finished = False
        self._text = ""
        self._calls: dict[int, str] = {}
        self._error: Exception | None = None

    def feed(self, delta: Delta) -> None:
        """One delta off the bus; repeated ones are dropped, and after a gap nothing is live any more."""
        if delta.number == 0 and self._first not in (None, delta.chunk):
            self._live = False  # another instance began anew, and may say something else
        if not self._live or delta.number < self._next:
            return
        if delta.number > self._next:
            self._live = False
            return
        self._first = delta.chunk if delta.number == 0 else self._first
        self._next += 1
        self._fold(delta.chunk)
        self._emit(delta.chunk)

    def finish(self, completion: Chunk) -> None:
        """Hand on what the reply has beyond the deltas.

        Raises:
            Exception: What the callback raised.
        """
        self._live = False
        rest = self._rest(_first_choice(completion))
        if rest is not None:
            shared: Chunk = {name: completion[name] for name in ("id", "created", "model") if name in completion}
            self._emit({**shared, "object": "chat.completion.chunk", "choices": [rest]})
        if self._error is not None:
            raise self._error

    def _emit(self, chunk: Chunk) -> None:
        if self._error is None:
            try:
                self._on_delta(chunk)
            except Exception as error:
                self._error = error

    def _fold(self, chunk: Chunk) -> None:
        choice = _first_choice(chunk)
        delta = choice.get("delta") or {}
        self._text += delta.get("content") or ""
        for call in delta.get("tool_calls") or ():
            index = call.get("index", 0)
            self._calls[index] = self._calls.get(index, "") + ((call.get("function") or {}).get("arguments") or "")
        self._finished = self._finished or choice.get("finish_reason") is not None

    def _rest(self, choice: dict[str, Any]) -> Chunk | None:
        message = choice.get("message") or {}
        delta: dict[str, Any] = {} if self._next else {"role": message.get("role", "assistant")}
        text = message.get("content") or ""
        if text.startswith(self._text) and text != self._text:
            delta["content"] = text.removeprefix(self._text)
        calls = [
            found for i, call in enumerate(message.get("tool_calls") or ()) if (found := self._rest_of_call(i, call))
        ]
        if calls:
            delta["tool_calls"] = calls
        if not delta and self._finished:
            return None
        return {"index": 0, "delta": delta, "finish_reason": choice.get("finish_reason")}

    def _rest_of_call(self, index: int, call: dict[str, Any]) -> dict[str, Any] | None:
        arguments = (call.get("function") or {}).get("arguments") or ""
        begun = self._calls.get(index)
        if begun is None:
            return {**call, "index": index}
        left = arguments.removeprefix(begun)
        return {"index": index, "function": {"arguments": left}} if arguments.startswith(begun) and left else None


class Deltas:
    """Hears one run's `out.` subject, from its first streamed call on."""

    def __init__(self, link: Link, subject: str) -> None:
        self._link = link
        self._subscription = Subscription(subject, self._heard)
        self._open = False
        self._one = asyncio.Lock()
        self._assemblers: dict[str, Assembler] = {}

    async def hear(self, stream_id: str, assembler: Assembler) -> None:
        """Hand the deltas of one call to an assembler."""
        self._assemblers[stream_id] = assembler
        async with self._one:
            if not self._open:
                await self._link.subscribe(self._subscription)
                self._open = True

    def ignore(self, stream_id: str) -> None:
        """The call is over."""
        self._assemblers.pop(stream_id, None)

    async def close(self) -> None:
        """Hear no more."""
        if self._open:
            self._open = False
            await self._link.unsubscribe(self._subscription)

    def _heard(self, message: Msg) -> None:
        try:
            if json.loads(message.data).get("kind") != "delta":
                return
            delta = Delta.model_validate_json(message.data)
        except (ValueError, AttributeError, ValidationError):
            return  # progress of a kind that this version does not know
        assembler = self._assemblers.get(delta.stream_id)
        if assembler is not None:
            assembler.feed(delta)


def _first_choice(chunk: Chunk) -> dict[str, Any]:
    choices = chunk.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
