"""Whether a policy set holds: does it parse, and does every word in it mean something that can be asked?"""

from collections.abc import Iterable, Iterator
from typing import get_args

import cedarpy
from pydantic import JsonValue, ValidationError

from dominie_contracts.action import Priority
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.labels import ROLES
from dominie_contracts.plans import Lack
from dominie_contracts.tool import Effect, Kind, Tools
from dominie_kit.checks.check import INJECTION, UNCHECKED, check_of
from dominie_kit.checks.installed import installed
from dominie_kit.checks.lists import is_list, list_kind, read_list
from dominie_kit.checks.looking import ALL
from dominie_kit.policy.asks import wrong_annotations
from dominie_kit.policy.planned import Place
from dominie_kit.policy.rules import TOOLS, Rule, entity_of, looks, nodes, path_of, read_rules, seeks
from dominie_kit.policy.schema import NOW, full_schema
from dominie_kit.policy.shapes import ANY_TOOL, FOUND, PLAIN, Shape, is_group, shape_of, variants

_WORDS: dict[str, tuple[str, ...]] = {
    "untrusted": ROLES,
    "effect": get_args(Effect),
    "kind": get_args(Kind),
    "priority": get_args(Priority),
    "plan": get_args(Place),
    "plan_lacks": get_args(Lack),
}
"""Attributes whose values are known, so that another can only be a slip."""
_UNKNOWN = "unrecognized action"
_COMPARE = ("==", "!=", "contains", "containsAll", "containsAny")


class PolicyError(ValueError):
    """A policy set that does not parse or does not fit the schema; `problems` names each place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def check_policies(files: tuple[PolicyFile, ...], shapes: Iterable[Shape] = ()) -> int:
    """Validate a policy set; returns how many policies it holds.

    Args:
        files: The set; its `tools.json`, where there is one, describes tools that may not be registered yet.
        shapes: The tools that are.

    Raises:
        PolicyError: A file does not parse, does not fit the schema, two policies share an id, or one names something
            that is not there: an annotation, an action, an attribute, a label.
    """
    problems = list[str]()
    rules = _read(files, problems)
    known = [*_declared(files, problems), *shapes]
    kinds = kinds_of(files)
    for rule in rules:
        problems += [f"{rule.file}: {rule.name} {why}" for why in (*_slips(rule, known), *_kinds(rule, kinds))]
    problems += _doubles(rules)
    if rules:
        problems += _misfits(rules, known)
    if not problems and not rules:
        problems.append("no policy at all: everything would be denied; start with a permit")
    if problems:
        raise PolicyError(problems)
    return len(rules)


def declared_shapes(files: Iterable[PolicyFile]) -> list[Shape]:
    """The tools that a set's `tools.json` describes.

    Raises:
        PolicyError: It does not.
    """
    problems = list[str]()
    found = _declared(files, problems)
    if problems:
        raise PolicyError(problems)
    return found


def unknown_tools(files: tuple[PolicyFile, ...], shapes: Iterable[Shape]) -> list[str]:
    """Tools that policies name and nobody has registered: no slip where they are to come, so it is only said."""
    known = {shape.groups[0] for shape in shapes if len(shape.groups) > 1}
    named = {
        found[1]
        for file in files
        for rule in read_rules(file)
        for node in nodes(rule.body)
        if (found := entity_of(node)) is not None and found[0] == "Tool"
    }
    return sorted(named - known)


def _read(files: tuple[PolicyFile, ...], problems: list[str]) -> list[Rule]:
    rules = list[Rule]()
    for file in files:
        try:
            if is_list(file.name):
                read_list(file)
            rules += read_rules(file, len(rules))
        except ValueError as error:
            problems.append(f"{file.name}: does not parse: {error}")
    return rules


def _declared(files: Iterable[PolicyFile], problems: list[str]) -> list[Shape]:
    found = list[Shape]()
    for file in files:
        if file.name == TOOLS:
            try:
                found += map(shape_of, Tools.model_validate_json(file.text).tools)
            except ValidationError as error:
                first = error.errors()[0]
                problems.append(f"{file.name}: describes no tools: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    return found


def _doubles(rules: list[Rule]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.annotations.get("id") is not None and rule.name in seen:
            yield f"{rule.file}: the id {rule.name!r} is taken by {seen[rule.name]}"
        seen.setdefault(rule.name, rule.file)


def _misfits(rules: list[Rule], shapes: list[Shape]) -> list[str]:
    """What Cedar's validator says, of each policy by its name."""
    found: dict[str, dict[str, None]] = {}
    text = "\n".join(rule.text for rule in rules)
    for row in variants(shapes):
        for error in cedarpy.validate_policies(text, full_schema(row)).errors:
            told = str(error.error).replace(f"for policy `{error.policy_id}`, ", "")
            found.setdefault(str(error.policy_id), {})[told] = None
    return [
        f"{rule.file}: {rule.name}: {told}"
        for at, rule in enumerate(rules)
        for told in _first_causes(found.get(f"policy{at}", {}))
    ]


