"""OpenAI's chat completions in and out of Dominie's own words. Pure.

Source: OpenAI's API reference, "Create chat completion" and "The chat completion chunk object".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from dominie_contracts import DeadlineExceeded, Invalid, Problem, QuotaExceeded, Unavailable
from dominie_contracts.model import Chat, Models

Json = dict[str, JsonValue]

PASSED: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "top_p",
        "verbosity",
    }
)
"""Options that reach the model."""
IGNORED: Final = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"})
"""Options that are about OpenAI's own house; here the API key says who asks."""
_PIECE = re.compile(r"\s*(?:\S+\s*){1,4}|\s+")
_ERRORS: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, translated."""

    chat: Chat
    stream: bool
    include_usage: bool


class NotFound(Invalid):
    """Nothing lives at this path."""

    title, status = "Not found", 404


class WrongMethod(Invalid):
    """Something lives at this path, but it does not take this method."""

    title, status = "Method not allowed", 405


class TooLarge(Invalid):
    """The request's body is larger than a command may be."""

    title, status = "Request too large", 413


class TooSlow(DeadlineExceeded):
    """The request's body did not arrive in time."""

    title, status = "Request too slow", 408


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class _Request(BaseModel):
    model_config = ConfigDict(extra="allow")
    messages: tuple[Json, ...]
    model: str = "auto"
    tools: tuple[Json, ...] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None


def parse_chat(body: bytes) -> Asked:
    """A request's body as a command.

    Raises:
        Invalid: It is no request, or asks for what there is not; the text names the field.
    """
    try:
        asked = _Request.model_validate_json(body)
        options: Json = {name: value for name, value in (asked.model_extra or {}).items() if value is not None}
        _check(asked, options)
        kept: Json = {name: value for name, value in options.items() if name in PASSED}
        chat = Chat(messages=asked.messages, model=asked.model, tools=asked.tools or (), options=kept)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:5])
        raise Invalid(f"this is no chat completion request: {places}") from error
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return Asked(chat, stream=bool(asked.stream), include_usage=usage)


def _check(asked: _Request, options: Json) -> None:
    if "functions" in options or "function_call" in options:
        raise Invalid("functions were replaced by tools: send `tools` and `tool_choice`")
    if asked.n not in (None, 1):
        raise Invalid("n must be 1: ask again for another choice")
    unknown = sorted(options.keys() - PASSED - IGNORED)
    if unknown:
        raise Invalid(f"no such option here: {', '.join(unknown)[:200]}; there are: {', '.join(sorted(PASSED))}")
    for number, message in enumerate(asked.messages):
        if not isinstance(message.get("role"), str):
            raise Invalid(f"messages.{number}.role: every message says whose it is")


def final_text(completion: Json) -> str | None:
    """What a user would read; None where the model asks for tools, and the agent goes on.

    Raises:
        Unavailable: The completion is none: nothing that cannot be read can be judged.
    """
    message = _message(completion)
    if message.get("tool_calls") or message.get("function_call"):
        return None
    parts = (message.get("content"), message.get("refusal"))
    return "\n".join(_text(part) for part in parts if part)


def answer(completion: Json) -> Json:
    """The completion as the client gets it; a final message holds what was judged, and no more."""
    message = _message(completion)
    if final_text(completion) is not None:
        refusal: Json = {"refusal": _text(message["refusal"])} if message.get("refusal") else {}
        message = {"role": "assistant", "content": _text(message.get("content")), **refusal}
    ended = _choice(completion).get("finish_reason") or "stop"
    return {**completion, "choices": [{"index": 0, "message": message, "finish_reason": ended}]}


def chunks(completion: Json, *, include_usage: bool) -> Iterator[Json]:
    """The completion as OpenAI streams one: the role, the text in pieces, the tool calls, the end, the usage."""
    message = _message(completion)
    head: Json = {"id": completion.get("id"), "object": "chat.completion.chunk"}
    head |= {name: completion[name] for name in ("created", "model", "system_fingerprint") if name in completion}
    usage: Json = {"usage": None} if include_usage else {}

    def chunk(delta: Json, finish: JsonValue = None) -> Json:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **usage}

    yield chunk({"role": "assistant", "content": ""})
    for name in ("content", "refusal"):
        for piece in _PIECE.findall(_text(message.get(name))):
            yield chunk({name: piece})
    calls = message.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else ()):
        yield chunk({"tool_calls": [{**call, "index": number} if isinstance(call, dict) else call]})
    yield chunk({}, _choice(completion).get("finish_reason") or "stop")
    if include_usage:
        yield {**head, "choices": [], "usage": completion.get("usage")}


def listed(models: Models) -> Json:
    """The models, as OpenAI lists them."""
    data: list[JsonValue] = [
        {"id": offer.name, "object": "model", "created": 0, "owned_by": "dominie"} for offer in models.models
    ]
    return {"object": "list", "data": data}


def error_body(problem: Problem) -> Json:
    """A problem as OpenAI's clients read it, with the fields of RFC 9457 beside."""
    details = problem.details
    kind = _ERRORS.get(details.status, "invalid_request_error" if details.status < 500 else "server_error")
    error: Json = {"message": details.detail, "type": kind, "param": None, "code": problem.type}
    return {"error": error, **details.model_dump(mode="json", exclude_none=True)}


def error_headers(problem: Problem) -> dict[str, str]:
    """Whether and when to try again, as OpenAI's clients ask (`x-should-retry`), and HTTP does (RFC 9110)."""
    again = isinstance(problem, Unavailable | QuotaExceeded)
    headers = {"x-should-retry": "true" if again else "false"}
    if again:
        wait_s = problem.retry_after_s if problem.retry_after_s is not None else 1.0
        headers["retry-after"] = str(max(1, round(wait_s + 0.5)))
        headers["retry-after-ms"] = str(round(wait_s * 1000))
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers


def _choice(completion: Json) -> Json:
    choices = completion.get("choices")
    if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict):
        return choices[0]
    raise Unavailable("the model answered with no completion of one choice")


def _message(completion: Json) -> Json:
    message = _choice(completion).get("message")
    if isinstance(message, dict):
        return message
    raise Unavailable("the model answered with a completion that has no message")


def _text(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part.get("text")) if isinstance(part, dict) else _text(part) for part in content)
    return ""
