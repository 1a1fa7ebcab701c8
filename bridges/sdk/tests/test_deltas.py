"""Streams: whatever gets lost, repeated or mixed up on the way, the parts make up what the reply says."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dominie._deltas import Assembler, Chunk
from dominie_contracts.model import Delta


def chunks(words: list[str], calls: list[str]) -> list[Chunk]:
    deltas: list[dict[str, Any]] = [{"content": word} for word in words]
    for index, arguments in enumerate(calls):
        head = {"index": index, "id": f"c{index}", "type": "function"}
        deltas.append({"tool_calls": [{**head, "function": {"name": "pay", "arguments": arguments[:1]}}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments[1:]}}]})
    found: list[Chunk] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return [*found, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]


def reply(words: list[str], calls: list[str]) -> dict[str, Any]:
    tool_calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "pay", "arguments": arguments}}
        for i, arguments in enumerate(calls)
    ]
    message = {"role": "assistant", "content": "".join(words), "tool_calls": tool_calls}
    return {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def joined(found: list[Any]) -> tuple[str, list[str], list[Any]]:
    text, calls, ends = "", dict[int, str](), []
    for chunk in found:
        choice = chunk["choices"][0]
        text += choice["delta"].get("content") or ""
        for call in choice["delta"].get("tool_calls") or ():
            calls[call["index"]] = calls.get(call["index"], "") + call["function"]["arguments"]
        ends.append(choice["finish_reason"])
    return text, [calls[index] for index in sorted(calls)], [end for end in ends if end]


WORDS = st.lists(st.text(min_size=1, max_size=4), max_size=5)
CALLS = st.lists(st.text(min_size=2, max_size=5), max_size=2)


@given(WORDS, CALLS, st.data())
def test_the_parts_make_up_the_reply(words: list[str], calls: list[str], data: st.DataObject) -> None:
    sent = list(enumerate(chunks(words, calls)))
    came = data.draw(st.lists(st.sampled_from(sent), max_size=2 * len(sent)))
    found: list[Chunk] = []
    assembler = Assembler(found.append)
    for number, chunk in came:
        assembler.feed(Delta(stream_id="s", number=number, chunk=chunk))
    assembler.finish(reply(words, calls))
    assert joined(found) == ("".join(words), calls, ["stop"])


@given(WORDS)
def test_a_stream_that_begins_anew_is_not_mixed_in(words: list[str]) -> None:
    found: list[Chunk] = []
    assembler = Assembler(found.append)
    for number, chunk in enumerate([*chunks(["one "], [])[:1], *chunks(["other"], [])[:1]]):
        assembler.feed(Delta(stream_id="s", number=number and 0, chunk=chunk))
    assembler.finish(reply(["one ", *words], []))
    assert joined(found)[0] == "one " + "".join(words)
