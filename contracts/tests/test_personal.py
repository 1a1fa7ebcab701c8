"""What is personal is sealed and opened where it stands, and nothing else is touched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import to_json

from dominie_contracts import ProblemDetails
from dominie_contracts.action import Finished, Requested
from dominie_contracts.base import Payload
from dominie_contracts.judge import Judged, Vote
from dominie_contracts.memory import Remembered
from dominie_contracts.personal import ERASED, erased, is_erased, key_ids, open_parts, parts, seal_parts, token_of
from dominie_contracts.registry import EVENTS, parse_event

ID = "0123456789abcdef01234567"
LEAVES = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
PROBLEM = ProblemDetails(type="t", title="T", status=400, detail="no dana", extra={"a": 1})
JUDGED = Judged(
    verdict="held", votes=(Vote(judge="j", vote="reject", why="dana"), Vote(judge="k", vote="accept")), quorum=1,
    output_digest="d",
)  # fmt: skip


class Safe:
    """Holds what was sealed, by token."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, JsonValue]] = {}

    def seal(self, path: str, data: bytes) -> str:
        token = f"{ID}.{len(self.held)}"
        self.held[token] = (path, json.loads(data))
        return token

    def unseal(self, path: str, value: JsonValue) -> JsonValue:
        found, held = self.held[token_of(value) or ""]
        assert found == path
        return held


def stored(payload: Payload, safe: Safe) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = json.loads(to_json(seal_parts(payload, safe.seal)))
    return found


@given(VALUES, st.dictionaries(st.text(), VALUES), st.text(min_size=1))
def test_what_was_sealed_opens_to_what_it_was(result: JsonValue, arguments: dict[str, JsonValue], text: str) -> None:
    for payload in (
        Finished(outcome="ok", result=result, labels={"/a": "record"}, duration_ms=1),
        Requested(command="c", key=text, arguments=arguments, digest="d", deadline_ms=1),
        Remembered(id="i", namespace="n", subject="s", text=text),
        Finished(outcome="error", problem=PROBLEM, duration_ms=1),
        JUDGED,
    ):
        safe = Safe()
        data = open_parts(type(payload), stored(payload, safe), safe.unseal)
        assert type(payload).model_validate(data) == payload


def test_only_what_is_personal_is_sealed() -> None:
    safe = Safe()
    data = stored(Finished(outcome="error", result={"to": "dana"}, problem=PROBLEM, duration_ms=1), safe)
    assert b"dana" not in json.dumps(data).encode()
    assert (data["outcome"], data["duration_ms"]) == ("error", 1.0)
    problem = data["problem"]
    assert isinstance(problem, dict) and (problem["type"], problem["status"]) == ("t", 400)
    assert [path for path, _ in safe.held.values()] == ["result", "problem.detail", "problem.extra"]
    assert [path for path, _ in _sealed(JUDGED)] == ["votes.0.why", "output_digest"]


@pytest.mark.parametrize("type_", [type_ for type_, kind in EVENTS.items() if parts(kind)])
def test_a_sealed_event_and_an_erased_one_fit_their_contract(type_: str) -> None:
    samples: dict[str, dict[str, JsonValue]] = {
        "requested": {"command": "c", "digest": "d", "deadline_ms": 1},
        "decided": {"decision": "allow", "policies": []},
    }
    samples |= {"parked": {"asks": [], "digest": "d", "command": "c", "expires_ms": 1}}
    samples |= {"finished": {"outcome": "ok", "duration_ms": 1.0}, "remembered": _named("id namespace subject")}
    samples |= {"turn_added": {**_named("id session subject"), "role": "user"}, "answered": _ANSWERED}
    samples |= {"reached": {}, "judged": {"verdict": "held", "votes": [], "quorum": 1}}
    samples |= {"opened": {**_named("run agent user"), "session": None, "grants": {}, "expires_s": 1}}
    said = {**_named("id source digest scope by run user key"), "scope": "run", "was": "untrusted", "whole": True}
    samples |= {"endorsed": {**said, "label": {"integrity": "record"}}, "revoked": _named("id by run")}
    kind = EVENTS[type_]
    sealed: dict[str, JsonValue] = {
        name: f"$sealed:{ID}.x" if _is_text(kind, name) else {"$sealed": f"{ID}.x"}
        for name, inner in parts(kind).items()
        if inner is None
    }
    word = type_.split(".")[1]
    data = {**samples[word], **sealed}
    assert parse_event(type_, data) is not None
    gone = open_parts(kind, data, lambda path, value: erased(value))
    assert parse_event(type_, gone) is not None
    assert all(is_erased(gone[name]) for name in sealed)


_ANSWERED: dict[str, JsonValue] = {
    "action": "a", "category": "tool", "digest": "d", "decision": "grant", "by": "u-f", "groups": [], "expires_ms": 1
}  # fmt: skip


def _named(names: str) -> dict[str, JsonValue]:
    return dict.fromkeys(names.split(), "x")


def _is_text(kind: type[Payload], name: str) -> bool:
    return kind.model_fields[name].annotation in (str, str | None)


def _sealed(payload: Payload) -> list[tuple[str, JsonValue]]:
    safe = Safe()
    stored(payload, safe)
    return list(safe.held.values())


def test_the_keys_of_an_event_are_found_in_its_bytes() -> None:
    raw = json.dumps(stored(Remembered(id="i", namespace="n", subject="s", text="dana"), Safe()))
    assert key_ids(raw.replace(" ", "").encode()) == {ID}
    assert key_ids(b'{"text":"$sealed:no.key"}') == set()


def test_marks_are_not_mistaken() -> None:
    assert token_of("$sealed:x") == token_of({"$sealed": "x"}) == "x"
    others: tuple[JsonValue, ...] = ("sealed:x", {"$sealed": 1}, {"$sealed": "x", "a": 1}, None, 3)
    assert [token_of(other) for other in others] == [None] * 5
    assert is_erased(ERASED) and is_erased({ERASED: True})
    assert not is_erased("erased") and not is_erased({}) and not is_erased(None)
