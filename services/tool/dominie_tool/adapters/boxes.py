"""Runs sandboxed tools, a bounded number at once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import get_args

import anyio
from anyio import to_thread
from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

from dominie_contracts import DeadlineExceeded, Forbidden, Invalid, Problem, ToolFailed, Unavailable
from dominie_contracts.tool import Backend, Profile, ToolSpec
from dominie_kit import Action, Context, Lost, NotDone
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.schemas import InputSchema
from dominie_tool.aggregate import beyond
from dominie_tool.egress import Call, Egress, Secret
from dominie_tool.egress.redaction import Redactor
from dominie_tool.projection import Tool
from dominie_tool.sandbox import Limits, Outcome, Sandbox, SandboxUnavailable
from dominie_tool.settings import Settings

SecretsOf = Callable[[str, ToolSpec, str], Awaitable[tuple[Secret, ...]]]
"""The secrets of a tool, by tenant and owner."""
_NOTHING = Redactor(())
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class Boxes:
    """The sandboxes of this process."""

    def __init__(
        self, settings: Settings, values: Values, egress: Egress | None = None, secrets: SecretsOf | None = None
    ) -> None:
        """Be it; `egress` replaces the way out to the internet in tests, `secrets` opens those of a tool."""
        self._values = values
        self._egress = egress or Egress.to_the_internet(settings.tool_egress_private, settings.bus_hosts)
        self._secrets = secrets
        self._limiter = anyio.Semaphore(settings.tool_sandboxes)
        self._redacting = anyio.CapacityLimiter(2)
        self._limits = Limits(
            memory_mb=settings.tool_sandbox_memory_mb,
            processes=settings.tool_sandbox_processes,
            output_bytes=settings.tool_sandbox_output_bytes,
        )
        self._most = settings.most_of
        self._usual, self._runsc = settings.tool_sandbox_backend, settings.tool_runsc
        waiting = settings.tool_sandboxes_waiting
        self._sandboxes: dict[Backend, Sandbox] = {
            each: Sandbox(self._limits, backend=each, runsc=self._runsc, waiting=waiting) for each in get_args(Backend)
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have boxes waiting, of each back end from its first call on, for as long as this is open."""
        async with AsyncExitStack() as stack:
            for sandbox in self._sandboxes.values():
                await stack.enter_async_context(sandbox.open())
            yield

    async def layers(self, spec: ToolSpec) -> tuple[str, ...]:
        """The layers that will hold a tool here; none where its sandbox cannot run. The first call builds a box."""
        return await to_thread.run_sync(Sandbox.layers, self._backend(spec), self._runsc)

    async def lacking(self, spec: ToolSpec) -> str | None:
        """Why the back end that a tool asks for cannot run here, if it asks for one."""
        asked = spec.profile.backend if spec.profile else None
        return await to_thread.run_sync(Sandbox.missing, asked, self._runsc) if asked else None

    def _backend(self, spec: ToolSpec) -> Backend:
        return (spec.profile and spec.profile.backend) or self._usual

    async def run(self, tool: Tool, arguments: dict[str, JsonValue], action: Action) -> JsonValue:
        """Run a tool in a box of its own.

        Raises:
            NotDone: This machine cannot isolate it, or its arguments did not come in time, so it was not run.
            ToolFailed: It failed, or went beyond its limits.
            Lost: It has been at a host, and nobody knows how that went, or nobody could keep what came of it.
        """
        spec = tool.spec
        assert spec.source is not None and spec.function is not None
        limits = await self._bounds(tool)
        network = await self._network(tool, action.context)
        async with self._limiter:
            try:
                given = await self._values.load(arguments, action.context)
                outcome = await self._sandboxes[self._backend(spec)].run(
                    spec.source,
                    spec.function,
                    given,
                    limits=limits,
                    environment=network.environment if network else None,
                    network=network.serve if network else None,
                )
            except DeadlineExceeded as error:
                raise NotDone(error) from error
            except SandboxUnavailable as error:
                raise NotDone(Unavailable(f"sandboxed tools cannot run here: {error.reason}")) from error
            finally:
                if network and (reached := network.reached()):
                    action.beside.append(reached)
        redactor = network.redactor if network else _NOTHING
        went = network.reached() if network else None
        outside = went is not None and bool(went.hosts)  # what it did there is done
        if outside and not (outcome.is_told or spec.repeatable):
            raise Lost(redactor.cut(f"{spec.name}: {outcome.status}: {outcome.detail}"))
        try:
            return await self._result(spec, outcome, action.context, redactor)
        except Unavailable as error:
            if outside:
                raise Lost(f"{spec.name}: {error.detail}") from error
            raise NotDone(error) from error

    async def _result(self, spec: ToolSpec, outcome: Outcome, context: Context, redactor: Redactor) -> JsonValue:
        """What a tool returned, if it is what its schema says; what is large of it is an artifact.

        Should a host have told the tool a secret, that is not in it.
        """
        if outcome.status != "ok":
            raise ToolFailed(redactor.cut(f"{spec.name}: {outcome.status}: {outcome.detail}"))
        try:
            result = await self._redacted(_JSON.validate_json(to_json(outcome.value)), redactor)
        except ValueError as error:  # what cannot be read again is no outcome: it is nested too deeply
            raise ToolFailed(redactor.cut(f"{spec.name}: its result cannot be read: {error}")) from error
        try:
            wrong = await InputSchema(spec.output_schema).wrong_value(result) if spec.output_schema else None
            short = await self._values.shorten(result, context)
        except Invalid as error:
            raise ToolFailed(f"{spec.name}: its result: {error.detail}") from error
        if wrong is not None:
            raise ToolFailed(f"{spec.name}: its result: {wrong}")
        return short

    async def _redacted(self, result: JsonValue, redactor: Redactor) -> JsonValue:
        """A result without secrets, taken out in a thread: one of megabytes would hold up everybody."""
        if not redactor:
            return result
        return await to_thread.run_sync(redactor.value, result, limiter=self._redacting)

    async def _network(self, tool: Tool, context: Context) -> Call | None:
        """The way out of a tool whose profile lists hosts."""
        spec = tool.spec
        if spec.profile is None or spec.profile.network == "none":
            return None
        if self._backend(spec) != "bubblewrap":
            raise NotDone(
                Unavailable(f"{spec.name!r} wants a network, which there is with the back end bubblewrap alone")
            )
        try:
            given = await self._secrets(context.tenant, spec, tool.state.owner or "") if self._secrets else ()
        except Problem as problem:
            raise NotDone(problem) from problem
        return self._egress.open(spec.profile.network, given, tenant=context.tenant)

    async def _bounds(self, tool: Tool) -> Limits:
        """A tool's own limits, if its owner may still have so much and this machine can hold it to them."""
        profile = tool.spec.profile or Profile()
        if excess := beyond(tool.spec, self._most(tool.state.owner or "")):
            raise NotDone(Forbidden(excess.text, part=excess.part, limit=excess.limit))
        if (profile.processes or 1) > 1 and "cgroup" not in await self.layers(tool.spec):
            raise NotDone(Unavailable(f"{tool.spec.name!r} wants several processes, and no cgroup bounds them here"))
        asked = profile.model_dump(exclude_none=True, exclude={"network", "backend"})
        return replace(self._limits, **asked, time_s=tool.spec.timeout_s)