def _first_causes(told: Iterable[str]) -> list[str]:
    """Where a name is not known at all, what follows from that is left out."""
    unknown = [each for each in told if _UNKNOWN in each]
    return [f"{each}: no such tool is registered, or described in {TOOLS}" for each in unknown] or [*told]


def _slips(rule: Rule, shapes: list[Shape]) -> Iterator[str]:
    """What the validator lets pass, and what can only be a slip."""
    if rule.annotations.get("id") is None:
        yield "has no @id, so nobody could say which policy decided"
    yield from wrong_annotations(rule.body)
    yield from _attributes(rule, shapes)
    conditions = rule.body.get("conditions")
    for node in nodes(conditions):
        yield from _words(node)
    for group in sorted(_compared_groups(conditions)):
        yield f'compares with Action::"{group}", a group that no request asks for itself: write `in`'


def _attributes(rule: Rule, shapes: list[Shape]) -> Iterator[str]:
    """`context has recipent` is false for ever, and the validator does not mind."""
    known: dict[str, JsonValue] = {NOW: {}}
    for shape in (*PLAIN.values(), ANY_TOOL, *shapes):
        for name, kind in shape.attributes.items():
            earlier = known.setdefault(name, {})
            if kind.get("type") == "Record" and isinstance(earlier, dict):
                known[name] = {**earlier, **_inner(kind)}
    paths = {path[:2] for path in looks(rule.body)}
    yield from (
        f"asks for context.{name}, which no request has" for name in sorted({path[0] for path in paths} - known.keys())
    )
    for path in sorted(paths):
        inner = known.get(path[0])
        if len(path) > 1 and isinstance(inner, dict) and inner and path[1] not in inner:
            yield f"asks for context.{'.'.join(path)}, which no request has"


def _inner(kind: dict[str, JsonValue]) -> dict[str, JsonValue]:
    found = kind.get("attributes")
    return found if isinstance(found, dict) else {}


def _words(node: dict[str, JsonValue]) -> Iterator[str]:
    """A value that an attribute never has: `context.untrusted.contains("recipent")`."""
    for word in _COMPARE:
        sides = node.get(word)
        if not isinstance(sides, dict):
            continue
        for one, other in ((sides.get("left"), sides.get("right")), (sides.get("right"), sides.get("left"))):
            path = path_of(one)
            if path and len(path) == 1 and path[0] in _WORDS:
                for text in sorted(_texts(other) - set(_WORDS[path[0]])):
                    yield f"knows no {text!r} for context.{path[0]}: there is {', '.join(_WORDS[path[0]])}"


def kinds_of(files: Iterable[PolicyFile]) -> frozenset[str]:
    """What `context.found` may hold: what the installed checks find, the set's own deny lists, and two words more."""
    named = (list_kind(file.name) for file in files)
    found = (kind for check in installed().checks.values() for kind in check.finds)
    return frozenset((*found, *filter(None, named), INJECTION, UNCHECKED))


def _kinds(rule: Rule, kinds: frozenset[str]) -> Iterator[str]:
    """A kind that no check finds; it would be refused as not checked at every call."""
    for kind in sorted(seeks(rule.body, FOUND) - kinds - {ALL}):
        broken = installed().broken.get(check_of(kind))
        why = f"its check cannot be loaded ({broken})" if broken else "`dominie checks list` shows what is found"
        yield f"looks for {kind!r} in context.found, which no check finds: {why}"


def _texts(tree: JsonValue) -> set[str]:
    return {value for node in nodes(tree) if isinstance(value := node.get("Value"), str)}


def _compared_groups(tree: JsonValue) -> set[str]:
    """Groups of actions that stand anywhere but to the right of `in`."""
    if isinstance(tree, list):
        return set().union(*map(_compared_groups, tree)) if tree else set()
    if not isinstance(tree, dict):
        return set()
    found = entity_of(tree)
    if found is not None:
        return {found[1]} if found[0] == "Action" and is_group(found[1]) else set()
    parts = (
        sides["left"] if word == "in" and isinstance(sides, dict) and "left" in sides else sides
        for word, sides in tree.items()
    )
    return set().union(*map(_compared_groups, parts))
