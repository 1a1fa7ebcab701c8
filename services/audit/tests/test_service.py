"""Audit on a real broker, as the runner runs it."""

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from anyio import run_process
from anyio.to_thread import run_sync

from dominie.notes import Checkpoint, VerifierKey
from dominie_audit import build
from dominie_audit.adapters.offline import verify_file
from dominie_audit.adapters.tlog.published import LogDiffers
from dominie_audit.settings import Settings
from dominie_contracts import Command, Draft, StreamName, Unavailable
from dominie_contracts.audit import Entries, GetCheckpoint, LogReport, SignedCheckpoint, Trail, VerifyLog
from dominie_contracts.operations import ReadModel
from dominie_eventstore import EventStore, JetStreamEventStore
from dominie_kit import Context, Service
from dominie_kit.bus import Inner
from dominie_kit.context import deadline_in
from dominie_kit.errors import StartFailed
from dominie_kit.house.broker import connect_operator, provision
from dominie_kit.house.operator import operator
from dominie_kit.house.rebuild import rebuild
from dominie_kit.house.system import System
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.testing import house, serving

pytestmark = pytest.mark.anyio
WRITTEN = 40


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    """A house whose log holds two events of one run, written by the tool service."""
    async with house(tmp_path) as acme:
        found = Settings(nats_url=acme.url, keys=acme.keys.path, state=tmp_path / "state")
        async with writing(found) as store:
            drafts = [draft("unknown"), draft("later")]
            await store.append(StreamName("acme", "tool", "a1"), drafts, expected_version=0)
        yield found


def draft(kind: str) -> Draft:
    return Draft(
        id=kind,
        source="dominie/tool",
        type=f"tool.{kind}.v1",
        time=datetime.now(UTC),
        actor="a-desk",
        data=json.dumps({"why": kind}),
        correlation_id="r-1",
    )


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[EventStore]:
    tool = Inner("tool", settings)
    await tool.open()
    try:
        yield JetStreamEventStore(tool.client)
    finally:
        await tool.close()


def auditor() -> Context:
    return Context(tenant="acme", principal="u-ada", key="k", deadline=deadline_in(10), groups=("auditors",))


async def signed(service: Service) -> Checkpoint:
    """The first checkpoint over the two events, once it is signed."""
    with anyio.fail_after(30):
        while True:
            try:
                found = await asked(service, GetCheckpoint())
            except Unavailable:
                await anyio.sleep(0.01)
                continue
            assert isinstance(found, SignedCheckpoint)
            return Checkpoint.open(found.checkpoint, VerifierKey.parse(found.key))


async def stored(settings: Settings) -> list[bytes]:
    async with writing(settings) as store:
        return [event.raw async for event in store.read_all(category="tool")]


async def overwrite(settings: Settings, raws: list[bytes]) -> None:
    """What nobody in the house may do: the log is another one now."""
    keys = KeyFolder(settings.keys)
    operator = await connect_operator(settings.nats_url, keys)
    await operator.request("$JS.API.STREAM.DELETE.EVENTS_0", b"", timeout=30)
    await operator.close()
    await provision(settings.nats_url, keys)
    tool = Inner("tool", settings)
    await tool.open()
    await tool.client.request("evt.0.acme.tool.a1", b"\n".join(raws), timeout=30)
    await tool.close()


async def asked(service: Service, command: Command) -> object:
    route = next(route for route in service.routes if route.command is type(command))
    assert route.direct and not route.between and not route.token
    return await route.handler(command, auditor())


async def test_it_reads_the_log_before_it_answers(settings: Settings) -> None:
    async with serving(build(settings)) as service:
        trail = await asked(service, Trail(run="r-1"))
        assert isinstance(trail, Entries)
        assert [entry.summary for entry in trail.entries] == [
            "unknown whether it happened: unknown",
            "tool.later.v1",
        ]
        report = await asked(service, VerifyLog())
        assert isinstance(report, LogReport)
        assert (report.ok, report.events) == (True, 2)


async def test_it_signs_what_it_has_read_and_goes_on_when_it_comes_back(settings: Settings) -> None:
    async with serving(build(settings)) as service:
        before = await signed(service)
        assert before.durability == "fsync"
        assert before.size == 2
    async with serving(build(settings)) as service:
        assert await signed(service) == before


