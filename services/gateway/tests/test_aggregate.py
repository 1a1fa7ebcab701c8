"""OpenAI's requests and answers, translated."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts import Forbidden, Held, Invalid, Problem, QuotaExceeded, Unauthenticated, Unavailable
from dominie_contracts.model import Models, Offer
from dominie_gateway.aggregate import (
    Json,
    answer,
    chunks,
    error_body,
    error_headers,
    final_text,
    listed,
    parse_chat,
)

HELLO: list[JsonValue] = [{"role": "user", "content": "hello"}]
CALL: Json = {"id": "c1", "type": "function", "function": {"name": "refund", "arguments": "{}"}}


def request(**fields: JsonValue) -> bytes:
    return json.dumps({"messages": HELLO, **fields}).encode()


def completion(content: JsonValue = None, **message: JsonValue) -> Json:
    said: Json = {"role": "assistant", "content": content, **message}
    choices: list[JsonValue] = [{"index": 0, "message": said, "finish_reason": "stop"}]
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": {"n": 3}}


def test_a_request_becomes_a_command() -> None:
    asked = parse_chat(request(model="fast", temperature=0.5, seed=7, stop=["x"], tools=[CALL], user="u", seed_=None))
    assert (asked.chat.model, asked.chat.tools, asked.stream) == ("fast", (CALL,), False)
    assert asked.chat.options == {"temperature": 0.5, "seed": 7, "stop": ["x"]}


def test_a_request_that_names_no_model_gets_any() -> None:
    assert parse_chat(request()).chat.model == "auto"


def test_a_stream_with_usage_is_asked_for() -> None:
    asked = parse_chat(request(stream=True, stream_options={"include_usage": True}))
    assert (asked.stream, asked.include_usage) == (True, True)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"content": "x"}]}', "messages.0.role"),
        (request(tools="refund"), "tools"),
        (request(stream="maybe"), "stream"),
        (request(n=2), "n must be 1"),
        (request(functions=[]), "send `tools`"),
        (request(api_base="http://elsewhere"), "no such option here: api_base"),
    ],
)
def test_a_request_that_is_none_says_what_is_wrong(body: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        parse_chat(body)


@given(st.binary(max_size=200))
def test_whatever_the_body_is_it_is_a_request_or_invalid(body: bytes) -> None:
    try:
        parse_chat(body)
    except Invalid:
        pass


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (completion("Done."), "Done."),
        (completion([{"type": "text", "text": "Do"}, {"type": "text", "text": "ne."}]), "Done."),
        (completion(refusal="I cannot."), "I cannot."),
        (completion(), ""),
        (completion("I will look.", tool_calls=[CALL]), None),
    ],
)
def test_what_a_user_would_read(found: Json, text: str | None) -> None:
    assert final_text(found) == text


@pytest.mark.parametrize("choices", [[], [{}], [{"message": "x"}], [{"message": {}}, {"message": {}}], None])
def test_what_cannot_be_read_cannot_be_judged(choices: JsonValue) -> None:
    with pytest.raises(Unavailable):
        final_text({"choices": choices})


def test_a_final_message_holds_nothing_that_was_not_judged() -> None:
    found = answer(completion("Done.", reasoning_content="secret", annotations=[{"url": "x"}]))
    assert found["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Done."}, "finish_reason": "stop"}
    ]


def test_a_call_of_tools_is_passed_on_as_it_is() -> None:
    found = completion("I will look.", tool_calls=[CALL], reasoning_content="hm")
    assert answer(found) == found


@given(st.text())
def test_the_pieces_of_a_stream_are_the_text(text: str) -> None:
    parts = list(chunks(completion(text), include_usage=False))
    deltas = [json.loads(json.dumps(part))["choices"][0]["delta"] for part in parts]
    assert "".join(delta.get("content", "") for delta in deltas) == text
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert all(part["object"] == "chat.completion.chunk" for part in parts)


def test_a_stream_of_tool_calls_numbers_them_and_ends_with_usage() -> None:
    parts = list(chunks(completion(tool_calls=[CALL, CALL]), include_usage=True))
    found = json.loads(json.dumps(parts))
    assert [part["choices"][0]["delta"]["tool_calls"][0]["index"] for part in found[1:3]] == [0, 1]
    assert found[3]["choices"][0]["finish_reason"] == "stop"
    assert found[4] == {**found[4], "choices": [], "usage": {"n": 3}}


def test_models_are_listed() -> None:
    assert listed(Models(models=(Offer(name="auto", provider="p", slots=1),)))["data"] == [
        {"id": "auto", "object": "model", "created": 0, "owned_by": "dominie"}
    ]


def test_a_problem_is_an_error_of_openais_and_of_rfc_9457() -> None:
    assert error_body(Held("it promises too much", action="a1")) == {
        "error": {"message": "it promises too much", "type": "permission_error", "param": None, "code": "held"},
        "type": "urn:dominie:problem:held",
        "title": "Answer held back",
        "status": 403,
        "detail": "it promises too much",
        "extra": {"action": "a1"},
    }


@pytest.mark.parametrize(
    ("problem", "headers"),
    [
        (Forbidden("no"), {"x-should-retry": "false"}),
        (Problem("broken"), {"x-should-retry": "false"}),
        (Unauthenticated("who?"), {"x-should-retry": "false", "www-authenticate": "Bearer"}),
        (Unavailable("away"), {"x-should-retry": "true", "retry-after": "2", "retry-after-ms": "1000"}),
        (
            QuotaExceeded("slow", retry_after_s=0.2),
            {"x-should-retry": "true", "retry-after": "1", "retry-after-ms": "200"},
        ),
    ],
)
def test_a_client_is_told_whether_to_try_again(problem: Problem, headers: dict[str, str]) -> None:
    assert error_headers(problem) == headers
