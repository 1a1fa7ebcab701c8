"""What policies are told of a tool's call. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import JsonValue

from dominie_contracts import Invalid
from dominie_contracts.labels import Role, amount, leaves, roles, units
from dominie_contracts.provenance import LEVELS, NOTHING, Label, join, may_read
from dominie_contracts.things import argument_things, names_things
from dominie_contracts.tool import ToolSpec
from dominie_contracts.typed import Unit
from dominie_kit.policy.links import links
from dominie_kit.policy.question import Question
from dominie_kit.policy.schema import ARGUMENTS
from dominie_kit.policy.shapes import LINKS, MIN, UNKNOWN, Shape, shape_of
from dominie_kit.policy.types import Type, record_type, undeclared, value_of

Command = Literal["tool.invoke", "tool.begin"]
_ENOUGH = 16
"""So many names of undeclared arguments, and of who may not read something, say it."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A tool's specification as policies need it, made once.

    Attributes:
        roles: What each marked argument is.
        units: Of each amount.
        shape: The action of this version.
        arguments: The type of all arguments.
        things: The kind of thing that an argument names.
        lists: Parts of its result are the names of things.
    """

    spec: ToolSpec
    roles: dict[str, Role]
    units: dict[str, Unit]
    shape: Shape
    arguments: Type
    things: dict[str, str]
    lists: bool

    @classmethod
    def of(cls, spec: ToolSpec) -> "Typed":
        """The same, from the specification."""
        schema, result = spec.input_schema, spec.output_schema
        return cls(
            spec,
            roles(schema),
            units(schema),
            shape_of(spec),
            record_type(schema),
            argument_things(schema),
            names_things(result),
        )

    def question(
        self,
        command: Command,
        arguments: Mapping[str, JsonValue],
        labels: Mapping[str, Label],
        *,
        principal: str,
        tenant: str,
        user: str,
    ) -> Question:
        """What is asked of policies. A local function's own words type nothing: its roles are all that is told.

        Raises:
            Invalid: An amount or a time is none.
        """
        spec = self.spec
        told: dict[str, JsonValue] = {
            "tenant": tenant,
            "user": user,
            "effect": spec.effect,
            "kind": spec.kind,
            "version": spec.version,
            **self._provenance(arguments, labels),
            **self._told(arguments),
        }
        if command == "tool.begin":
            return Question(principal, command, "Tool", spec.name, told, labels=labels)
        unnamed = sorted(undeclared(dict(arguments), self.arguments))
        if unnamed:
            told["undeclared"] = [*unnamed[:_ENOUGH]]
        told[ARGUMENTS] = value_of(dict(arguments), self.arguments)
        return Question(principal, command, "Tool", spec.name, told, self.shape, labels)

    def _provenance(self, arguments: Mapping[str, JsonValue], labels: Mapping[str, Label]) -> dict[str, JsonValue]:
        """Where the arguments came from: the worst of each role, and who may not read what they say."""
        worst: dict[str, int] = dict.fromkeys(self.roles.values(), NOTHING.level)
        for name, role in self.roles.items():
            if name in labels:
                worst[role] = min(worst[role], labels[name].level)
        low = sorted(role for role, level in worst.items() if level < LEVELS["record"])
        unknown = sorted({role for name, role in self.roles.items() if name in labels and _is_unknown(labels[name])})
        told: dict[str, JsonValue] = {MIN: {**worst}, "untrusted": [*low], UNKNOWN: [*unknown]}
        readers = join(labels.values()).readers if labels else None
        if readers is None:
            return told
        told["readers"] = [*readers]
        outside = sorted({each for each in self._recipients(arguments) if not may_read(each, readers)})
        return {**told, "outside": [*outside[:_ENOUGH]]} if outside else told

    def _recipients(self, arguments: Mapping[str, JsonValue]) -> list[str]:
        """Who gets what the call says; `*` where it goes out and nobody is named."""
        marked = [arguments.get(name) for name, role in self.roles.items() if role == "recipient"]
        named = [str(leaf) for value in marked for _, leaf in leaves(value) if leaf]
        return named or (["*"] if self.spec.effect == "external" else [])

    def _told(self, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """The arguments that have a role, by it: all texts as one; of others that are several, none stands for all."""
        found: dict[str, JsonValue] = {LINKS: []}
        given: dict[Role, list[JsonValue]] = {}
        for name, role in self.roles.items():
            value = arguments.get(name)
            if value not in (None, []):
                given.setdefault(role, []).append(moment(name, value) if role == "when" else value)
        for role, values in given.items():
            if role == "text":
                said = "\n".join(each for value in values for each in _said(value))
                found |= {role: "\n".join(map(_written, values)), LINKS: [*links(said)]}
            elif role != "amount" and len(values) == 1 and isinstance(values[0], str):
                found[role] = values[0]
        total = amount(arguments, self.units)
        return found if total is None else {**found, "amount": total}


def _is_unknown(label: Label) -> bool:
    """Whether no better source has it: it is only as good as all that the run was given."""
    return label.level <= LEVELS["agent"] and not label.doubtful


def _written(value: JsonValue) -> str:
    """All that a text says, in lists and objects, too."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _said(value: JsonValue) -> Iterator[str]:
    """The same as people read it: each text and each name in it, nothing escaped."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from part
            left += part.values()
        elif isinstance(part, list):
            left += part


def moment(name: str, value: JsonValue) -> str:
    """A time as Cedar reads it; without an offset it is in UTC.

    Raises:
        Invalid: It is none.
    """
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        utc = found and (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        utc = None
    if utc is None:
        raise Invalid(f"{name!r} must be a time as ISO 8601 writes it, 2026-11-21T09:30:00Z, not {value!r}")
    return f"{utc.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
