"""The port to providers of models: one request in; chunks and a result out.

ProviderError   every failure, told apart by its `kind`
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from pydantic import SecretStr

Chunk: TypeAlias = dict[str, object]
"""One `chat.completion.chunk`, in OpenAI's shape."""

ErrorKind: TypeAlias = Literal["invalid", "unavailable", "timeout", "unauthenticated", "rate-limited"]

OPTIONS = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
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
        "tools",
        "top_logprobs",
        "top_p",
        "user",
    }
)
"""What a caller may set. Anything else is refused: an address or a key among them would lead the call elsewhere."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model, where it is, and what it costs.

    Attributes:
        model: litellm's name, such as `openai/gpt-4.1`.
        api_base: The address, where it is not the provider's own.
        api_key: The key; None leaves it to the provider's environment variable.
        input_cost_per_token: In USD; with `output_cost_per_token` it goes before litellm's price list.
        output_cost_per_token: In USD.
    """

    model: str
    api_base: str | None = None
    api_key: SecretStr | None = None
    input_cost_per_token: float | None = None
    output_cost_per_token: float | None = None


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """One call.

    Attributes:
        target: The model.
        messages: In OpenAI's shape, images included.
        timeout_s: For the whole call, a stream's last chunk included.
        options: Of `OPTIONS`.
    """

    target: Target
    messages: Sequence[Mapping[str, object]]
    timeout_s: float
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProviderResult:
    """What a call gave.

    Attributes:
        id: The provider's id of the completion.
        model: The model that the provider says it used.
        message: The assistant's message, in OpenAI's shape.
        finish_reason: `stop`, `tool_calls`, `length`, `content_filter`.
        input_tokens: As the provider counts.
        output_tokens: As the provider counts.
        cost_usd: None where nobody knows the price, which does not mean free.
    """

    id: str
    model: str
    message: Mapping[str, object]
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class ProviderError(Exception):
    """A call failed.

    Attributes:
        kind: `invalid` (the request is at fault: don't repeat it), `unauthenticated` (our key is), `rate-limited`,
            `timeout`, or `unavailable` (anything else, the network included).
        provider: The provider's name.
        detail: What it said, without our key.
        retry_after_s: When to try again, where it said so.
    """

    def __init__(self, kind: ErrorKind, provider: str, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{provider!r}: {kind}: {detail}")
        self.kind: ErrorKind = kind
        self.provider = provider
        self.detail = detail
        self.retry_after_s = retry_after_s


class Provider(Protocol):
    """Whoever can complete a chat."""

    async def complete(self, request: ProviderRequest) -> ProviderResult:
        """Complete a chat.

        Raises:
            ProviderError: It failed.
        """
        ...

    def stream(self, request: ProviderRequest) -> AsyncGenerator[Chunk | ProviderResult, None]:
        """Complete a chat in chunks; the result comes last. Closing the generator, or cancelling, stops the call.

        Raises:
            ProviderError: It failed, before the first chunk or between two.
        """
        ...
