"""What a model answered."""

from typing import Any

from dominie_contracts.model import Completion


class Reply(Completion):
    """A chat completion: OpenAI's own under `completion`, and what is mostly wanted of it."""

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's message."""
        choices: Any = self.completion.get("choices")
        found: dict[str, Any] = choices[0]["message"]
        return found

    @property
    def text(self) -> str:
        """The message's text; empty where it only calls tools."""
        return self.message.get("content") or ""

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tools that the model wants called."""
        return self.message.get("tool_calls") or []
