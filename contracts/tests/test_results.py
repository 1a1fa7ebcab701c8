"""The labels of a result's leaves, from its schema's marks."""

from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts.artifact import Reference
from dominie_contracts.provenance import Label
from dominie_contracts.result_parts import unread_marks
from dominie_contracts.results import MAX_LEAVES, MAX_LOOKED_AT, label_at, label_result, labelled

RECORD: dict[str, JsonValue] = {"x-dominie": {"integrity": "record"}}


def marked(**marks: Any) -> dict[str, Any]:
    return {"x-dominie": marks}


def test_the_nearest_mark_counts_and_what_has_none_is_untrusted() -> None:
    schema: Any = {
        **marked(integrity="record", readers=["@x.org"]),
        "properties": {"note": marked(integrity="untrusted"), "to": marked(readers=["ada@x.org"])},
    }
    found = label_result({"id": 7, "note": "hi", "to": {"a": [1]}}, schema)
    assert found.integrity == {"/id": "record", "/to/a/0": "record"}
    assert found.readers == {"/id": ("@x.org",), "/note": ("@x.org",), "/to/a/0": ("ada@x.org",)}
    assert label_result({"id": 7}, {}) == ({}, {}, Label(integrity="untrusted"))
    assert found.whole == Label(integrity="untrusted", readers=("ada@x.org",))
    nothing: list[JsonValue] = [{}, [], None, {"a": {}}]
    assert [label_result(each, {}).whole.level for each in nothing] == [0] * 4


@pytest.mark.parametrize("level", ["user", "platform", "agent"])
def test_each_integrity_is_told(level: str) -> None:
    assert label_result("x", marked(integrity=level)).integrity == {"": level}


def test_a_mark_is_found_where_the_schema_refers_to_it() -> None:
    defined = {"mail": {"properties": {"to": RECORD}}}
    schema: Any = {"$ref": "#/$defs/mail", "$defs": defined}
    assert label_result({"to": "a", "x": "b"}, schema).integrity == {"/to": "record"}
    listed: Any = {"items": {"$ref": "#/$defs/mail"}, "$defs": defined}
    assert label_result([{"to": "a"}], listed).integrity == {"/0/to": "record"}
    for nowhere in ("#/$defs/gone", "https://example.com/mail", "#/$defs/self"):
        itself: JsonValue = {"self": {"$ref": "#/$defs/self"}}
        assert label_result({"to": "a"}, {"$ref": nowhere, "$defs": itself}).integrity == {}


MAIL: Any = {
    "items": {
        "properties": {
            "from": RECORD,
            "subject": marked(integrity="record", author="from"),
            "body": {**marked(author="from"), "properties": {"text": RECORD}},
        }
    }
}


@pytest.mark.parametrize(
    ("author", "own"),
    [
        ("emma@x.org", True),
        ("Emma@X.org", True),
        ("u-emma@x.org", True),
        (["emma@x.org"], True),
        ("eve@x.org", False),
        (["emma@x.org", "eve@x.org"], False),
        ([], False),
        (None, False),
        (7, False),
        ("", False),
        ("emma@x.org, eve@x.org", False),
    ],
)
def test_what_others_wrote_is_untrusted(author: JsonValue, own: bool) -> None:
    mail: JsonValue = [{"from": author, "subject": "s", "body": {"text": "t", "more": "m"}}]
    found = label_result(mail, MAIL, "u-emma@x.org").integrity
    theirs = {at: level for at, level in found.items() if "from" not in at}
    assert theirs == ({"/0/subject": "record", "/0/body/text": "record", "/0/body/more": "user"} if own else {})


def test_an_author_who_is_not_named_is_nobody() -> None:
    assert label_result([{"subject": "s"}], MAIL, "u-emma").integrity == {}
    assert label_result([{"from": "", "subject": "s"}], MAIL, "").integrity == {"/0/from": "record"}


def test_labels_that_are_too_many_become_their_join() -> None:
    many: JsonValue = {str(number): number for number in range(MAX_LEAVES + 2)}
    assert label_result(many, RECORD).integrity == {"": "record"}
    mixed: Any = {**RECORD, "properties": {"7": marked(integrity="agent", readers=["ada@x.org"])}}
    found = label_result(many, mixed)
    assert (found.integrity, found.readers) == ({"": "agent"}, {"": ("ada@x.org",)})
    worst: Any = {**RECORD, "properties": {"7": marked(integrity="untrusted")}}
    assert label_result(many, worst) == ({}, {}, Label(integrity="untrusted"))
    long: JsonValue = {"k" * 50_000: 1, "l" * 50_000: 2}
    assert label_result(long, RECORD).integrity == {"": "record"}
    deep: JsonValue = "x"
    for _ in range(200):
        deep = [deep]
    assert label_result({"a": deep, "b": 1}, RECORD).integrity == {"/b": "record"}


def test_what_was_recorded_is_read_by_the_nearest_pointer() -> None:
    assert label_at("/a/b", {"": "record"}, {}, "tool:1").integrity == "record"
    assert label_at("/a/b", {"/a": "record", "/a/b": "agent"}, {"/a": ("x@y.z",)}, "tool:1").readers == ("x@y.z",)
    assert label_at("/ab", {"/a": "record"}, {}, "tool:1").integrity == "untrusted"
    assert [label.integrity for _, label in labelled({"a": 1, "b": 2}, {"/a": "user"}, {}, "t:1")] == [
        "user",
        "untrusted",
    ]


