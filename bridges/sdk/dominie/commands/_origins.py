"""Why a call was refused, or asked about: where its arguments came from, source by source, back to the first."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from dominie.commands._show import safe
from dominie_contracts import Message, StreamName
from dominie_contracts.audit import Entry
from dominie_contracts.provenance import LEVELS, Integrity, Label

if TYPE_CHECKING:
    from rich.console import Console

_DEEP, _MOST = 8, 100
"""So far back, and so many sources, are looked up."""
EventsOf = Callable[[str], Sequence[Entry]]
"""The events of an action, by its id."""


class Source(Message):
    """Something that data were made from."""

    source: str
    what: str
    agent: str = ""
    run: str | None = None
    integrity: Integrity
    made_from: tuple["Source", ...] = ()


class Origin(Message):
    """One argument of a call that was refused, or asked about."""

    action: str
    call: str
    decision: str
    argument: str
    label: Label
    made_from: tuple[Source, ...] = ()


def origins(entries: Sequence[Entry], events_of: EventsOf) -> list[Origin]:
    """Of each refused or asked call of a run, the arguments that are labelled, the worst first."""
    finding = _Finding(events_of)
    calls = {entry.stream: _call(entry) for entry in entries if ".requested." in entry.type}
    found = {
        (entry.stream, name): Origin(
            action=StreamName.parse(entry.stream).id,
            call=calls.get(entry.stream, ""),
            decision=str(entry.data["decision"]),
            argument=name,
            label=label,
            made_from=tuple(finding.sources(label, label.level)),
        )
        for entry in entries
        if ".decided." in entry.type and entry.data.get("decision") in ("deny", "ask")
        for name, label in _labels(entry.data.get("labels")).items()
    }
    return sorted(found.values(), key=lambda origin: origin.label.level)


def print_origins(console: "Console", found: Sequence[Origin]) -> None:
    """The arguments that came from no record, nor from the user, each with what it was made from below it."""
    alike: dict[str, tuple[Origin, list[str]]] = {}
    for origin in found:
        if origin.label.level < LEVELS["record"]:
            key = f"{origin.action} {origin.label.model_dump_json()}"
            alike.setdefault(key, (origin, []))[1].append(safe(origin.argument))
    for origin, names in alike.values():
        head = f"{safe(origin.call)}: {origin.decision}; {origin.label.integrity}: {', '.join(sorted(names))}"
        for line in ("", head, *_lines(origin.made_from, 1)):
            console.print(line, markup=False, highlight=False)


def _lines(sources: Sequence[Source], depth: int) -> Iterator[str]:
    for source in sources:
        by = f" by {source.agent} in run {source.run}" if source.agent else ""
        yield f"{'  ' * depth}from {safe(source.what)}{safe(by)}: {source.integrity}"
        yield from _lines(source.made_from, depth + 1)


class _Finding:
    """Looks sources up, each once."""

    def __init__(self, events_of: EventsOf) -> None:
        self._events_of = events_of
        self._left = _MOST
        self._known: dict[str, list[Entry]] = {}

    def sources(self, label: Label, level: int, above: tuple[str, ...] = ()) -> Iterator[Source]:
        """What a label names, as far as it is as bad as what was made of it."""
        for source in label.sources:
            found = self._source(source, level, above) if source not in above else None
            if found is not None and LEVELS[found.integrity] <= level:
                yield found

    def _source(self, source: str, level: int, above: tuple[str, ...]) -> Source | None:
        category, _, id_ = source.partition(":")
        if category in ("request", "sha256"):
            what = "the user's request" if category == "request" else "others, of which this is a digest"
            return Source(source=source, what=what, integrity="user" if category == "request" else "untrusted")
        events = self._events(category, id_)
        label = _label_of(events)
        asked = next((each for each in events if ".requested." in each.type), None)
        inner = self.sources(label, level, (*above, source)) if len(above) < _DEEP else ()
        return Source(
            source=source,
            what=_call(asked) if asked else source,
            agent=asked.agent if asked else "",
            run=asked.run if asked else None,
            integrity=label.integrity,
            made_from=tuple(inner),
        )

    def _events(self, category: str, id_: str) -> list[Entry]:
        if id_ not in self._known:
            self._known[id_] = [*self._events_of(id_)] if self._left > 0 else []
            self._left -= 1
        return [each for each in self._known[id_] if each.stream.endswith(f".{category}.{id_}")]


def _call(asked: Entry) -> str:
    """What was asked, in a few words."""
    return asked.summary.removesuffix(" asked")


def _label_of(events: Sequence[Entry]) -> Label:
    """What an action gave: the text that it kept, or its outcome; untrusted where nothing says better."""
    said = [each.data["label"] for each in events if each.data.get("label") is not None]
    kept = [each.data["label"] for each in events if ".remembered." in each.type or ".turn_added." in each.type]
    try:
        return Label.model_validate((kept or said)[0])
    except (IndexError, ValidationError):
        return Label(integrity="untrusted")


def _labels(value: JsonValue) -> dict[str, Label]:
    """The labels of a decision; none of one that was made before they were noted."""
    return {name: Label.model_validate(each) for name, each in value.items()} if isinstance(value, dict) else {}
