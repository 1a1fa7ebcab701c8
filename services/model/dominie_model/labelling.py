"""Where the messages of a chat came from, so that its answer is as good as the worst of them (decision 0030). Pure.

A text is known if this run was given it, whole, by a model or a tool. Else the agent's own program writes the system's
messages, the user what the run token has the digest of, and anybody may have written all other texts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from dominie_contracts.digests import digest_bytes, digest_json
from dominie_contracts.model import MODEL
from dominie_contracts.provenance import Label, bounded, join
from dominie_contracts.seen import MADE
from dominie_contracts.typed import plain

Messages = Sequence[Mapping[str, JsonValue]]
UNKNOWN = Label(integrity="untrusted")
_READ = ("role", "content", "tool_calls", "function_call", "tool_call_id")
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""Whose message it is, or of which tool: no text."""


def of_answer(messages: Messages, known: Mapping[str, Label], request_digest: str | None) -> Label:
    """What a model makes of these messages."""
    found = [MADE, *(label for message in messages for label in _of_message(message, known, request_digest))]
    whole = join(found)
    return whole.model_copy(update={"sources": bounded(whole.sources)})


def told(category: str, result: JsonValue) -> Iterator[str]:
    """The digests of the texts that an outcome gave to its run."""
    if category != MODEL:
        yield _digest(result)
        return
    choices = result.get("choices") if isinstance(result, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict):
            yield from map(_digest, _texts(message))


def _of_message(message: Mapping[str, JsonValue], known: Mapping[str, Label], digest: str | None) -> Iterator[Label]:
    role = message.get("role")
    own = role in ("system", "developer")
    for text in _texts(message):
        if role == "user" and digest is not None and isinstance(text, str) and digest_bytes(text.encode()) == digest:
            yield Label(integrity="user", sources=(f"request:{digest}",))
        else:
            yield known.get(_digest(text)) or known.get(_digest(_parsed(text))) or (MADE if own else UNKNOWN)


def _texts(message: Mapping[str, JsonValue]) -> Iterator[JsonValue]:
    """All that a message says: its text, its parts, the arguments of its calls, and what stands beside them."""
    content = message.get("content")
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
        if text not in (None, ""):
            yield text
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else [message.get("function_call")]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if function is not None:
            yield function.get("arguments") if isinstance(function, dict) else function
    for word, value in message.items():
        names = word == "name" and isinstance(value, str) and _NAME.fullmatch(value)
        if word not in _READ and value and not names:
            yield value


def _digest(value: JsonValue) -> str:
    return digest_bytes(plain(value).encode(errors="surrogatepass")) if isinstance(value, str) else digest_json(value)


def _parsed(text: JsonValue) -> JsonValue:
    """What a text is as JSON: a tool's result is handed to models so."""
    try:
        found: JsonValue = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text
    return found
