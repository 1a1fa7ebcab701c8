"""A service: its routes, what it follows, what runs beside it, and its two connections."""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import anyio
import psutil
import structlog
from nats.aio.msg import Msg

from dominie_contracts import Command, Message, Payload, Recorded
from dominie_contracts.heard import AtOnce
from dominie_contracts.operations import AskStatus, Rebuild, ServiceStatus
from dominie_contracts.registry import EVENTS, OWNER, check_known, event_type
from dominie_contracts.rights import FOLLOWS
from dominie_contracts.subjects import heartbeat_subject, out_subject, service_subject
from dominie_eventstore import EventStore, Projection, Projector
from dominie_eventstore.archive import Archive
from dominie_kit.bus import Connection, Inner
from dominie_kit.context import Context
from dominie_kit.edge.admission import Admission, Handler, Route
from dominie_kit.edge.refusals import report
from dominie_kit.edge.run_tokens import RunTokenVerifier
from dominie_kit.edge.serving import Edge
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.actions import Actions
from dominie_kit.governed.decision import DecisionPoint
from dominie_kit.governed.past import Past
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.lasting import lasting
from dominie_kit.personal.forgetting import Forgetting
from dominie_kit.personal.keyring import FromIdentity, Keyring, KeySource
from dominie_kit.personal.opened import OpenedStore
from dominie_kit.read_models import ReadModels
from dominie_kit.settings import KitSettings
from dominie_kit.store import open_archive, open_store

log = structlog.get_logger()


