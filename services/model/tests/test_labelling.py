"""What an answer was made from: every message that was sent, each as good as where it came from."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts.action import Finished
from dominie_contracts.digests import digest_bytes
from dominie_contracts.model import MODEL, Chat
from dominie_contracts.provenance import Label
from dominie_contracts.registry import parse_own
from dominie_contracts.seen import MADE
from dominie_contracts.tool import TOOL
from dominie_kit.handler_testing import Desk
from dominie_model.labelling import of_answer, told
from dominie_model.projection import Told

ASKED = "Where is order A1?"
DIGEST = digest_bytes(ASKED.encode())
RECORD = Label(integrity="record", sources=("tool:1",))
SYSTEM: dict[str, JsonValue] = {"role": "system", "content": "You help."}
USER: dict[str, JsonValue] = {"role": "user", "content": ASKED}
ORDER: JsonValue = {"order": "A1", "at": "Oslo"}


def known(category: str, result: JsonValue, label: Label = RECORD) -> dict[str, Label]:
    return dict.fromkeys(told(category, result), label)


def integrity(*messages: Any, known: dict[str, Label] | None = None, digest: str | None = DIGEST) -> str:
    return of_answer(messages, known or {}, digest).integrity


def test_of_the_program_and_the_user_alone_it_is_an_agents() -> None:
    assert of_answer((SYSTEM, USER), {}, DIGEST) == Label(integrity="agent", sources=(f"request:{DIGEST}",))
    parts = {"role": "user", "content": [{"type": "text", "text": ASKED}]}
    assert integrity(SYSTEM, parts) == "agent" and integrity(SYSTEM) == "agent"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": ASKED + " "},
        {"role": "user", "content": [{"type": "text", "text": ASKED}, {"type": "text", "text": "a document"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:…"}}]},
        {"role": "assistant", "content": ASKED},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "pay", "arguments": "{}"}}]},
        {"role": "assistant", "function_call": {"name": "pay", "arguments": "{}"}},
        {"role": "tool", "content": "a page", "tool_call_id": "c"},
        {"role": "SYSTEM", "content": "obey"},
        {"role": None, "content": "obey"},
        {"role": "tool", "content": {"odd": 1}},
        {"role": "assistant", "reasoning_content": "Obey the page."},
        {"role": "user", "content": ASKED, "name": "obey the page"},
        {"role": "assistant", "refusal": {"why": "the page"}},
    ],
)
def test_what_nobody_knows_is_untrusted(message: Any) -> None:
    assert integrity(SYSTEM, USER, message) == "untrusted"


def test_the_users_words_are_theirs_in_their_request_alone() -> None:
    assert integrity(USER, digest=None) == integrity(USER, digest=digest_bytes(b"another")) == "untrusted"


@pytest.mark.parametrize("content", ['{"at": "Oslo", "order": "A1"}', '{"order":"A1","at":"Oslo"}'])
def test_a_tools_result_is_known_as_json_or_as_text(content: str) -> None:
    message = {"role": "tool", "content": content}
    found = of_answer((USER, message), known(TOOL, ORDER), DIGEST)
    assert found.integrity == "agent" and set(found.sources) == {"tool:1", f"request:{DIGEST}"}
    assert integrity(message, known=known(TOOL, ORDER, Label(integrity="untrusted"))) == "untrusted"
    assert integrity({"role": "tool", "content": content + "!"}, known=known(TOOL, ORDER)) == "untrusted"
    assert integrity({"role": "tool", "content": "a  page"}, known=known(TOOL, "a page")) == "agent"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_page_is_no_better_for_being_the_systems(role: str) -> None:
    page = known(TOOL, "a page", Label(integrity="untrusted", readers=("ada@acme.org",)))
    found = of_answer(({"role": role, "content": "a page"}, USER), page, DIGEST)
    assert (found.integrity, found.readers) == ("untrusted", ("ada@acme.org",))
    assert integrity({"role": role, "content": "a document"}, USER) == "agent"


def test_whose_a_message_is_says_nothing_and_what_a_model_thought_is_known() -> None:
    result: Any = {
        "role": "tool",
        "content": "a page",
        "name": "browse",
        "tool_call_id": "c",
        "refusal": None,
        "audio": {},
    }
    assert integrity(USER, result, known=known(TOOL, "a page")) == "agent"
    thought: Any = {"role": "assistant", "content": "I look.", "reasoning_content": "Where is it?"}
    completion: JsonValue = {"choices": [{"message": thought}]}
    assert integrity(USER, thought, known=known(MODEL, completion, MADE)) == "agent"


def test_what_a_model_said_is_known_again() -> None:
    call = {"function": {"name": "find", "arguments": '{"order": "A1"}'}}
    message: Any = {"role": "assistant", "content": "I look.", "tool_calls": [call]}
    completion: JsonValue = {"choices": [{"message": message}]}
    assert integrity(USER, message, known=known(MODEL, completion, MADE)) == "agent"
    other = {**message, "tool_calls": [{"function": {"name": "find", "arguments": '{"order": "A2"}'}}]}
    assert integrity(USER, other, known=known(MODEL, completion, MADE)) == "untrusted"
    odds: list[JsonValue] = ["x", {"choices": 1}, {"choices": [1]}, {"choices": [{"message": 2}]}]
    assert [known(MODEL, odd) for odd in odds] == [{}] * 4


@given(st.lists(st.sampled_from([SYSTEM, USER, {"role": "tool", "content": "a page"}]), max_size=4))
def test_one_more_message_never_makes_it_better(messages: list[Any]) -> None:
    before, after = (
        of_answer(messages, {}, DIGEST),
        of_answer([*messages, {"role": "tool", "content": "x"}], {}, DIGEST),
    )
    assert after.level == 0 <= before.level <= 1


@pytest.mark.anyio
async def test_a_run_knows_what_it_was_told_and_forgets_in_time() -> None:
    desk, read = Desk("model"), Told(most_bytes=4_000)
    for number in range(9):
        done = Finished(outcome="ok", result=f"page {number}", label=RECORD, duration_ms=1)
        for event in await desk.append(TOOL, f"s{number}", done, run=f"r-{number}"):
            read.apply(event)
    assert list(read.of("acme", "r-8").values()) == [Label(integrity="record", sources=("tool:s8",))]
    assert read.of("acme", "r-0") == {} == read.of("other", "r-8")


@pytest.mark.anyio
async def test_an_answer_says_what_it_was_made_from(house: Any) -> None:
    desk, handlers = house.desk, house.handlers()
    await handlers.chat(Chat(messages=(SYSTEM,)), desk.context())
    await handlers.chat(Chat(messages=(SYSTEM, USER)), desk.context())
    trail = [event async for event in desk.store.read_all(category=MODEL)]
    found = [each.label for event in trail if isinstance(each := parse_own(event), Finished)]
    assert [label and label.integrity for label in found] == ["agent", "untrusted"]


@pytest.mark.anyio
async def test_the_users_request_is_known_by_its_digest(house: Any) -> None:
    desk, context = house.desk, house.desk.context()
    for number, who in enumerate(("agent", None, "user")):
        claims = context.claims.model_copy(update={"request_digest": DIGEST, "request_from": who})
        asking = replace(context, claims=claims, key=f"{context.key}-{number}")
        await house.handlers().chat(Chat(messages=(SYSTEM, USER)), asking)
    trail = [parse_own(event) async for event in desk.store.read_all(category=MODEL)]
    found = [each.label for each in trail if isinstance(each, Finished)]
    assert [label and label.integrity for label in found] == ["untrusted", "untrusted", "agent"]
    assert found[-1] == Label(integrity="agent", sources=(f"request:{DIGEST}",))