WORSE = marked(integrity="untrusted", readers=["@x.org"])


@pytest.mark.parametrize(
    "schema",
    [
        {"additionalProperties": WORSE},
        {"patternProperties": {"^n": WORSE}},
        {"allOf": [WORSE]},
        {"anyOf": [WORSE, {"type": "string"}]},
        {"anyOf": [WORSE, {"type": "null"}], "properties": {"a": {}}},
        {"properties": {"pair": {"prefixItems": [WORSE], "items": WORSE}}},
        {"$ref": "#/$defs/a", "properties": {"b": WORSE}, "$defs": {"a": {}}},
        {"$ref": "#/definitions/a", "definitions": {"a": WORSE}},
        {"properties": {"a": {"not": marked(author="b")}, "b": {}}},
        {"$defs": {"a": marked(readers=[])}},
    ],
)
def test_a_mark_where_nobody_looks_is_told(schema: Any) -> None:
    assert "a mark counts on a property" in next(unread_marks({**RECORD, **schema} if "$ref" not in schema else schema))


def test_a_mark_counts_wherever_it_is_not_told() -> None:
    inner = {"properties": {"bad": WORSE, "inner": {"$ref": "#"}, "kept": {"anyOf": [WORSE, {"type": "null"}]}}}
    schema: Any = {**RECORD, "properties": {"a": {"$ref": "#/$defs/a"}, "l": {"items": WORSE}}, "$defs": {"a": inner}}
    assert list(unread_marks(schema)) == []
    leaf: Any = {"bad": "b", "kept": "k", "inner": {"l": ["x"], "a": {"bad": "c"}}, "other": 1}
    found = label_result({"a": leaf}, schema)
    assert found.integrity == {"/a/other": "record"}
    assert found.readers.keys() == {"/a/bad", "/a/kept", "/a/inner/l/0", "/a/inner/a/bad"}


@pytest.mark.parametrize("nowhere", ["#/definitions/gone", "#/$defs/gone", "#/$defs/self", "x"])
def test_what_refers_to_nothing_has_no_better_label_than_untrusted(nowhere: str) -> None:
    schema: Any = {**RECORD, "properties": {"a": {"$ref": nowhere}}, "$defs": {"self": {"$ref": "#/$defs/self"}}}
    assert label_result({"a": {"b": 1}, "c": 2}, schema).integrity == {"/c": "record"}


def test_the_nearest_mark_of_an_optional_value_is_that_of_the_value() -> None:
    optional: Any = {"anyOf": [marked(integrity="untrusted"), {"type": "null"}], **RECORD}
    assert label_result({"a": "x"}, {"properties": {"a": optional}}).integrity == {}
    said: Any = {"properties": {"a": {"$ref": "#/$defs/a", **RECORD}}, "$defs": {"a": WORSE}}
    assert label_result({"a": "x"}, said).integrity == {"/a": "record"}


ARTIFACT: JsonValue = Reference(name="0" * 32, size=200_000, media_type="application/json").stand_in
BODIES: Any = {
    **RECORD,
    "items": {"properties": {"body": WORSE, "mine": marked(integrity="agent", readers=["a@x.org"])}},
}


@pytest.mark.parametrize(
    ("schema", "label"),
    [
        (RECORD, Label(integrity="record")),
        (BODIES, Label(integrity="untrusted", readers=("a@x.org",))),
        ({**RECORD, **MAIL}, Label(integrity="untrusted")),
        ({**RECORD, "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": BODIES}}, None),
        ({**RECORD, "properties": {"a": {"$ref": "#/gone"}}}, Label(integrity="untrusted")),
        ({**RECORD, "properties": {"a": {**RECORD, "items": {"$ref": "#"}}}}, Label(integrity="record")),
    ],
)
def test_what_became_an_artifact_is_as_bad_as_anything_that_is_marked_in_it(schema: Any, label: Label | None) -> None:
    expected = label or Label(integrity="untrusted", readers=("a@x.org",))
    assert label_result(ARTIFACT, schema).whole == expected
    assert label_result({"in": ARTIFACT}, {"properties": {"in": schema}, "$defs": schema.get("$defs", {})}).whole == (
        expected
    )


def test_a_long_text_of_the_user_is_theirs_as_an_artifact_too() -> None:
    mail: JsonValue = [{"from": "emma", "subject": ARTIFACT}, {"from": "eve", "subject": ARTIFACT}]
    found = label_result(mail, MAIL, "u-emma").integrity
    assert found == {"/0/from": "record", "/0/subject": "record", "/1/from": "record"}


def test_of_what_is_too_much_to_look_at_each_mark_counts() -> None:
    most: JsonValue = [{"body": 1}] * MAX_LOOKED_AT
    assert label_result(most, {**BODIES, **MAIL}).whole == Label(integrity="untrusted")
    (*_, whole) = label_result([*most, 2], BODIES)  # type: ignore[misc]  # it is a list
    assert whole == Label(integrity="untrusted", readers=("a@x.org",))
    assert label_result([*most, 2], RECORD) == ({"": "record"}, {}, Label(integrity="record"))  # type: ignore[misc]
