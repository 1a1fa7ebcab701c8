"""The scripted server, over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from dominie_model.adapters.script import Script
from dominie_model.adapters.scripted import serve_scripted

pytestmark = pytest.mark.anyio

HELLO = {"messages": [{"role": "user", "content": "hello"}], "model": "scripted"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def rules(*items: dict[str, Any]) -> Script:
    return Script.model_validate(items)


async def post(script: Script, body: object) -> httpx.Response:
    async with serve_scripted(script) as base_url, httpx.AsyncClient(base_url=base_url) as client:
        return await client.post("/chat/completions", json=body)


def streamed(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


CALL = rules(
    {
        "when": {"user": r"refund (?P<order>\w+)", "offers": "refund"},
        "reply": {"tool_calls": [{"name": "refund", "arguments": {"order": "{order}"}}, {"name": "log"}]},
    }
)
ASK = HELLO | {
    "messages": [{"role": "user", "content": "refund A1"}],
    "tools": [{"type": "function", "function": {"name": "refund", "parameters": {}}}],
}


async def test_an_answer_has_the_shape_of_a_completion() -> None:
    body = (await post(rules({"reply": {"content": "Good day."}}), HELLO)).json()
    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Good day."},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


async def test_the_same_request_gets_the_same_bytes_and_another_gets_other_call_ids() -> None:
    first, again = await post(CALL, ASK), await post(CALL, ASK)
    assert first.content == again.content
    other = ASK | {"messages": [{"role": "user", "content": "refund A2"}]}
    ids = {call["id"] for call in first.json()["choices"][0]["message"]["tool_calls"]}
    others = {call["id"] for call in (await post(CALL, other)).json()["choices"][0]["message"]["tool_calls"]}
    assert len(ids) == 2
    assert not ids & others


async def test_a_stream_adds_up_to_the_answer() -> None:
    parts = streamed(await post(rules({"reply": {"content": "two  words\n"}}), HELLO | {"stream": True}))
    assert "".join(part["choices"][0]["delta"].get("content") or "" for part in parts) == "two  words\n"
    assert [part["choices"][0]["finish_reason"] for part in parts[-2:]] == [None, "stop"]


async def test_a_streamed_call_adds_up_and_usage_comes_last_where_wanted() -> None:
    parts = streamed(await post(CALL, ASK | {"stream": True, "stream_options": {"include_usage": True}}))
    assert parts[-1]["choices"] == []
    assert parts[-1]["usage"]["total_tokens"] > 0
    deltas = [delta for part in parts[:-1] for delta in part["choices"][0]["delta"].get("tool_calls", [])]
    arguments = "".join(delta["function"]["arguments"] for delta in deltas if delta["index"] == 0)
    assert json.loads(arguments) == {"order": "A1"}
    assert parts[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_images_are_accepted() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = HELLO | {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, picture]}]}
    script = rules({"when": {"user": "this"}, "reply": {"content": "A picture."}})
    assert (await post(script, body)).json()["choices"][0]["message"]["content"] == "A picture."


async def test_a_failure_is_played() -> None:
    script = rules({"reply": {"content": "slow down"}, "status": 429, "retry_after_s": 2})
    response = await post(script, HELLO)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert response.json()["error"]["message"] == "slow down"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "m"}', b'{"model": "m", "messages": []}'])
async def test_a_malformed_request_is_refused(body: bytes) -> None:
    async with serve_scripted(Script.default()) as base_url, httpx.AsyncClient(base_url=base_url) as client:
        response = await client.post("/chat/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_conversation_that_no_rule_matches_is_refused() -> None:
    response = await post(rules({"when": {"model": "other"}, "reply": {"content": "x"}}), HELLO)
    assert response.status_code == 400
    assert "no rule" in response.json()["error"]["message"]


async def test_the_models_are_listed() -> None:
    script = rules({"when": {"model": "gpt-4.1"}, "reply": {"content": "x"}})
    async with serve_scripted(script) as base_url, httpx.AsyncClient(base_url=base_url) as client:
        listed = (await client.get("/models")).json()
    assert [model["id"] for model in listed["data"]] == ["gpt-4.1", "scripted"]


async def test_the_callers_error_comes_out_as_it_is() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with serve_scripted(Script.default()):
            raise LookupError("mine")


async def test_a_taken_port_is_an_error() -> None:
    async with serve_scripted(Script.default()) as base_url:
        with pytest.raises(OSError):
            async with serve_scripted(Script.default(), port=httpx.URL(base_url).port or 0):
                pass


async def test_it_stops_under_cancellation_while_a_request_waits() -> None:
    script = rules({"reply": {"content": "late"}, "delay_ms": 60_000})
    urls = []
    with anyio.move_on_after(20) as scope:
        async with anyio.create_task_group() as tasks, serve_scripted(script) as base_url:
            urls.append(base_url)
            tasks.start_soon(_abandoned, base_url)
            scope.cancel()
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(urls[0] + "/models")


async def _abandoned(base_url: str) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        await client.post(base_url + "/chat/completions", json=HELLO)


def test_the_program_says_where_it_is_and_ends_on_a_signal(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text('[{"reply": {"content": "from a file"}}]')
    command = [sys.executable, "-m", "dominie_model.adapters.play", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout is not None
            base_url = json.loads(program.stdout.readline())["base_url"]
            answer = httpx.post(base_url + "/chat/completions", json=HELLO).json()
            program.send_signal(signal.SIGTERM)
            assert program.wait(20) == 0
        finally:
            program.kill()
    assert answer["choices"][0]["message"]["content"] == "from a file"


def test_the_program_refuses_a_bad_file(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text('[{"when": {"user": "("}, "reply": {"content": "x"}}]')
    command = [sys.executable, "-m", "dominie_model.adapters.play", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "0.when.user" in done.stderr
