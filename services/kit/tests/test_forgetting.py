"""After an erasure everything that was derived is built anew, once, also by who was away."""

from pathlib import Path
from typing import Self

import anyio
import pytest

from dominie_contracts import Recorded, StreamName
from dominie_contracts.identity import PRINCIPAL, Erased
from dominie_contracts.memory import MEMORY, Remembered
from dominie_eventstore import InMemory, Projector
from dominie_kit.edge.standing import Standing
from dominie_kit.handler_testing import Desk
from dominie_kit.personal.forgetting import Forgetting
from dominie_kit.read_models import ReadModels

pytestmark = pytest.mark.anyio
TEXT = Remembered(id="m", namespace="user", subject="u-dana", text="the cellar key")


class Texts(InMemory):
    """All texts, readable, as a read model in memory may hold them."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def apply(self, event: Recorded) -> None:
        self.position = event.position
        self.seen.append(event.envelope.data.get("text"))

    def fresh(self) -> Self:
        return type(self)()


async def erase(desk: Desk) -> None:
    """As identity does it."""
    key = desk.keys.destroy("acme", "u-dana")
    await desk.append(PRINCIPAL, "u-dana", Erased(tenant="acme", principal="u-dana", keys=(key,), by="u-eve"))


async def remember(desk: Desk) -> None:
    stream = StreamName("acme", MEMORY, "m")
    await desk.log.append(stream, desk.actions(MEMORY).drafts(desk.context(), stream, TEXT), expected_version=0)


async def test_what_is_held_in_memory_is_built_anew(tmp_path: Path) -> None:
    desk, texts, models = Desk("memory"), Texts(), ReadModels("memory")
    await remember(desk)
    forgetting = Forgetting(desk.keyring, models, tmp_path / "forgotten")
    standing = Standing(forgetting.hear)
    models.add("texts", Projector(desk.store, texts, name="texts", category=MEMORY), own=True)
    models.add("standing", Projector(desk.store, standing, name="standing", category=PRINCIPAL), own=False)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            models.start(group)
            await models.whole()
            group.start_soon(forgetting.run)
            assert texts.seen == ["the cellar key"]
            await erase(desk)
            last = await desk.store.last_position()
            while forgetting.position < last:
                await anyio.lowlevel.checkpoint()
            assert texts.seen == ["$erased"]
            await models.rebuild_all()
            assert standing.fresh()._on_erased is not None
            group.cancel_scope.cancel()
    assert not (tmp_path / "forgotten").exists()
