"""Every provider that litellm knows, over litellm.

Its import costs seconds and some 200 MB, so it happens in `open()`, in a thread. litellm keeps its HTTP clients in a
global cache: one open provider a process.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import time
import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
from anyio import to_thread

from dominie_model.adapters.litellm_errors import provider_error
from dominie_model.adapters.provider import OPTIONS, Chunk, ProviderError, ProviderRequest, ProviderResult, Target

_CLOSE_S = 5.0
_LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router")


class LiteLLMProvider:
    """A `Provider` over litellm. It never repeats a call: that is for the model service to decide."""

    def __init__(self, litellm: Any) -> None:
        self._litellm = litellm

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        """Import litellm, and close its clients at the end."""
        litellm = await to_thread.run_sync(_load)
        try:
            yield cls(litellm)
        finally:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await _close(litellm)

    async def complete(self, request: ProviderRequest) -> ProviderResult:
        """Complete a chat; see `Provider`."""
        try:
            with anyio.fail_after(request.timeout_s):
                response = await self._litellm.acompletion(**_arguments(request))
            return _result(response, request.target)
        except ProviderError:
            raise
        except Exception as fault:
            raise provider_error(fault, request) from fault

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[Chunk | ProviderResult, None]:
        """Complete a chat in chunks; see `Provider`."""
        until = time.monotonic() + request.timeout_s
        parts: list[Any] = []
        response: Any = None
        try:
            with anyio.fail_after(request.timeout_s):
                response = await self._litellm.acompletion(
                    **_arguments(request), stream=True, stream_options={"include_usage": True}
                )
            while True:
                with anyio.fail_after(max(0.0, until - time.monotonic())):  # a scope must not span a yield
                    part = await anext(response, None)
                if part is None:
                    break
                if any(choice.finish_reason for choice in part.choices):
                    _refuse_broken(response, request)
                parts.append(part)
                yield _chunk(part)
            whole = self._litellm.stream_chunk_builder(parts, messages=list(request.messages))
            result = _result(whole, request.target)
        except ProviderError:
            raise
        except Exception as fault:
            raise provider_error(fault, request) from fault
        finally:
            if response is not None:
                with anyio.move_on_after(_CLOSE_S, shield=True):
                    await response.aclose()
        yield result


def _load() -> Any:
    """litellm, kept from the network and from `.env` files, where an agent could leave it another address."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    litellm: Any = importlib.import_module("litellm")
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    for name in _LOGGERS:
        logging.getLogger(name).handlers.clear()  # they quote what was asked; the house's own handler does not
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydantic's, on litellm's types, at the first use of each
        litellm.ModelResponseStream()
        litellm.ModelResponse()
    return litellm


async def _close(litellm: Any) -> None:
    await importlib.import_module("litellm.litellm_core_utils.logging_worker").GLOBAL_LOGGING_WORKER.stop()
    await litellm.close_litellm_async_clients()
    litellm.in_memory_llm_clients_cache.flush_cache()  # or the next one to open would get a closed client


def _arguments(request: ProviderRequest) -> dict[str, Any]:
    """litellm's arguments.

    Raises:
        ProviderError: An option is not one that a caller may set.
    """
    target = request.target
    unknown = sorted(set(request.options) - OPTIONS)
    if unknown:
        raise ProviderError("invalid", target.model, f"unknown options {unknown!r}; use some of {sorted(OPTIONS)!r}")
    return dict(request.options) | {
        "model": target.model,
        "messages": [dict(message) for message in request.messages],
        "api_base": target.api_base,
        "api_key": target.api_key.get_secret_value() if target.api_key else None,
        "timeout": request.timeout_s,
        "max_retries": 0,
        "num_retries": 0,
        "_skip_mcp_handler": True,  # it would import, and run, litellm's own MCP gateway for any call with tools
    }


def _refuse_broken(response: Any, request: ProviderRequest) -> None:
    """Refuse the end of a stream that broke off: litellm makes up a finish reason, `stop`."""
    if not (response.received_finish_reason or response.intermittent_finish_reason):
        raise ProviderError("unavailable", request.target.model.partition("/")[0], "the stream broke off")


def _chunk(part: Any) -> Chunk:
    """A chunk in OpenAI's shape: litellm's has a price in its usage, and an empty choice beside it."""
    chunk: dict[str, Any] = part.model_dump(mode="json", exclude_none=True)
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        usage.pop("cost", None)
    return chunk | {"choices": [choice for choice in chunk["choices"] if choice["delta"] or "finish_reason" in choice]}


def _result(response: Any, target: Target) -> ProviderResult:
    choice = response.choices[0]
    message = {"content": None} | choice.message.model_dump(mode="json", exclude_none=True)
    if not any(value is not None for value in (message.get("provider_specific_fields") or {}).values()):
        message.pop("provider_specific_fields", None)
    used = response.usage
    return ProviderResult(
        id=response.id,
        model=response.model,
        message=message,
        finish_reason=choice.finish_reason or "stop",
        input_tokens=used.prompt_tokens,
        output_tokens=used.completion_tokens,
        cost_usd=_cost(response, target),
    )


def _cost(response: Any, target: Target) -> float | None:
    """The price of a call in USD: the target's, else litellm's, else unknown."""
    if target.input_cost_per_token is not None and target.output_cost_per_token is not None:
        used = response.usage
        return float(
            used.prompt_tokens * target.input_cost_per_token + used.completion_tokens * target.output_cost_per_token
        )
    cost = response._hidden_params.get("response_cost")
    return float(cost) if isinstance(cost, int | float) and math.isfinite(cost) else None
