"""Audit on a real broker, as the runner runs it."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from anyio import run_process
from anyio.to_thread import run_sync

from dominie_audit import build
from dominie_audit.adapters.offline import verify_file
from dominie_audit.settings import Settings
from dominie_contracts import Draft, StreamName
from dominie_contracts.audit import Entries, LogReport, Trail, VerifyLog
from dominie_eventstore import EventStore, JetStreamEventStore
from dominie_kit import Context, Service
from dominie_kit.bus import Inner
from dominie_kit.context import deadline_in
from dominie_kit.testing import house, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    """A house whose log holds two events of one run, written by the tool service."""
    async with house(tmp_path) as acme:
        found = Settings(nats_url=acme.url, keys=acme.keys.path, state=tmp_path / "state")
        async with writing(found) as store:
            drafts = [
                Draft(
                    id=kind,
                    source="dominie/tool",
                    type=f"tool.{kind}.v1",
                    time=datetime.now(UTC),
                    actor="a-desk",
                    data=json.dumps({"why": kind}),
                    correlation_id="r-1",
                )
                for kind in ("unknown", "later")
            ]
            await store.append(StreamName("acme", "tool", "a1"), drafts, expected_version=0)
        yield found


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


async def asked(service: Service, command: Trail | VerifyLog) -> object:
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


async def test_the_log_is_copied_from_the_command_line(settings: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "log.jsonl"
    surroundings = os.environ | {"DOMINIE_NATS_URL": settings.nats_url, "DOMINIE_KEYS": str(settings.keys)}
    command = [sys.executable, "-m", "dominie_audit.adapters.offline", "export", str(copy)]
    await run_process(command, env=surroundings)
    report = await run_sync(verify_file, copy)
    assert (report.ok, report.events) == (True, 2)
