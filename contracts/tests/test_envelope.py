"""An event's bytes: written once, read back the same."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dominie_contracts import Envelope
from dominie_contracts.envelope import GENESIS, pack_position, unpack_position

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENVELOPES = st.builds(
    Envelope,
    id=TEXTS,
    source=TEXTS,
    type=TEXTS,
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))])),
    stream=TEXTS,
    version=st.integers(1, 2**31),
    tenant=TEXTS,
    actor=TEXTS,
    on_behalf_of=st.none() | TEXTS,
    correlation_id=st.none() | TEXTS,
    prev=st.just(GENESIS),
    data=st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=3), max_size=4),
)
ONE = Envelope(
    id="1",
    source="dominie/tool",
    type="tool.started.v1",
    time=datetime(2026, 7, 2, tzinfo=UTC),
    stream="0.acme.tool.x",
    version=1,
    tenant="acme",
    actor="a-desk",
    on_behalf_of="u-dana",
    prev=GENESIS,
    data={},
)


@given(ENVELOPES)
def test_what_is_sealed_can_be_unsealed(envelope: Envelope) -> None:
    assert Envelope.unseal(envelope.seal()) == envelope
    assert Envelope.unseal(envelope.seal()).seal() == envelope.seal()


@given(ENVELOPES)
def test_an_event_is_one_line(envelope: Envelope) -> None:
    assert b"\n" not in envelope.seal()


def test_the_attributes_are_those_of_cloudevents() -> None:
    sealed = json.loads(ONE.seal())
    assert {"specversion", "id", "source", "type", "time", "datacontenttype", "data"} <= set(sealed)
    assert sealed["onbehalfof"] == "u-dana"
    assert all(name.isalnum() and name.islower() for name in sealed)


@pytest.mark.parametrize(
    "change", [{"time": "2026-07-02T00:00:00"}, {"specversion": "2.0"}, {"more": 1}, {"version": None}, {"data": []}]
)
def test_what_is_no_event(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Envelope.unseal(json.dumps(json.loads(ONE.seal()) | change).encode())


@given(*[st.tuples(st.integers(0, 2**20), st.integers(0, 2**32 - 1), st.integers(0, 255))] * 2)
def test_positions_are_ordered_as_their_parts(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert unpack_position(pack_position(*one)) == one
    assert (pack_position(*one) < pack_position(*other)) == (one < other)
