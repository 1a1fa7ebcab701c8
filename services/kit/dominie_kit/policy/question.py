"""What policies are asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from dominie_contracts.provenance import Label
from dominie_kit.policy.shapes import Shape


@dataclass(frozen=True, slots=True)
class Question:
    """May this principal do this to that?"""

    principal: str
    action: str
    resource_type: str
    resource: str
    context: Mapping[str, JsonValue] = field(default_factory=dict)
    shape: Shape | None = None
    """The action's own types, where the tool is at hand; else those that the context shows."""
    labels: Mapping[str, Label] = field(default_factory=dict)
    """Where the arguments came from, as the trail says it: what policies are told of that is in the context."""

    @property
    def request(self) -> dict[str, JsonValue]:
        """The whole request, as Cedar takes it, but for the clock."""
        return {
            "principal": {"type": "Agent", "id": self.principal},
            "action": {"type": "Action", "id": self.shape.action if self.shape else self.action},
            "resource": {"type": self.resource_type, "id": self.resource},
            "context": dict(self.context),
        }
