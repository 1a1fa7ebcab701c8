"""An event's bytes: written once, read back the same."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dominie_contracts import Draft, Envelope, Recorded
from dominie_contracts.envelope import GENESIS, pack_position, unpack_position

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DATA = st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=3), max_size=4)
DRAFTS = st.builds(
    Draft,
    id=TEXTS,
    source=TEXTS,
    type=TEXTS,
    time=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))])),
    actor=TEXTS,
    on_behalf_of=st.none() | TEXTS,
    correlation_id=st.none() | TEXTS,
    data=DATA.map(json.dumps),
)
ONE = Draft(
    id="1",
    source="dominie/tool",
    type="tool.started.v1",
    time=datetime(2026, 7, 2, tzinfo=UTC),
    actor="a-desk",
    on_behalf_of="u-dana",
    data="{}",
)


def sealed(draft: Draft, version: int = 1) -> bytes:
    return draft.seal("acme.tool.x", "acme", version=version, prev=GENESIS)


@given(DRAFTS, st.integers(1, 2**31))
def test_what_is_sealed_can_be_unsealed(draft: Draft, version: int) -> None:
    envelope = Envelope.unseal(sealed(draft, version))
    assert (envelope.stream, envelope.tenant, envelope.version, envelope.prev) == (
        "acme.tool.x",
        "acme",
        version,
        GENESIS,
    )
    assert envelope.data == json.loads(draft.data)
    for name in ("id", "source", "type", "time", "actor", "on_behalf_of", "correlation_id", "causation_id"):
        assert getattr(envelope, name) == getattr(draft, name)


@given(DRAFTS)
def test_an_event_is_one_line_that_says_its_type(draft: Draft) -> None:
    raw = sealed(draft)
    assert b"\n" not in raw
    assert Recorded(1, raw).type == draft.type == Recorded(1, raw).envelope.type


def test_data_on_two_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="one line"):
        sealed(ONE._replace(data='{"a":\n1}'))


def test_a_type_is_read_however_the_bytes_are_ordered() -> None:
    raw = json.dumps(dict(reversed(json.loads(sealed(ONE)).items())), indent=1).encode()
    assert Recorded(1, raw).type == ONE.type


def test_the_attributes_are_those_of_cloudevents() -> None:
    found = json.loads(sealed(ONE))
    assert {"specversion", "id", "source", "type", "time", "datacontenttype", "data"} <= set(found)
    assert found["onbehalfof"] == "u-dana"
    assert all(name.isalnum() and name.islower() for name in found)


@pytest.mark.parametrize(
    "change", [{"time": "2026-07-02T00:00:00"}, {"specversion": "2.0"}, {"more": 1}, {"version": None}, {"data": []}]
)
def test_what_is_no_event(change: dict[str, object]) -> None:
    raw = json.dumps(json.loads(sealed(ONE)) | change).encode()
    with pytest.raises(ValidationError):
        Recorded(1, raw).checked()


@given(*[st.tuples(st.integers(0, 2**20), st.integers(0, 2**32 - 1), st.integers(0, 255))] * 2)
def test_positions_are_ordered_as_their_parts(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert unpack_position(pack_position(*one)) == one
    assert (pack_position(*one) < pack_position(*other)) == (one < other)
