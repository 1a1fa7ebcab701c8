"""The sessions with servers: one for each tenant, user and server, opened when called, a bounded number."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from dominie_contracts import Unavailable
from dominie_tool.egress import Egress
from dominie_tool.mcp.boxed import Boxed
from dominie_tool.mcp.link import Link
from dominie_tool.mcp.remote import Remote
from dominie_tool.mcp.session import Bounds, Session, Wanted, Whose


class Running:
    """The servers that this process has running, or is connected to."""

    def __init__(self, bounds: Bounds, egress: Egress, *, most: int, connections: int, idle_s: float) -> None:
        """Be it: with at most so many in boxes, and so many over HTTP; of either one tenant has half at most."""
        self._bounds = bounds
        self._egress = egress
        self._most = most
        self._connections = connections
        self._idle_s = idle_s
        self._sessions: list[Session] = []
        self._tasks: TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have servers run for as long as this is open; then none is left."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def held(self, wanted: Wanted) -> AsyncIterator[Session]:
        """Somebody's server, which is started where it does not run, and not ended while this is open.

        Raises:
            Broken: It does not speak as it should.
            Unavailable: This machine cannot hold it, or holds as many as it may.
            Invalid: There is no such program, or a secret is for other hosts.
        """
        session = self._find(wanted) or await self._start(wanted)
        session.busy += 1
        try:
            await session.ready.wait()
            if session.failed is not None:
                raise session.failed
            yield session
        finally:
            session.busy -= 1
            session.used = anyio.current_time()
            if session.faulty:
                session.retire()

    def end(self, whose: Whose, name: str) -> None:
        """End somebody's server of that name, with what is under way in its box; with no user, everybody's."""
        for session in self._sessions:
            tenant, user = session.wanted.whose
            if tenant == whose.tenant and whose.user in ("", user) and session.name == name:
                session.retire()

    def _find(self, wanted: Wanted) -> Session | None:
        return next((each for each in self._sessions if not each.faulty and each.wanted == wanted), None)

    async def _start(self, wanted: Wanted) -> Session:
        while crowd := self._crowd(wanted):
            await _make_room(crowd)
        if (found := self._find(wanted)) is not None:
            return found  # somebody else has started it meanwhile
        if self._tasks is None:
            raise Unavailable("the tool service is stopping", retry_after_s=1)
        session = Session(wanted, self._link(wanted), self._bounds)
        self._sessions.append(session)
        self._tasks.start_soon(self._keep, session)
        return session

    def _link(self, wanted: Wanted) -> Link:
        server, bounds = wanted.server, self._bounds
        if server.url is not None:
            tenant = wanted.whose.tenant
            return Remote(server, wanted.given, self._egress, tenant=tenant, output_bytes=bounds.output_bytes)
        network = server.network
        lasting = self._egress.lasting(network, wanted.given, tenant=wanted.whose.tenant) if network else None
        return Boxed(server, bounds.limits, lasting, output_bytes=bounds.output_bytes, secret=bounds.secret)

    def _crowd(self, wanted: Wanted) -> list[Session]:
        """The servers of which one has to go first: all of its kind, or those of its tenant, which has its share."""
        server, (tenant, _) = wanted.server, wanted.whose
        most = self._most if server.url is None else self._connections
        alike = [each for each in self._sessions if each.wanted.server.transport == server.transport]
        own = [each for each in alike if each.wanted.whose.tenant == tenant]
        if len(own) >= max(1, most // 2):
            return own
        return alike if len(alike) >= most else []

    async def _keep(self, session: Session) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_idle, session)
            try:
                await session.run()
            finally:
                self._sessions.remove(session)
                tasks.cancel_scope.cancel()

    async def _end_idle(self, session: Session) -> None:
        while True:
            left = self._idle_s if session.busy else session.used + self._idle_s - anyio.current_time()
            if left <= 0:
                session.retire()
                return
            await anyio.sleep(left)


async def _make_room(crowd: list[Session]) -> None:
    """End the server that nobody has called for the longest time."""
    idle = [each for each in crowd if not each.busy]
    if not idle:
        raise Unavailable(f"{len(crowd)} MCP servers are at work here, as many as may be", retry_after_s=1)
    oldest = min(idle, key=lambda each: each.used)
    oldest.retire()
    await oldest.ended.wait()
