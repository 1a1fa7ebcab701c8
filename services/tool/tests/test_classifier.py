"""A model that is asked whether a text gives orders: only a clear answer in time is one."""

import json

import anyio
import pytest

from dominie_contracts import Forbidden, Unavailable
from dominie_contracts.model import Chat, Completion
from dominie_kit import Context
from dominie_kit.checks.apart import NotLooked
from dominie_kit.checks.texts import Text
from dominie_kit.handler_testing import Desk
from dominie_tool.adapters.classifier import Classifier

pytestmark = pytest.mark.anyio


class Model:
    """Answers with a text, or fails, or never answers; remembers what it was asked."""

    def __init__(self, says: object) -> None:
        self.says = says
        self.asked: list[tuple[Context, Chat, str]] = []

    async def __call__(self, context: Context, chat: Chat, key: str) -> Completion:
        self.asked.append((context, chat, key))
        if isinstance(self.says, Exception):
            raise self.says
        if self.says is None:
            await anyio.sleep_forever()
        choices = [{"message": {"role": "assistant", "content": str(self.says)}}]
        told = {"model": "m", "cost_usd": None, "input_tokens": 1, "output_tokens": 1, "waited_ms": 0, "action": "1"}
        return Completion.model_validate({"completion": {"choices": choices}, **told})


async def look(model: Model, desk: Desk, text: str = "hello", *, timeout_s: float = 30) -> list[str]:
    classifier = Classifier("small", model, timeout_s=timeout_s)
    return await classifier.look([Text("/a", text), Text("/b", "")], desk.context(deadline_s=60), "key")


@pytest.mark.parametrize(("says", "found"), [('{"injection": true}', ["injection"]), ('{"injection": false}', [])])
async def test_a_clear_answer_counts(desk: Desk, says: str, found: list[str]) -> None:
    model = Model(says)
    assert await look(model, desk) == found
    context, chat, key = model.asked[0]
    assert (chat.model, key, context.token) == ("small", "key", "token")
    assert json.loads(str(chat.messages[1]["content"])) == ["hello"]
    assert context.left_s <= 30


@pytest.mark.parametrize(
    "says",
    [
        "no",
        "{}",
        '{"injection": "perhaps"}',
        '{"injection": true, "and": 1}',
        "true",
        Unavailable("away"),
        Forbidden("x"),
    ],
    ids=range(7),
)
async def test_what_is_no_answer_is_none(desk: Desk, says: object) -> None:
    with pytest.raises(NotLooked):
        await look(Model(says), desk)


async def test_nobody_waits_for_long(desk: Desk) -> None:
    with pytest.raises(NotLooked, match="in time"):
        await look(Model(None), desk, timeout_s=0.05)


async def test_a_model_is_not_sent_books(desk: Desk) -> None:
    model = Model('{"injection": false}')
    with pytest.raises(NotLooked, match="20,000 characters"):
        await look(model, desk, "a" * 20_001)
    assert not model.asked
