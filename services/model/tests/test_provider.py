"""litellm against the scripted server, over HTTP."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from pydantic import SecretStr

from dominie_model.adapters.litellm_provider import LiteLLMProvider
from dominie_model.adapters.provider import Chunk, Provider, ProviderError, ProviderRequest, ProviderResult, Target
from dominie_model.adapters.script import Script
from dominie_model.adapters.scripted import serve_scripted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),  # litellm, of pydantic, in a stream
]

KEY = "sk-very-secret"
SCRIPT = Script.model_validate(
    [
        {"when": {"model": "e400"}, "reply": {"content": "no"}, "status": 400},
        {"when": {"model": "e401"}, "reply": {"content": f"bad key {KEY}"}, "status": 401},
        {"when": {"model": "e403"}, "reply": {"content": "no"}, "status": 403},
        {"when": {"model": "e404"}, "reply": {"content": "no"}, "status": 404},
        {"when": {"model": "e429"}, "reply": {"content": "slow down"}, "status": 429, "retry_after_s": 7},
        {"when": {"model": "e500"}, "reply": {"content": "oops"}, "status": 500},
        {"when": {"model": "e503"}, "reply": {"content": "oops"}, "status": 503},
        {"when": {"model": "late"}, "reply": {"content": "late"}, "delay_ms": 60_000},
        {
            "when": {"offers": "refund", "user": r"refund (?P<order>\w+)"},
            "reply": {
                "content": "One moment.",
                "tool_calls": [{"name": "refund", "arguments": {"order": "{order}"}}, {"name": "log"}],
            },
        },
        {"when": {"user": "picture"}, "reply": {"content": "A cat."}},
        {"reply": {"content": "Good day to you."}},
    ]
)
TOOL = {"type": "function", "function": {"name": "refund", "parameters": {"type": "object", "properties": {}}}}
OFFER = {"tools": [TOOL], "tool_choice": "auto"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def base_url() -> AsyncIterator[str]:
    async with serve_scripted(SCRIPT) as url:
        yield url


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[Provider]:
    async with LiteLLMProvider.open() as opened:
        yield opened


async def test_what_litellm_logs_goes_to_the_handler_of_the_house_alone(
    provider: Provider, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router"):
        logging.getLogger(name).error("quotes what was asked")
    assert len(caplog.records) == 3
    assert "quotes" not in "".join(capfd.readouterr())


def request(
    base_url: str,
    *,
    model: str = "some",
    text: object = "hello",
    timeout_s: float = 20,
    prices: Mapping[str, float] | None = None,
    options: Mapping[str, object] | None = None,
) -> ProviderRequest:
    target = Target("openai/" + model, base_url, SecretStr(KEY), **(prices or {}))
    return ProviderRequest(target, [{"role": "user", "content": text}], timeout_s, options or {})


async def collect(provider: Provider, asked: ProviderRequest) -> tuple[list[Chunk], ProviderResult]:
    async with aclosing(provider.stream(asked)) as parts:
        items = [item async for item in parts]
    result = items.pop()
    assert isinstance(result, ProviderResult)
    return [item for item in items if isinstance(item, dict)], result


async def test_a_chat_is_completed_with_its_tokens(provider: Provider, base_url: str) -> None:
    result = await provider.complete(request(base_url))
    assert result.message == {"role": "assistant", "content": "Good day to you."}
    assert (result.finish_reason, result.model) == ("stop", "some")
    assert (result.input_tokens, result.output_tokens) == (2, 4)


async def test_tools_are_offered_and_called(provider: Provider, base_url: str) -> None:
    result = await provider.complete(request(base_url, text="refund A1", options=OFFER))
    calls: Any = result.message["tool_calls"]
    assert [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls] == [
        ("refund", {"order": "A1"}),
        ("log", {}),
    ]
    assert result.finish_reason == "tool_calls"


async def test_a_stream_ends_with_the_result_that_its_chunks_add_up_to(provider: Provider, base_url: str) -> None:
    asked = request(base_url, text="refund A1", options=OFFER)
    chunks, result = await collect(provider, asked)
    choices: list[Any] = [choice for chunk in chunks for choice in chunk["choices"]]  # type: ignore[attr-defined]  # JSON
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "One moment."
    assert choices[-1]["finish_reason"] == "tool_calls"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == (
        [],
        {"prompt_tokens": 3, "completion_tokens": 10, "total_tokens": 13},
    )
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert result == await provider.complete(asked)


async def test_images_pass_through(provider: Provider, base_url: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    result = await provider.complete(request(base_url, text=[{"type": "text", "text": "a picture"}, picture]))
    assert result.message["content"] == "A cat."


async def test_options_pass_through(base_url: str, provider: Provider) -> None:
    options = {
        "temperature": 0.5,
        "max_tokens": 20,
        "stop": ["x"],
        "seed": 7,
        "response_format": {"type": "json_object"},
    }
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)
        seen: list[bytes] = []

        async def peer(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                while not seen or not seen[-1].endswith(b"}"):
                    seen.append(await stream.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, peer)
            with pytest.raises(ProviderError, match="unavailable"):
                await provider.complete(request(f"http://127.0.0.1:{port}/v1", options=options))
            tasks.cancel_scope.cancel()
    body = json.loads(b"".join(seen).split(b"\r\n\r\n", 1)[1])
    assert {key: body[key] for key in options} == options


@pytest.mark.parametrize("option", ["api_base", "api_key", "base_url", "mock_response", "num_retries", "stream", "n"])
async def test_an_option_that_could_lead_elsewhere_is_refused(provider: Provider, base_url: str, option: str) -> None:
    with pytest.raises(ProviderError, match=option) as raised:
        await provider.complete(request(base_url, options={option: "http://127.0.0.1:1"}))
    assert raised.value.kind == "invalid"


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_unknown_price_is_none_and_a_known_one_is_in_usd(
    provider: Provider, base_url: str, streamed: bool
) -> None:
    async def cost(asked: ProviderRequest) -> float | None:
        result = (await collect(provider, asked))[1] if streamed else await provider.complete(asked)
        return result.cost_usd

    assert await cost(request(base_url)) is None
    assert await cost(request(base_url, model="gpt-4.1")) == pytest.approx(2 * 2e-6 + 4 * 8e-6)
    own = {"input_cost_per_token": 0.5, "output_cost_per_token": 0.25}
    assert await cost(request(base_url, prices=own)) == pytest.approx(2.0)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("model", "kind", "retry_after_s"),
    [
        ("e400", "invalid", None),
        ("e401", "unauthenticated", None),
        ("e403", "unauthenticated", None),
        ("e404", "invalid", None),
        ("e429", "rate-limited", 7),
        ("e500", "unavailable", None),
        ("e503", "unavailable", None),
    ],
)
async def test_a_refusal_is_told_by_its_kind(
    provider: Provider, base_url: str, streamed: bool, model: str, kind: str, retry_after_s: float | None
) -> None:
    asked = request(base_url, model=model)
    with pytest.raises(ProviderError) as raised:
        await (collect(provider, asked) if streamed else provider.complete(asked))
    error = raised.value
    assert (error.kind, error.provider, error.retry_after_s) == (kind, "openai", retry_after_s)
    assert KEY not in str(error)


@pytest.mark.parametrize("streamed", [False, True])
async def test_it_never_waits_longer_than_it_may(provider: Provider, base_url: str, streamed: bool) -> None:
    asked = request(base_url, model="late", timeout_s=0.3)
    with anyio.fail_after(20), pytest.raises(ProviderError) as raised:
        await (collect(provider, asked) if streamed else provider.complete(asked))
    assert raised.value.kind == "timeout"


async def test_a_provider_that_is_away_is_unavailable(provider: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ProviderError) as raised:
        await provider.complete(request(f"http://127.0.0.1:{port}/v1"))
    assert raised.value.kind == "unavailable"


async def test_an_unknown_provider_is_invalid(provider: Provider) -> None:
    target = Target("nowhere/model", None, SecretStr(KEY))
    with pytest.raises(ProviderError) as raised:
        await provider.complete(ProviderRequest(target, [{"role": "user", "content": "hello"}], 5))
    assert raised.value.kind == "invalid"


FIRST = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    b'data: {"id":"1","object":"chat.completion.chunk","created":0,"model":"some",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"one"},"finish_reason":null}]}\n\n'
)


async def test_a_stream_that_breaks_off_is_no_answer(provider: Provider) -> None:
    async def peer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(FIRST)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, peer)
            async with aclosing(provider.stream(request(url))) as parts:
                first: Any = await anext(parts)
                with pytest.raises(ProviderError, match="broke off") as raised:
                    await anext(parts)
            tasks.cancel_scope.cancel()
    assert first["choices"][0]["delta"]["content"] == "one"
    assert raised.value.kind == "unavailable"


@pytest.mark.parametrize("how", ["close", "cancel", "timeout"])
async def test_a_stream_that_is_left_hangs_up(provider: Provider, how: str) -> None:
    hung_up = anyio.Event()

    async def peer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(FIRST)
            try:
                while True:
                    await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                hung_up.set()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, peer)
            await leave(provider, request(url, timeout_s=1 if how == "timeout" else 20), how)
            with anyio.fail_after(20):
                await hung_up.wait()
            tasks.cancel_scope.cancel()


async def leave(provider: Provider, asked: ProviderRequest, how: str) -> None:
    """Take the first chunk of a stream, and leave it in one of three ways."""
    with anyio.CancelScope() as scope:
        async with aclosing(provider.stream(asked)) as parts:
            await anext(parts)
            if how == "cancel":
                scope.cancel()
                await anext(parts)
            if how == "timeout":
                with pytest.raises(ProviderError) as raised:
                    await anext(parts)
                assert raised.value.kind == "timeout"
