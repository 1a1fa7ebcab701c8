"""What stands in the record of an action: a call's result, or a note. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from dominie_contracts import Payload, Recorded
from dominie_contracts.action import Requested, fold
from dominie_contracts.memory import Remembered
from dominie_contracts.provenance import Integrity, Label
from dominie_contracts.registry import parse_event
from dominie_contracts.tool import TOOL
from dominie_tool.endorsing.aggregate import Place


class _Said(NamedTuple):
    value: JsonValue
    integrity: Mapping[str, Integrity]
    readers: Mapping[str, tuple[str, ...]]


def place_of(source: str, recorded: Sequence[Recorded]) -> Place | None:
    """What an action gave; None where there is none, it failed, or has not ended."""
    if not recorded or recorded[0].envelope.correlation_id is None:
        return None
    envelope = recorded[0].envelope
    payloads = [each for event in recorded if (each := parse_event(event.type, event.envelope.data)) is not None]
    said = _result(payloads) if source.startswith(f"{TOOL}:") else _note(payloads)
    if said is None:
        return None
    return Place(
        source,
        run=envelope.correlation_id or "",
        user=envelope.on_behalf_of or "",
        chain=envelope.actor,
        session=next((each.session for each in payloads if isinstance(each, Requested)), None),
        value=said.value,
        integrity=said.integrity,
        readers=said.readers,
    )


def _result(payloads: Sequence[Payload]) -> _Said | None:
    finished = fold(payloads).finished
    if finished is None or finished.problem is not None:
        return None
    return _Said(finished.result, finished.labels, finished.readers)


def _note(payloads: Sequence[Payload]) -> _Said | None:
    kept = next((each for each in payloads if isinstance(each, Remembered)), None)
    if kept is None:
        return None
    label = kept.label or Label(integrity="untrusted")
    return _Said(kept.text, {"": label.integrity}, {} if label.readers is None else {"": label.readers})
