"""How a deployment is: what its services say of themselves, and what its processes take of this machine."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import anyio
import psutil

from dominie_contracts import Message, Problem
from dominie_contracts.operations import AskStatus, ReadModel, ServiceStatus
from dominie_contracts.subjects import SERVICES
from dominie_kit.errors import BrokerFailed
from dominie_kit.house.operator import Operator, operator
from dominie_kit.house.plan import BROKER
from dominie_kit.house.state import Running, Up
from dominie_kit.keys.folder import KeyFolder

SUPERVISOR = "supervisor"
"""The supervisor with its fork server."""
_ASK_S = 2.0


class Part(Message):
    """One process, with all that it started."""

    health: Literal["ready", "starting", "away"]
    pid: int | None = None
    restarts: int = 0
    reason: str | None = None
    """Why it ended last, where it ended by itself and could say so."""
    version: str | None = None
    uptime_s: float | None = None
    in_flight: int | None = None
    handled: int | None = None
    refused: int | None = None
    rss_mb: float | None = None
    pss_mb: float | None = None
    """Proportional: what processes share is divided between them, so that these can be added up."""
    rebuilding: tuple[ReadModel, ...] = ()
    """Read models that are being built from the log, or could not be."""


class Status(Message):
    """A deployment."""

    healthy: bool
    nats_url: str
    gateway_url: str | None
    store: str | None
    """Where the events are kept, as far as that is known here."""
    parts: dict[str, Part]
    rss_mb: float
    pss_mb: float | None


async def ask_status(nats_url: str, keys: KeyFolder, *, up: Up | None = None) -> Status:
    """Ask every service, and measure what runs here.

    Args:
        nats_url: The broker.
        keys: Where the operator's key is.
        up: What runs on this machine, if it does.

    Raises:
        BrokerFailed: The broker is away and nothing is known to run here.
    """
    names = tuple(up.services) if up else SERVICES
    try:
        said = await _ask_all(nats_url, keys, names)
    except BrokerFailed:
        if up is None:
            raise
        said = {}
    parts = {name: _part(said.get(name), up.services[name] if up else None) for name in names}
    if up is not None:
        parts[BROKER] = _process(up.broker)
        parts[SUPERVISOR] = _supervisor(up)
    pss = [part.pss_mb for part in parts.values() if part.pss_mb is not None]
    return Status(
        healthy=all(part.health == "ready" for part in parts.values()),
        nats_url=nats_url,
        gateway_url=up.gateway_url if up else None,
        store=up.store if up else None,
        parts=parts,
        rss_mb=_round(sum(part.rss_mb or 0.0 for part in parts.values())),
        pss_mb=_round(sum(pss)) if pss else None,
    )


async def _ask_all(nats_url: str, keys: KeyFolder, names: Sequence[str]) -> dict[str, ServiceStatus]:
    said: dict[str, ServiceStatus] = {}

    async def ask(asking: Operator, name: str) -> None:
        try:
            said[name] = await asking.ask(AskStatus(), ServiceStatus, service=name, timeout_s=_ASK_S)
        except Problem:
            return  # it is away, and is shown so

    async with operator(nats_url, keys) as asking, anyio.create_task_group() as group:
        for name in names:
            group.start_soon(ask, asking, name)
    return said


def _part(said: ServiceStatus | None, running: Running | None) -> Part:
    measured = Part(health="away") if running is None else _process(running)
    if said is None:
        return measured.model_copy(update={"health": "starting" if measured.pid else "away"})
    return Part(
        health="ready" if said.ready else "starting",
        pid=said.pid,
        restarts=measured.restarts,
        reason=measured.reason,
        version=said.version,
        uptime_s=round(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(said.started)).total_seconds())),
        in_flight=said.in_flight,
        handled=said.handled,
        refused=said.refused,
        rss_mb=measured.rss_mb or said.rss_mb,
        pss_mb=measured.pss_mb,
        rebuilding=tuple(model for model in said.read_models if model.state != "current"),
    )


def _process(running: Running) -> Part:
    """A process of this machine, with its descendants."""
    try:
        process = psutil.Process(running.pid)
        family = [process, *process.children(recursive=True)]
        uptime_s = round(time.time() - process.create_time())
    except psutil.Error:
        return Part(health="away", restarts=running.restarts, reason=running.reason or None)
    health: Literal["ready", "starting"] = "ready" if running.ready else "starting"
    rss_mb, pss_mb = _memory(family)
    return Part(
        health=health,
        pid=running.pid,
        restarts=running.restarts,
        reason=running.reason or None,
        uptime_s=uptime_s,
        rss_mb=rss_mb,
        pss_mb=pss_mb,
    )


def _supervisor(up: Up) -> Part:
    """The supervisor, its fork server and their helper: every descendant that is no part of its own."""
    parts = {up.broker.pid, *(service.pid for service in up.services.values())}
    try:
        process = psutil.Process(up.pid)
        children = process.children(recursive=True)
        family = [process, *(child for child in children if not {child.pid, *_ancestors(child)} & parts)]
        uptime_s = round(time.time() - process.create_time())
    except psutil.Error:
        return Part(health="away")
    rss_mb, pss_mb = _memory(family)
    return Part(health="ready", pid=up.pid, uptime_s=uptime_s, rss_mb=rss_mb, pss_mb=pss_mb)


def _ancestors(process: psutil.Process) -> set[int]:
    return {parent.pid for parent in process.parents()}


def _memory(family: Sequence[psutil.Process]) -> tuple[float, float | None]:
    """RSS and PSS in MB."""
    rss = pss = 0
    for process in family:
        try:
            found = process.memory_full_info()
        except psutil.Error:
            continue
        rss += found.rss
        pss += getattr(found, "pss", 0)
    return _round(rss / 2**20), _round(pss / 2**20) if pss else None


def _round(mb: float) -> float:
    return round(mb, 1)
