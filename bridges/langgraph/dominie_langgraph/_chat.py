"""A LangChain chat model that calls models through Dominie."""

import contextvars
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import anyio.to_thread
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_messages,
    convert_to_openai_messages,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, invalid_tool_call
from langchain_core.output_parsers.openai_tools import parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from dominie_langgraph._calls import ModelCalls
from dominie_langgraph._runs import current_run, step_name

_calls = ModelCalls()


class ChatDominie(BaseChatModel):
    """A model by the name that the deployment offers it under; scheduled, decided, priced and recorded."""

    model: str = "auto"
    priority: str = "standard"

    def __init__(self, model: str = "auto", **fields: Any) -> None:
        super().__init__(**{"model": model, **fields})

    @property
    def _llm_type(self) -> str:
        return "dominie"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model, in any shape that LangChain knows."""
        chosen = {"tool_choice": _choice(tool_choice)} if tool_choice else {}
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **chosen, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = self._ask(messages, stop, run_manager, kwargs, None)
        return ChatResult(generations=[ChatGeneration(message=_message(reply))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = await anyio.to_thread.run_sync(lambda: self._ask(messages, stop, run_manager, kwargs, None))
        return ChatResult(generations=[ChatGeneration(message=_message(reply))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chunks: queue.Queue[Mapping[str, Any] | BaseException | None] = queue.Queue()
        ask = _in_context(lambda: self._ask(messages, stop, run_manager, kwargs, chunks.put))

        def work() -> None:
            try:
                ask()
                chunks.put(None)
            except BaseException as error:  # handed to the reader, who raises it
                chunks.put(error)

        thread = threading.Thread(target=work, name="dominie-stream", daemon=True)
        thread.start()
        while (chunk := chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            generation = _generation(chunk)
            if generation is not None:
                if run_manager is not None:
                    run_manager.on_llm_new_token(str(generation.text), chunk=generation)
                yield generation
        thread.join()

    def _ask(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None,
        options: Mapping[str, Any],
        on_delta: Callable[[Mapping[str, Any]], None] | None,
    ) -> Mapping[str, Any]:
        run = current_run(convert_to_messages(messages))
        body: list[Any] = list(convert_to_openai_messages(messages))
        tools = list(options.get("tools") or ())
        rest = {name: value for name, value in options.items() if name != "tools"} | ({"stop": stop} if stop else {})
        attempt = str((run_manager.parent_run_id if run_manager else None) or uuid.uuid4())
        key = _calls.key(run.id, [self.model, body, tools, rest], step=step_name(), attempt=attempt)
        reply = run.chat(body, self.model, tools=tools, priority=self.priority, key=key, on_delta=on_delta, **rest)
        return reply.completion


def _choice(tool_choice: str) -> Any:
    plain = {"any": "required", "required": "required", "auto": "auto", "none": "none"}
    return plain.get(tool_choice) or {"type": "function", "function": {"name": tool_choice}}


def _in_context(call: Callable[[], object]) -> Callable[[], object]:
    context = contextvars.copy_context()
    return lambda: context.run(call)


def _message(completion: Mapping[str, Any]) -> AIMessage:
    choice = completion["choices"][0]
    said = choice["message"]
    calls, broken = [], []
    for raw in said.get("tool_calls") or ():
        try:
            calls.append(parse_tool_call(raw, return_id=True))
        except ValueError as error:
            function = raw.get("function", {})
            broken.append(
                invalid_tool_call(
                    name=function.get("name"), args=function.get("arguments"), id=raw.get("id"), error=str(error)
                )
            )
    return AIMessage(
        content=said.get("content") or "",
        tool_calls=[call for call in calls if call is not None],
        invalid_tool_calls=broken,
        usage_metadata=_usage(completion.get("usage")),
        response_metadata={"model_name": completion.get("model"), "finish_reason": choice.get("finish_reason")},
        id=completion.get("id"),
    )


def _usage(usage: Mapping[str, Any] | None) -> UsageMetadata | None:
    if not usage:
        return None
    sent, made = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return UsageMetadata(input_tokens=sent, output_tokens=made, total_tokens=sent + made)


def _generation(chunk: Mapping[str, Any]) -> ChatGenerationChunk | None:
    usage = _usage(chunk.get("usage"))
    delta = chunk["choices"][0].get("delta", {}) if chunk.get("choices") else {}
    if not delta and usage is None:
        return None
    calls = [
        ToolCallChunk(
            name=call.get("function", {}).get("name"),
            args=call.get("function", {}).get("arguments"),
            id=call.get("id"),
            index=call.get("index", 0),
            type="tool_call_chunk",
        )
        for call in delta.get("tool_calls") or ()
    ]
    return ChatGenerationChunk(
        message=AIMessageChunk(content=delta.get("content") or "", tool_call_chunks=calls, usage_metadata=usage)
    )