async def test_two_instances_sign_one_log(settings: Settings) -> None:
    async with serving(build(settings)) as one, serving(build(settings)) as other:
        assert await signed(one) == await signed(other)


Change = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        pytest.param(lambda raws: [raws[0], raws[1].replace(b"later", b"latex", 1)], 1, id="the last one is changed"),
        pytest.param(lambda raws: raws[:1], 1, id="the last one is dropped"),
        pytest.param(lambda raws: raws[::-1], 0, id="two are swapped"),
    ],
)
async def test_it_refuses_to_serve_another_log_than_it_signed(settings: Settings, change: Change, bad: int) -> None:
    async with serving(build(settings)) as service:
        await signed(service)
        await overwrite(settings, change(await stored(settings)))
        report = await asked(service, VerifyLog())
        assert isinstance(report, LogReport)
        assert (report.ok, report.broken_at) == (False, 256 + bad)
    with pytest.raises(LogDiffers, match=f"from position {256 + bad} on") as found:
        async with serving(build(settings)):
            pytest.fail("it serves")
    assert found.value.index == bad


async def test_what_was_not_checked_before_it_serves_is_checked_then(settings: Settings) -> None:
    async with serving(build(settings)) as service:
        await signed(service)
    first, *others = await stored(settings)
    await overwrite(settings, [first.replace(b"unknown", b"unknowm", 1), *others])
    few = settings.model_copy(update={"audit_start_events": 1})
    with pytest.raises(BaseExceptionGroup) as found, anyio.fail_after(30):
        async with serving(build(few)):
            await anyio.sleep_forever()
    assert found.group_contains(LogDiffers, match="from position 256 on")


async def test_whoever_starts_it_sees_why_it_refuses(tmp_path: Path) -> None:
    project, keys = tmp_path / "project", tmp_path / "keys"
    project.mkdir()
    system = System(project, services=("audit",), keys=keys)
    await run_sync(system.start)
    async with writing(Settings(nats_url=system.nats_url, keys=keys)) as store:
        await store.append(StreamName("acme", "tool", "a1"), [draft("unknown")], expected_version=0)
    written = project / ".dominie/audit/tlog/checkpoint"
    with anyio.fail_after(30):
        while not written.exists() or "\n1\n" not in written.read_text():  # noqa: ASYNC110 - a file that another process writes
            await anyio.sleep(0.01)
    await run_sync(system.stop)
    shutil.rmtree(project / ".dominie/nats")
    with pytest.raises(StartFailed, match=r"LogDiffers: .* from position 256 on .*: the log ends after 0 events"):
        await run_sync(system.start)


async def test_the_log_is_copied_from_the_command_line(settings: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "log.jsonl"
    surroundings = os.environ | {"DOMINIE_NATS_URL": settings.nats_url, "DOMINIE_KEYS": str(settings.keys)}
    command = [sys.executable, "-m", "dominie_audit.adapters.offline", "export", str(copy)]
    await run_process(command, env=surroundings)
    report = await run_sync(verify_file, copy)
    assert (report.ok, report.events) == (True, 2)


async def test_its_log_is_rebuilt_over_the_bus_while_it_serves_and_signs(settings: Settings) -> None:
    told: list[ReadModel] = []
    async with serving(build(settings)) as service, writing(settings) as store:
        before = await signed(service)
        async with operator(settings.nats_url, KeyFolder(settings.keys)) as asking, anyio.create_task_group() as group:
            group.start_soon(write, store)
            done = await rebuild(asking, "audit", "log", tell=told.append)
        assert (done.service, done.projection, done.events >= 2) == ("audit", "log", True)
        assert (told[-1].state, told[-1].percent) == ("current", 100.0)
        with anyio.fail_after(30):
            while (await signed(service)).size < before.size + WRITTEN:  # noqa: ASYNC110 - a checkpoint tells nobody
                await anyio.sleep(0.01)
        trail = await asked(service, Trail(run="r-1"))
        assert isinstance(trail, Entries)
        assert len(trail.entries) == 2 + WRITTEN
        report = await asked(service, VerifyLog())
        assert isinstance(report, LogReport)
        assert (report.ok, report.events) == (True, 2 + WRITTEN)


async def write(store: EventStore) -> None:
    for number in range(WRITTEN):
        await store.append(StreamName("acme", "tool", f"b{number}"), [draft("later")], expected_version=0)
