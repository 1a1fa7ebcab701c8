"""What a script answers to what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dominie_model.adapters.conversation import Conversation
from dominie_model.adapters.script import Script
from dominie_model.adapters.script_errors import BadScript, NoRule, Unfillable
from dominie_model.adapters.script_rule import Answer

USER = {"role": "user", "content": "refund A1, it was $30.50"}


def called(*names: str) -> list[dict[str, Any]]:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": n, "arguments": "{}"}} for i, n in enumerate(names)
    ]
    results = [{"role": "tool", "tool_call_id": f"c{i}", "content": f"{n} done"} for i, n in enumerate(names)]
    return [{"role": "assistant", "content": None, "tool_calls": calls}, *results]


def conversation(*messages: dict[str, Any], model: str = "m", tools: tuple[str, ...] = ()) -> Conversation:
    offered = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in tools]
    return Conversation.model_validate({"model": model, "messages": messages or [USER], "tools": offered})


def play(rule: dict[str, Any], *messages: dict[str, Any], **more: Any) -> Answer | None:
    script = Script.model_validate([{"reply": {"content": "yes"}} | rule])
    try:
        return script.play(conversation(*messages, **more))
    except NoRule:
        return None


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ({}, True),
        ({"model": "m"}, True),
        ({"model": "n"}, False),
        ({"last_role": "tool"}, True),
        ({"last_role": "user"}, False),
        ({"system": "desk"}, True),
        ({"system": "kitchen"}, False),
        ({"user": "^refund"}, True),
        ({"user": "^hello"}, False),
        ({"tool": "log done"}, True),
        ({"tool": "find done"}, False),
        ({"called": ["find", "log"]}, True),
        ({"called": ["find"]}, False),
        ({"called": []}, False),
        ({"offers": "find"}, True),
        ({"offers": "mail"}, False),
        ({"model": "m", "user": "nothing of this"}, False),
    ],
)
def test_a_rule_matches_when_all_of_it_holds(when: dict[str, Any], matches: bool) -> None:
    before = [{"role": "system", "content": "you are a desk"}, {"role": "user", "content": "hello"}, *called("mail")]
    answer = play({"when": when}, *before, USER, *called("find", "log"), tools=("find", "log"))
    assert (answer is not None) is matches


def test_the_first_rule_that_matches_answers() -> None:
    script = Script.model_validate(
        [
            {"when": {"user": "hello"}, "reply": {"content": "1"}},
            {"when": {"user": "refund"}, "reply": {"content": "2"}},
            {"reply": {"content": "3"}},
        ]
    )
    assert script.play(conversation()).content == "2"


def test_an_earlier_turns_calls_do_not_count() -> None:
    earlier = [{"role": "user", "content": "hello"}, *called("find")]
    assert play({"when": {"called": []}}, *earlier, USER)
    assert not play({"when": {"tool": "find"}}, *earlier, USER)


def test_placeholders_are_filled_from_every_regex_of_the_rule() -> None:
    rule = {
        "when": {"user": r"\$(?P<price>[\d.]+)", "tool": "(?P<what>find) done"},
        "find": {"order": r"refund (\w+)", "word": "do.e", "extra": r"(?P<verb>refund|mail) \w+"},
        "reply": {"content": "{what} {order} {word} {verb} {price} {{brace}}"},
    }
    answer = play(rule, USER, *called("find"))
    assert answer is not None
    assert answer.content == "find A1 done refund 30.50 {brace}"


def test_find_takes_the_last_match_of_the_conversation() -> None:
    again = {"role": "user", "content": "no, refund B2"}
    answer = play({"find": {"order": r"refund (\w+)"}, "reply": {"content": "{order}"}}, USER, again)
    assert answer is not None
    assert answer.content == "B2"
    assert play({"find": {"order": "return"}}, USER) is None


@pytest.mark.parametrize(
    ("template", "text", "number"),
    [("$int", "1,234", 1234), ("$cents", "$30.50", 3050), ("$cents", "90", 9000), ("$int", "-7", -7)],
)
def test_text_becomes_a_number(template: str, text: str, number: int) -> None:
    rule = {
        "when": {"user": "(?P<n>.*)"},
        "reply": {"tool_calls": [{"name": "pay", "arguments": {"deep": [{template: "{n}"}], "plain": 5}}]},
    }
    answer = play(rule, {"role": "user", "content": text})
    assert answer is not None
    assert json.loads(answer.tool_calls[0].arguments) == {"deep": [number], "plain": 5}


@pytest.mark.parametrize(
    ("template", "text"), [("$int", "many"), ("$int", "1.5"), ("$cents", "0.005"), ("$int", "NaN")]
)
def test_text_that_is_no_number_is_an_error(template: str, text: str) -> None:
    rule = {
        "when": {"user": "(?P<n>.*)"},
        "reply": {"tool_calls": [{"name": "p", "arguments": {"n": {template: "{n}"}}}]},
    }
    with pytest.raises(Unfillable, match=text):
        play(rule, {"role": "user", "content": text})


def test_content_that_is_no_string_is_sent_as_json() -> None:
    rule = {"when": {"user": "(?P<all>.*)"}, "reply": {"content": {"verdict": "reject", "why": "{all}"}}}
    answer = play(rule, {"role": "user", "content": 'a "quote"'})
    assert answer is not None
    assert json.loads(answer.content or "") == {"verdict": "reject", "why": 'a "quote"'}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "the file"),
        ("{}", "the file"),
        ('[{"when": {}}]', "0.reply"),
        ('[{"reply": {}}]', "0.reply"),
        ('[{"reply": {"content": "x"}, "wenn": {}}]', "0.wenn"),
        ('[{"when": {"user": "("}, "reply": {"content": "x"}}]', "0.when.user"),
        ('[{"reply": {"content": "{unknown}"}}]', "unknown"),
        ('[{"reply": {"content": "x"}, "status": 42}]', "0.status"),
    ],
)
def test_a_bad_file_is_refused_and_says_where(tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "script.json"
    file.write_text(text)
    with pytest.raises(BadScript, match=where):
        Script.load(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadScript, match=r"none\.json"):
        Script.load(tmp_path / "none.json")


@pytest.mark.parametrize("messages", [[USER], [USER, *called("find")], [{"role": "system", "content": "be kind"}]])
def test_the_default_script_answers_anything(messages: list[dict[str, Any]]) -> None:
    assert "scripted model" in (Script.default().play(conversation(*messages)).content or "")
