"""Event types with their older versions: an old event is read as if it had been written today. Pure.

The stored bytes stay as they are. What an older version said is made into what the next one says, step by step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from dominie_contracts.base import Payload, Upcast


@dataclass(frozen=True, slots=True)
class Superseded:
    """An older version of an event type."""

    now: type[Payload]
    steps: tuple[Upcast, ...]
    """To the version that is written now."""

    def upcast(self, data: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """What the event would say if it were written now."""
        for step in self.steps:
            data = step(data)
        return data


class EventTypes:
    """Every type that can be read.

    Attributes:
        current: What is written, by type.
        superseded: What was written by older versions, by type.
    """

    def __init__(self, categories: Iterable[tuple[str, tuple[type[Payload], ...]]]) -> None:
        """Take in the payloads of each category.

        Raises:
            ValueError: A payload has not one upcast for each of its older versions.
        """
        pairs = [(category, kind) for category, kinds in categories for kind in kinds]
        self.current: Mapping[str, type[Payload]] = {f"{category}.{kind.KIND}": kind for category, kind in pairs}
        self.superseded: Mapping[str, Superseded] = {
            f"{category}.{old}": found for category, kind in pairs for old, found in _older(kind)
        }

    def known(self, type_: str) -> bool:
        """Whether events of this type can be read."""
        return type_ in self.current or type_ in self.superseded

    def upcast(self, type_: str, data: dict[str, JsonValue]) -> tuple[str, dict[str, JsonValue]]:
        """Type and data as they would be written now; those of a type that is not known as they are."""
        old = self.superseded.get(type_)
        if old is None:
            return type_, data
        return f"{type_.partition('.')[0]}.{old.now.KIND}", old.upcast(data)

    def parse(self, type_: str, data: dict[str, JsonValue]) -> Payload | None:
        """An event's payload, as its type's version of today; None where the type is not known.

        Raises:
            pydantic.ValidationError: The type is known and the data do not fit it.
        """
        type_, data = self.upcast(type_, data)
        kind = self.current.get(type_)
        return None if kind is None else kind.model_validate(data)


def _older(kind: type[Payload]) -> list[tuple[str, Superseded]]:
    name, _, version = kind.KIND.rpartition(".v")
    if int(version) != len(kind.UPCASTS) + 1:
        raise ValueError(f"{kind.KIND} needs {int(version) - 1} upcasts, one from each older version to the next")
    return [(f"{name}.v{old}", Superseded(kind, kind.UPCASTS[old - 1 :])) for old in range(1, int(version))]
