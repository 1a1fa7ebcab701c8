"""What a service does not know: of others it is passed over, of its own refused, since a newer version wrote it."""

import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from dominie_contracts import Draft, StreamName
from dominie_contracts.problems import UnknownEvent
from dominie_contracts.registry import OWNER
from dominie_contracts.subjects import SERVICES
from dominie_contracts.tool import TOOL
from dominie_eventstore import MemoryEventStore, Projector
from dominie_kit import Action, Outcome, Request, Service, Work
from dominie_kit.handler_testing import Desk, Keys
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.runner import targets

pytestmark = pytest.mark.anyio
WAIT_S = 30.0
STORED = ("audit", "memory")
"""Services whose files have to be open; the other resources need a bus."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def unknown(category: str) -> Draft:
    type_, now = f"{category}.dreamt.v9", datetime.now(UTC)
    return Draft(id=uuid.uuid4().hex, source="dominie/test", type=type_, time=now, actor="svc-test", data="{}")


def build(name: str, store: MemoryEventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    if name not in targets():
        pytest.skip(f"{name} is not installed here")
    monkeypatch.setenv("DOMINIE_KEYS", str(KeyFolder(tmp_path / "keys").create().path))
    monkeypatch.setenv("DOMINIE_STATE", str(tmp_path / "state"))
    service = targets()[name].load()(store=store)
    assert isinstance(service, Service)
    service.keyring._source = Keys()  # identity's store is beyond the bus, which is not here
    return service


async def follow(projector: Projector) -> None:
    """Until it has caught up."""
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(projector.run)
            await projector.caught_up.wait()
            group.cancel_scope.cancel()


@pytest.mark.parametrize("name", SERVICES)
async def test_every_read_model_of_a_service(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryEventStore()
    service = build(name, store, tmp_path, monkeypatch)
    for category in OWNER:
        await store.append(StreamName("acme", category, "s-1"), [unknown(category)], expected_version=0)
    async with AsyncExitStack() as stack:
        for opened in service._resources if name in STORED else ():
            await stack.enter_async_context(opened())
        for projector in service.read_models.projectors.values():
            if projector.category is not None and OWNER[projector.category] == name:
                with pytest.raises(ExceptionGroup) as caught:
                    await follow(projector)
                (error,) = caught.value.exceptions
                assert isinstance(error, UnknownEvent)
                assert error.extra["event_type"] == f"{projector.category}.dreamt.v9"
                assert error.extra["stream"] == f"acme.{projector.category}.s-1"
                assert projector.position == 0
            else:
                await follow(projector)
                assert projector.position == await store.last_position(projector.category)


async def test_an_action_that_a_newer_version_has_written_to() -> None:
    desk = Desk("tool")
    await desk.publish()
    context = desk.context("k-1")
    action = desk.actions(TOOL).open(context)
    await desk.store.append(action.stream, [unknown(TOOL)], expected_version=0)

    async def run(_: Action) -> Outcome:
        raise AssertionError("nothing may be done")

    with pytest.raises(UnknownEvent, match="upgrade this service"):
        await desk.actions(TOOL).perform(action, Request("tool.invoke", {}, "refund"), None, Work(run, effect=True))
    assert len(await desk.store.read(action.stream)) == 1
