"""`dominie up`: the broker, one process a service, what dies is started again, one signal stops all.

It runs as `python -m dominie_kit PLAN` (see __main__.py), and everything it starts dies with it.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

import anyio
from anyio.abc import TaskGroup

from dominie_contracts import Problem
from dominie_eventstore import EventStoreError
from dominie_kit.errors import BrokerFailed, KitError, OtherStore, RotationBusy, StartFailed
from dominie_kit.house.broker import START_S as BROKER_START_S
from dominie_kit.house.broker import EmbeddedBroker, provision
from dominie_kit.house.plan import Plan
from dominie_kit.house.ports import GATEWAY_PORT, first_free, port_of
from dominie_kit.house.segments import Limits, keeping
from dominie_kit.house.service_process import ServiceProcess, last_line
from dominie_kit.house.state import ClientFile, Running, StateFolder, Up
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.keys.people import register_people
from dominie_kit.keys.replacing import Rotation
from dominie_kit.keys.rotation import resume
from dominie_kit.settings import KitSettings
from dominie_kit.store import NATS, place_of

START_S = 60.0
FIRST_TRIES = 3
"""A service that ends this often before it was ever ready will not get ready."""
BACKOFF_S, BACKOFF_MAX_S, STEADY_S = 0.1, 5.0, 10.0
_POLL_S = 0.01
_DISK_POLL_S = 1.0
_SEGMENTS_POLL_S = 5.0
_ROTATION_POLL_S = 1.0


class Backoff:
    """How long to wait before what died is started again."""

    def __init__(self) -> None:
        self._next_s = BACKOFF_S

    def after(self, lived_s: float) -> float:
        """Twice the last time, unless it had lived for a while."""
        if lived_s >= STEADY_S:
            self._next_s = BACKOFF_S
        wait_s, self._next_s = self._next_s, min(self._next_s * 2, BACKOFF_MAX_S)
        return wait_s


class Supervisor:
    """Runs a plan until a signal."""

    def __init__(self, plan: Plan, *, say: Callable[[str], None], began_s: float) -> None:
        self._plan, self._say, self._began_s = plan, say, began_s
        self._state = StateFolder(plan.folder)
        self._store = NATS
        self._broker: EmbeddedBroker
        self._services: dict[str, ServiceProcess] = {}
        self._running = {name: Running(pid=0) for name in plan.services}
        self._running_broker = Running(pid=0)
        self._ready = {name: anyio.Event() for name in plan.services}
        self._failed: KitError | None = None
        self._gateway_url: str | None = None
        self._ready_s: float | None = None
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    async def run(self, on_ready: Callable[[Up], None]) -> None:
        """Start everything, keep it running, and stop it on SIGINT, SIGTERM or SIGHUP.

        Raises:
            KitError: It could not be started.
        """
        self._state.create()
        self._state.lock()
        keys = KeyFolder(self._plan.keys).create()
        self._settle(Rotation(keys))
        last = self._state.client()
        self._store = self._choose_store(last)
        self._gateway_url = self._choose_gateway(last)
        self._broker = EmbeddedBroker(
            keys, self._state.path, port=self._plan.port or port_of(last.nats_url if last else None)
        )
        try:
            async with anyio.create_task_group() as group:
                self._listen(group)
                try:
                    await self._live(group, on_ready)
                except (KitError, Problem, EventStoreError, OSError) as error:
                    self._failed = error if isinstance(error, KitError) else StartFailed(str(error))
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._stop()
        if self._failed is not None:
            raise self._failed

    async def _live(self, group: TaskGroup, on_ready: Callable[[Up], None]) -> None:
        await self._start_broker_first()
        if self._store == NATS:
            await provision(self._broker.url, self._broker.keys)
        group.start_soon(self._keep_broker)
        group.start_soon(self._keep_storing)
        group.start_soon(self._keep_rotating)
        if self._store == NATS and "audit" in self._plan.services:
            group.start_soon(self._keep_segments)
        for name in self._plan.services:
            group.start_soon(self._keep, name, group)
        with anyio.move_on_after(START_S) as limit:
            for name in self._plan.services:
                await self._ready[name].wait()
            self._write_client()
            if "identity" in self._plan.services:
                await register_people(self._broker.url, self._state)
        if limit.cancelled_caught:
            late = [name for name, ready in self._ready.items() if not ready.is_set()]
            raise StartFailed(f"Not ready after {START_S:.0f} s: {', '.join(late) or 'identity registers nobody'}")
        self._ready_s = round(time.monotonic() - self._began_s, 2)
        on_ready(self._write())
        await anyio.sleep_forever()

    def _listen(self, group: TaskGroup) -> None:
        """A signal ends everything; the next ones change nothing, because the end is bounded."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, group.cancel_scope.cancel)
        if self._plan.until_eof:
            group.start_soon(self._until_eof, group)

    async def _until_eof(self, group: TaskGroup) -> None:
        while True:
            await anyio.wait_readable(0)
            if not os.read(0, 4096):
                group.cancel_scope.cancel()
                return

    async def _keep(self, name: str, group: TaskGroup) -> None:
        backoff, tries = Backoff(), 0
        while True:
            began, tries = time.monotonic(), tries + 1
            ended = await self._live_once(name)
            if tries >= FIRST_TRIES and not self._ready[name].is_set():
                log = self._state.path / "log" / f"{name}.log"
                why = "" if self._running[name].reason else f"; its log ends: {last_line(log)}"
                self._failed = StartFailed(f"{name} {ended}{why} (see {str(log)!r})")
                group.cancel_scope.cancel()
                return
            wait_s = backoff.after(time.monotonic() - began)
            self._say(f"{name} {ended}; it is started again in {wait_s:.1f} s")
            await anyio.sleep(wait_s)
            running = self._running[name]
            self._running[name] = running.model_copy(update={"restarts": running.restarts + 1})

    async def _live_once(self, name: str) -> str:
        """One life of a service's process; returns how it ended."""
        log = self._state.path / "log" / f"{name}.log"
        environment = self._plan.environment(self._broker.url, self._gateway_url)
        try:
            process = ServiceProcess(name, self._plan, environment, log)
        except (OSError, EOFError) as error:
            return f"could not be started ({error!r})"
        self._services[name] = process
        self._note(name, pid=process.pid, ready=False)
        if await process.until_ready():
            self._ready[name].set()
            self._note(name, pid=process.pid, ready=True)
        await process.until_dead()
        del self._services[name]
        ended = process.reap()
        self._note(name, pid=0, ready=False, reason=process.reason)
        return ended

    async def _start_broker_first(self) -> None:
        try:
            await self._start_broker()
        except BrokerFailed:
            if self._plan.port is not None or self._broker.port is None:
                raise
            self._broker.port = None  # somebody has the port of last time
            await self._start_broker()

    async def _start_broker(self) -> None:
        self._broker.launch()
        with anyio.move_on_after(BROKER_START_S):
            while not self._broker.answers():  # noqa: ASYNC110 - a file that another program writes
                await anyio.sleep(_POLL_S)
            self._running_broker = Running(pid=self._broker.pid, restarts=self._running_broker.restarts, ready=True)
            return
        self._broker.stop()
        raise BrokerFailed(f"The broker did not answer within {BROKER_START_S:.0f} s: see {str(self._broker.log)!r}")

    async def _keep_broker(self) -> None:
        backoff = Backoff()
        while True:
            began = time.monotonic()
            if self._broker.death >= 0:
                await anyio.wait_readable(self._broker.death)
            wait_s = backoff.after(time.monotonic() - began)
            self._say(f"the broker ended; it is started again in {wait_s:.1f} s")
            await anyio.sleep(wait_s)
            self._running_broker = Running(pid=0, restarts=self._running_broker.restarts + 1)
            try:
                await self._start_broker()
            except (KitError, OSError) as error:  # a key that cannot be read just now is no reason to end the rest
                self._say(str(error))
            self._write()

    async def _keep_storing(self) -> None:
        """A broker that met a full disk stores nothing more: start it again as soon as there is room."""
        while True:
            await anyio.sleep(_DISK_POLL_S)
            self._broker.stage()
            if not self._broker.stuck():
                continue
            self._say("the disk is full and nothing is stored; that goes on by itself when there is room")
            while not self._broker.has_room():  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(_DISK_POLL_S)
            self._broker.terminate()

    async def _keep_segments(self) -> None:
        """Open the next segment of the log when the open one is full or old, and have sealed ones archived."""
        limits, told = Limits(), ""
        while True:
            await anyio.sleep(_SEGMENTS_POLL_S)
            try:
                async with keeping(self._broker.url, self._broker.keys) as keeper:
                    await keeper.roll(limits)
                    trouble = (await keeper.archive()).trouble or ""
            except (KitError, Problem, EventStoreError) as error:
                trouble = "" if self._running_broker.pid == 0 else str(error)
            if trouble and trouble != told:
                self._say(f"the log's segments: {trouble}; it is tried again")
            told = trouble

    def _settle(self, rotation: Rotation) -> None:
        """A rotation that was interrupted: nobody has an old key any more."""
        try:
            with rotation.lock():
                rotation.settle()
        except RotationBusy:
            self._say("keys are being replaced by another process")

    async def _keep_rotating(self) -> None:
        """Finish a rotation that was interrupted."""
        told = ""
        while True:
            await anyio.sleep(_ROTATION_POLL_S)
            if self._ready_s is None:
                continue
            try:
                if await resume(self._state, self._broker.keys):
                    self._say("a rotation of keys that was interrupted is finished")
                trouble = ""
            except (KitError, Problem, OSError) as error:
                trouble = str(error)
            if trouble and trouble != told:
                self._say(f"a rotation of keys: {trouble}; it is tried again")
            told = trouble

    async def _stop(self) -> None:
        """Services first, by force after a while; then the broker."""
        for process in self._services.values():
            process.stop()
        with anyio.move_on_after(self._plan.stop_s) as limit:
            for process in self._services.values():
                await process.until_dead()
        if limit.cancelled_caught:
            for process in self._services.values():
                process.kill()
        for name, process in self._services.items():
            ended = process.reap()
            if not ended.endswith("code 0"):
                self._say(f"{name} {ended}")
        self._broker.stop()
        self._state.forget()

    def _note(self, name: str, *, pid: int, ready: bool, reason: str | None = None) -> None:
        """Write down how a service is; why it ended last stays until it ends again."""
        last = self._running[name]
        why = last.reason if reason is None else reason
        self._running[name] = Running(pid=pid, restarts=last.restarts, ready=ready, reason=why)
        self._write()

    def _write(self) -> Up:
        up = Up(
            pid=os.getpid(),
            nats_url=self._broker.url,
            gateway_url=self._gateway_url,
            keys=self._plan.keys,
            store=self._store,
            started=self._started,
            ready_s=self._ready_s,
            broker=self._running_broker,
            services=self._running,
        )
        try:
            self._state.write(up)
        except OSError as error:  # a full disk must not end what runs
            self._say(f"up.json is out of date: {error}")
        return up

    def _write_client(self) -> None:
        self._state.developer()
        self._state.write(
            ClientFile(
                nats_url=self._broker.url,
                gateway_url=self._gateway_url,
                rights_s=self._plan.rights_s,
                keys=self._plan.keys,
                store=self._store,
            )
        )

    def _choose_store(self, last: ClientFile | None) -> str:
        """What the services will read from their surroundings, unless this folder has the read models of another."""
        store = place_of(KitSettings().store)
        if last is not None and last.store != store:
            raise OtherStore(self._state.path, has=last.store, given=store)
        return store

    def _choose_gateway(self, last: ClientFile | None) -> str | None:
        if "gateway" not in self._plan.services:
            return None
        default = 0 if self._plan.until_eof else GATEWAY_PORT  # several may start at once inside of other programs
        last_port = port_of(last.gateway_url if last else None)
        return f"http://127.0.0.1:{self._plan.gateway_port or first_free(last_port, default)}"
