"""What is too large for a command goes in chunks, and comes back as it was."""

import asyncio
import base64
import hashlib
import json
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_core import to_json

from dominie._artifacts import AT_ONCE, Artifacts
from dominie_contracts import Command, Forbidden, Invalid, Message
from dominie_contracts.artifact import CHUNK_BYTES, INLINE_BYTES, Chunk, Reference, references
from dominie_contracts.headers import MAX_COMMAND_BYTES
from dominie_contracts.shrinking import Large, Shrunk, shrink, shrink_arguments
from dominie_contracts.tool import ChunkPut, FetchChunk, KeepArtifact, PutChunk

pytestmark = pytest.mark.anyio
R = TypeVar("R", bound=Message)
LONG = st.integers(0, 40_000).map(lambda length: "é" * length)
JSON = st.recursive(
    st.integers(-9, 9) | st.booleans() | LONG,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=4), inner, max_size=6),
    max_leaves=30,
)


class Shelf:
    """Takes chunks as the tool service does, without its keys."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.artifacts: dict[str, tuple[Reference, tuple[str, ...]]] = {}
        self.keys: set[str] = set()
        self.under_way = self.most = 0

    async def ask(self, command: Command, reply: type[R], *, key: str) -> R:
        assert key not in self.keys and len(command.model_dump_json()) <= MAX_COMMAND_BYTES
        self.keys.add(key)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        answer = self.answer(command)
        assert isinstance(answer, reply)
        return answer

    def answer(self, command: Command) -> Message:
        match command:
            case PutChunk():
                data = base64.b64decode(command.data)
                name = hashlib.sha256(data).hexdigest()[:32]
                self.held[name] = data
                return ChunkPut(name=name)
            case KeepArtifact():
                name = hashlib.sha256(command.model_dump_json().encode()).hexdigest()[:32]
                size = sum(len(self.held[chunk]) for chunk in command.chunks)
                found = Reference(name=name, size=size, media_type=command.media_type)
                self.artifacts[name] = (found, command.chunks)
                return found
            case FetchChunk():
                if command.name not in self.artifacts:
                    raise Forbidden("this run holds no such artifact")
                found, chunks = self.artifacts[command.name]
                data = self.held[chunks[command.index]]
                return Chunk(data=base64.b64encode(data).decode(), chunks=len(chunks), reference=found)
            case _:
                raise AssertionError(command)


def restored(value: Shrunk) -> Shrunk:
    """A shrunk value with its parts in place."""
    if isinstance(value, Large):
        found: JsonValue = json.loads(value.data) if value.media_type == "application/json" else value.data.decode()
        return found
    if isinstance(value, dict):
        return {name: restored(part) for name, part in value.items()}
    return [restored(part) for part in value] if isinstance(value, list) else value


@settings(max_examples=40)
@given(JSON)
def test_a_shrunk_value_is_short_and_holds_the_same(value: JsonValue) -> None:
    shrunk = shrink(value)
    assert restored(shrunk) == value
    assert len(to_json(stand_ins(shrunk))) <= max(INLINE_BYTES, len(to_json(Large(b"", "text/plain"))))
    assert shrunk == shrink(json.loads(json.dumps(value)))


def stand_ins(value: Shrunk) -> JsonValue:
    """A shrunk value as it is sent."""
    if isinstance(value, Large):
        return Reference(name="0" * 32, size=len(value.data), media_type=value.media_type).stand_in
    if isinstance(value, dict):
        return {name: stand_ins(part) for name, part in value.items()}
    return [stand_ins(part) for part in value] if isinstance(value, list) else value


def test_what_is_large_is_left_out_and_the_rest_stays() -> None:
    shrunk = shrink_arguments({"to": "dana", "text": "x" * 200_000, "rows": [1, 2, 3]})
    assert shrunk == {"to": "dana", "text": Large(b"x" * 200_000, "text/plain"), "rows": [1, 2, 3]}
    assert shrink({"page": {"n": 1, "body": "x" * 200_000}}) == {
        "page": {"n": 1, "body": Large(b"x" * 200_000, "text/plain")}
    }


def test_many_parts_go_together() -> None:
    rows: list[JsonValue] = [{"row": number} for number in range(20_000)]
    assert shrink(rows) == Large(json.dumps(rows, separators=(",", ":")).encode(), "application/json")
    assert isinstance(shrink(["x" * 20_000] * 40), Large)
    one, other = {"b": 1, "a": "x" * 200_000, "c": [0] * 99_999}, {"c": [0] * 99_999, "a": "x" * 200_000, "b": 1}
    assert shrink([one] * 17) == shrink([other] * 17), "in whatever order a dict was made"  # type: ignore[list-item]


@pytest.mark.parametrize("size", [INLINE_BYTES - 2, INLINE_BYTES - 1, 2 * CHUNK_BYTES - 1, 2 * CHUNK_BYTES, 5_000_001])
async def test_a_value_goes_out_and_comes_back(size: int) -> None:
    shelf = Shelf()
    artifacts = Artifacts(shelf.ask)
    sent = await artifacts.arguments_out({"text": "x" * size, "n": 1})
    assert await artifacts.back(sent) == {"text": "x" * size, "n": 1}
    assert len(list(references(sent))) == (size + len('{"text":"","n":1}') > INLINE_BYTES)
    assert shelf.most <= AT_ONCE
    assert await artifacts.arguments_out({"text": "x" * size, "n": 1}) == sent


async def test_a_refusal_is_the_callers() -> None:
    gone = Reference(name="0" * 32, size=3 * CHUNK_BYTES, media_type="text/plain")
    with pytest.raises(Forbidden, match="no such artifact"):
        await Artifacts(Shelf().ask).back([gone.stand_in])


async def test_what_is_cut_short_is_no_value() -> None:
    shelf = Shelf()
    artifacts = Artifacts(shelf.ask)
    sent = await artifacts.out("x" * 300_000)
    for name, data in shelf.held.items():
        shelf.held[name] = data[:-1]
    with pytest.raises(Invalid, match="bytes"):
        await artifacts.back(sent)