class Service:
    """What `build` returns: everything of one service but its own rules.

    A service adds routes, projections, background tasks and resources, in its `app.py`; the runner does the rest.
    """

    def __init__(
        self, name: str, settings: KitSettings, *, store: EventStore | None = None, keys: KeySource | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self.instance = f"{name}-{uuid.uuid4().hex[:8]}"
        self.inner = Inner(name, settings)
        self._resources: list[Callable[[], AbstractAsyncContextManager[object]]] = []
        self.keyring = Keyring(keys or FromIdentity(self.inner, name))
        self.log: EventStore = store or self._opened_store()
        self.store: EventStore = OpenedStore(self.log, self.keyring)
        self.decisions = DecisionPoint(staleness_s=settings.staleness_s, silence_s=settings.staleness_s / 2)
        self.read_models = ReadModels(name)
        self.forgetting = Forgetting(self.keyring, self.read_models, settings.state / name / "forgotten")
        verifier = RunTokenVerifier(KeyFolder(settings.keys).signer)
        self.standing = Standing(self.forgetting.hear, verifier.accept)
        self.outer = Connection(name, "edge", settings)
        self.edge = Edge(
            name,
            Admission(
                verifier,
                self.standing,
                default_deadline_s=settings.default_deadline_s,
                caught_up=self.read_models.caught_up,
            ),
            max_in_flight=settings.max_in_flight,
            max_in_flight_each=settings.max_in_flight_each,
            person=self.keyring.of,
            not_ready=self.read_models.refusal,
        )
        self.in_force: Callable[[], tuple[str | None, int]] = lambda: (self.decisions.digest, self.decisions.position)
        self.routes: list[Route] = []
        self._tasks: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._ready = False
        self._process = psutil.Process()
        self._operations = [
            (service_subject(name, command.NAME), Route(command, handler, token=False, direct=False, early=True))
            for command, handler in ((AskStatus, self._answer_status), (Rebuild, self._rebuild))
        ]
        self._subjects: list[tuple[str, Route]] = []
        follows = FOLLOWS.get(name, tuple(OWNER))
        if "principal" in follows:
            self.follow(self.standing, "principal", name="standing", own=False)
        if "policy" in follows and name != "guardrail":
            self.follow(self.decisions, "policy", name="decisions", own=False)
            self.background(self._hear_guardrail)

    def actions(self, category: str) -> Actions:
        """The actions of this service, in one of its categories."""
        return Actions(
            self.store,
            self.decisions,
            self.standing,
            Past(self.store, self.inner),
            self.inner,
            service=self.name,
            category=category,
            instance=self.instance,
            observe=self.settings.observe,
        )

    def route(
        self,
        command: type[Command],
        handler: Handler,
        *,
        resource: str | None = None,
        token: bool = True,
        direct: bool = True,
        between: bool = False,
    ) -> None:
        """Serve a command; see `Route`."""
        route = Route(command, handler, resource, token, direct, between)
        self.routes.append(route)
        word = command.NAME.split(".")[-1]
        tail = ".*" if resource else ""
        if direct:
            self._subjects.append((f"cmd.*.*.{self.name}.{word}{tail}", route))
        if between:
            self._subjects.append((f"svc.{self.name}.{word}", route))

    def follow(
        self,
        projection: Projection,
        category: str | None,
        *,
        name: str | None = None,
        own: bool = True,
        indexed: bool = False,
        takes: Sequence[type[Payload]] = (),
    ) -> None:
        """Keep a read model up to date; with `own`, `Dominie-After` waits for it.

        Its name is what `dominie rebuild` takes: its class, in lower case, unless another is given. With `indexed`, the
        keyring has the key of a tenant's index before an event of that tenant is applied. Where it `takes` a few
        payloads alone, it is not told of the other known ones of its category.
        """
        projector = Projector(
            OpenedStore(self.log, self.keyring, indexed=True) if indexed else self.store,
            projection,
            name=f"{self.instance}-{category or 'all'}",
            category=category,
            check=self._check,
            skip=_others(category, takes),
        )
        self.read_models.add(name or type(projection).__name__.lower(), projector, own=own)

    def background(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a task beside the service for as long as it lives.

        It begins again where the log, or another service, was away; any other error ends the service.
        """
        self._tasks.append(task)

    def resource(self, opened: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        """Hold a resource open for as long as the service lives; opened before anything is served."""
        self._resources.append(opened)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, catch up, run what runs beside, and take commands; yields once it does."""
        async with AsyncExitStack() as stack:
            for connection in (self.inner, self.outer):
                await connection.open()
                stack.push_async_callback(connection.close)
            for opened in self._resources:
                await stack.enter_async_context(opened())
            async with anyio.create_task_group() as group:
                self.read_models.start(group)
                group.start_soon(self._beat)
                try:
                    async with self.edge.open():
                        await self._take(self._operations)
                        await self.read_models.ready()
                        group.start_soon(self._run_beside)
                        await self._take(self._subjects)
                        self._ready = True
                        yield
                finally:
                    group.cancel_scope.cancel()

    async def stream(self, context: Context, message: Message) -> None:
        """Send something on the agent's `out.` subject, as it comes; nobody keeps it."""
        subject = out_subject(context.tenant, context.principal, context.run or "")
        await self.outer.client.publish(subject, message.model_dump_json().encode())

    @property
    def status(self) -> ServiceStatus:
        """How it is."""
        digest, position = self.in_force()
        return ServiceStatus(
            service=self.name,
            instance=self.instance,
            version=version(f"dominie-{self.name}"),
            pid=os.getpid(),
            started=self._started,
            ready=self._ready,
            rss_mb=round(self._process.memory_info().rss / 2**20, 1),
            in_flight=self.edge.in_flight,
            handled=self.edge.handled,
            refused=self.edge.refused,
            policy=digest,
            policy_position=position,
            read_models=self.read_models.status,
            forgotten=self.forgetting.position,
        )

    async def _take(self, subjects: Sequence[tuple[str, Route]]) -> None:
        """Take commands from now on."""
        client = self.outer.client
        for subject, route in subjects:
            heard = AtOnce[Msg](partial(self.edge.take, route), ignores=self.edge.ignores)
            await client.subscribe(subject, queue=self.name, future=heard)  # type: ignore[arg-type]  # stands for one
        await self.outer.flushed()

    async def _run_beside(self) -> None:
        """Run the background tasks, once they can rely on every read model."""
        await self.read_models.whole()
        async with anyio.create_task_group() as group:
            group.start_soon(self.forgetting.run)
            if self.name != "identity":
                group.start_soon(report, self.edge.refusals, self.inner)
            for task in self._tasks:
                group.start_soon(lasting, task)

    def _check(self, event: Recorded) -> None:
        """An older version of a service must not go on with a log that a newer one has written."""
        type_ = event.type
        if type_ not in EVENTS and OWNER.get(type_.partition(".")[0]) == self.name:
            check_known(event)

    def _opened_store(self) -> EventStore:
        archive = Archive(open_archive(self.settings))
        store, opened = open_store(
            self.settings.store, self.inner.client, replicas=self.settings.replicas, archive=archive
        )
        self.resource(lambda: opened)
        return store

    async def _answer_status(self, command: AskStatus, context: Context) -> Message:
        return self.status

    async def _rebuild(self, command: Rebuild, context: Context) -> Message:
        return self.read_models.rebuild(command)

    async def _beat(self) -> None:
        while True:
            if self.inner.client.is_connected:
                with anyio.move_on_after(self.settings.heartbeat_s):
                    await self.inner.client.publish(
                        heartbeat_subject(self.name), self.status.model_dump_json().encode()
                    )
            await anyio.sleep(self.settings.heartbeat_s)

    async def _hear_guardrail(self) -> None:
        def hear(message: Msg) -> None:
            self.decisions.hear(ServiceStatus.model_validate_json(message.data))

        heard = AtOnce[Msg](hear)
        await self.inner.client.subscribe(heartbeat_subject("guardrail"), future=heard)  # type: ignore[arg-type]
        await anyio.sleep_forever()


def _others(category: str | None, takes: Sequence[type[Payload]]) -> frozenset[str]:
    """The known event types of a category but for these; none where all are taken."""
    if category is None or not takes:
        return frozenset()
    known = {type_ for type_ in EVENTS if type_.startswith(f"{category}.")}
    return frozenset(known - {event_type(category, each) for each in takes})
