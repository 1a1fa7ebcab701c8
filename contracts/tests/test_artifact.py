"""What stands for an artifact, and that everything takes it for the value that it stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts.action import Finished
from dominie_contracts.artifact import Reference, names, reference, references, size_text
from dominie_contracts.labels import leaves
from dominie_contracts.results import label_result
from dominie_contracts.seen import Seen, label_arguments
from dominie_contracts.summary import signature, summarise

NAME, OTHER = "0" * 31 + "a", "f" * 32
TEXT = Reference(name=NAME, size=5_000_000, media_type="text/plain")
TABLE = Reference(name=OTHER, size=200_000, media_type="application/json")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(TEXT.stand_in),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_every_reference_is_found_where_it_stands(value: JsonValue) -> None:
    stand_ins = [part for _, part in leaves(value) if part == TEXT.stand_in]
    assert [found.stand_in for found in references(value)] == stand_ins
    assert names(value) == ((NAME,) if stand_ins else ())


@pytest.mark.parametrize(
    "changed",
    [
        {"more": 1},
        {"size": -1},
        {"size": True},
        {"size": 1.5},
        {"media_type": "text/html"},
        {"$artifact": NAME + "\n"},
        {"$artifact": NAME.upper()},
        {"$artifact": None},
    ],
)
def test_what_only_looks_like_one_is_a_value_like_any_other(changed: dict[str, JsonValue]) -> None:
    assert reference(TEXT.stand_in) == TEXT
    assert reference({**TEXT.stand_in, **changed}) is None


def test_an_artifact_from_a_record_vouches_for_itself_and_for_none_of_its_parts() -> None:
    schema: dict[str, JsonValue] = {"properties": {"body": {"x-dominie": {"integrity": "record"}}}}
    result: JsonValue = {"body": TEXT.stand_in, "note": TABLE.stand_in}
    labels = label_result(result, schema).integrity
    assert labels == {"/body": "record"}
    seen = Seen()
    seen.take(Finished(outcome="ok", result=result, labels=labels, duration_ms=1), "tool:a")
    asked: dict[str, JsonValue] = {
        "same": TEXT.stand_in,
        "other": TABLE.stand_in,
        "size": TEXT.size,
        "name": NAME,
        "type": "text/plain",
    }
    found = label_arguments(asked, asked, {}, seen)
    assert {name: label.integrity for name, label in found.items()} == {
        "same": "record",
        **dict.fromkeys(("other", "size", "name", "type"), "untrusted"),
    }


def test_people_see_what_it_is_and_not_the_bytes() -> None:
    shown = signature("tool.invoke", "file", {"text": TEXT.stand_in, "n": 1})
    assert shown == f"file(text=<5.0 MB text/plain {NAME}>, n=1)"
    done = Finished(outcome="ok", result={"copies": [TEXT.stand_in] * 9}, duration_ms=5).model_dump(mode="json")
    assert summarise("tool.finished.v1", done) == f"finished in 5.0 ms{f', <5.0 MB text/plain {NAME}>' * 3}"
    assert [size_text(size) for size in (0, 999, 1000, 999_949, 999_950)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
    ]
