"""The tool service's commands."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Literal, TypeVar

from pydantic import JsonValue

from dominie_contracts import (
    Conflict,
    Forbidden,
    Invalid,
    Problem,
    StreamName,
    ToolFailed,
    Unauthenticated,
    Unavailable,
)
from dominie_contracts.action import Finished
from dominie_contracts.artifact import names
from dominie_contracts.labels import wrong_marks
from dominie_contracts.memory import MEMORY
from dominie_contracts.provenance import Integrity, Label, both, join
from dominie_contracts.registry import parse_own
from dominie_contracts.result_parts import unread_marks
from dominie_contracts.results import Labels, label_result
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.seen import label_arguments
from dominie_contracts.servers import Server, parts
from dominie_contracts.things import things_of, wrong_things
from dominie_contracts.tool import (
    CATALOG,
    BeginLocal,
    Begun,
    FinishLocal,
    InvokeTool,
    ListTools,
    Profile,
    RegisteredTool,
    RegisterTool,
    ToolRegistered,
    ToolResult,
    Tools,
    ToolSpec,
)
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Action, Actions, Context, Lost, Outcome, Question, Request, Work
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.given import Provenance
from dominie_kit.policy.asking import Command, Typed
from dominie_kit.policy.planned import told
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.checking import Checking, relabelled
from dominie_tool.adapters.schemas import check_schemas
from dominie_tool.aggregate import Registrant, State, decide, evolve
from dominie_tool.endorsing.counting import Counting
from dominie_tool.endorsing.projection import known
from dominie_tool.mcp.calls import review_required
from dominie_tool.plans.aggregate import Call
from dominie_tool.plans.following import Plans
from dominie_tool.projection import Catalog, Tool, tool_of
from dominie_tool.provenance.references import References
from dominie_tool.provenance.requests import Requests
from dominie_tool.provenance.sources import Sources, gone

R = TypeVar("R", ToolResult, Begun)
Run = Callable[[Tool, dict[str, JsonValue], Action], Awaitable[JsonValue]]


class Handlers:
    """Answers `register`, `list`, `invoke`, `begin` and `finish`."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        standing: Standing,
        catalog: Catalog,
        sources: Sources,
        provenance: Provenance,
        endorsed: Counting,
        *,
        values: Values,
        checking: Checking,
        worker: Run,
        sandbox: Run,
        layers: Callable[[ToolSpec], Awaitable[tuple[str, ...]]] | None = None,
        lacking: Callable[[ToolSpec], Awaitable[str | None]] | None = None,
        mcp: Run | None = None,
        most: Callable[[str], Profile] = lambda owner: Profile(),
    ) -> None:
        self._store = store
        self._actions = actions
        self._standing = standing
        self._catalog = catalog
        self._sources = sources
        self._provenance = provenance
        self._endorsed = endorsed
        self._requests = Requests(store)
        self._references = References(store)
        self._values = values
        self._checking = checking
        self._plans = Plans(store, actions)
        self._layers = layers
        self._lacking = lacking
        self._most = most
        self._kinds: dict[str, Run] = {"worker": worker, "sandboxed": sandbox, "mcp": mcp or sandbox}

    async def register(self, command: RegisterTool, context: Context) -> RegisteredTool:
        """Register a tool, or its next version."""
        spec = command.spec
        _check_schemas(spec)
        stream = StreamName(context.tenant, CATALOG, spec.name)
        recorded = await self._store.read(stream)
        state = State()
        for past in recorded:
            payload = parse_own(past)
            state = evolve(state, payload) if isinstance(payload, ToolRegistered) else state
        events = decide(state, command, self._registrant(spec, context))
        if events and self._lacking and (lacking := await self._lacking(spec)):
            raise Unavailable(f"{spec.name!r} cannot run here: {lacking}")
        for event in events:
            drafts = self._actions.drafts(context, stream, event)
            try:
                appended = await self._store.append(stream, drafts, expected_version=len(recorded))
            except WrongExpectedVersion as error:
                raise Unavailable(f"{spec.name!r} is being registered by others too", retry_after_s=0.2) from error
            context.position = appended.position
        return RegisteredTool(name=spec.name, version=spec.version, changed=bool(events))

    async def list_tools(self, command: ListTools, context: Context) -> Tools:
        """The tools that the caller may call; a person sees all of their tenant's."""
        await context.read_your_writes()
        tools = self._catalog.all(context.tenant)
        if context.claims is None and context.principal.startswith("a-"):
            raise Unauthenticated("tool.list needs a run token; mint one with identity.token")
        if context.claims is not None:
            granted = [tool for tool in tools if context.grants.allow("tools", tool.spec.name)]
            tools = [tool for tool in granted if self._closed(tool, context) is None]
        return Tools(
            tools=tuple(tool.spec.model_copy(update={"source": None}) for tool in tools),
            owners={tool.spec.name: tool.state.owner or "" for tool in tools},
            deprecated={tool.spec.name: _warning(tool) for tool in tools if tool.deprecated},
        )

    async def invoke(self, command: InvokeTool, context: Context) -> ToolResult:
        """Run a registered tool, once for its key, if policy allows it."""
        action = self._actions.open(context)
        recorded = await self._recorded(action, "tool.invoke", command.tool, command.arguments)
        if recorded is not None:
            return await self._served(_reply(recorded), context)
        tool = self._catalog.find(context.tenant, command.tool)
        if tool is None:
            await context.read_your_writes()
            tool = self._catalog.find(context.tenant, command.tool)
        if tool is None:
            unknown = Invalid(f"no tool {command.tool!r} is registered; `dominie tool list` shows what is")
            raise await self._actions.refuse(action, Request("tool.invoke", command.arguments, command.tool), unknown)
        try:
            endorsed = await self._endorsed.of(context) if command.references else ()
            referred = await self._references.labels(
                command.references, command.arguments, context, endorsed, tool.typed.things
            )
        except Invalid as problem:
            request = Request("tool.invoke", command.arguments, command.tool, tool.version)
            raise await self._actions.refuse(action, request, problem) from problem
        labels = await self._labels(tool, command.arguments, context)
        labels |= {name: label for name, label in referred.items() if name in labels}
        request = Request("tool.invoke", command.arguments, command.tool, tool.version, labels=_integrity(labels))
        if (closed := self._closed(tool, context)) is not None:
            raise await self._actions.refuse(action, request, closed)
        async with self._values.whole(command.arguments, context) as whole:
            try:
                question = await self._question("tool.invoke", tool, command.arguments, whole, labels, context)
                question = await self._planned(question, action, command.arguments)
            except Unavailable:
                raise
            except Problem as problem:
                raise await self._actions.refuse(action, request, problem) from problem
        run = self._kinds[tool.spec.kind]

        async def work(action: Action) -> Outcome:
            begun = time.perf_counter()
            result = await run(tool, command.arguments, action)
            await self._accept(tool, result, context)
            found = await self._checking.found(result, context)
            finished = _finished(tool.typed, result, begun, context.user or "", found)
            return Outcome(finished, tuple(action.beside))

        spec, where = tool.spec, self._enforcement(tool, context)
        isolated = where == "isolated"
        done = await self._actions.perform(
            action,
            request,
            question,
            Work(
                work,
                effect=spec.effect != "read",
                repeatable=spec.repeatable or self._leaves_nothing(tool, context),
                enforcement=where,
                layers=await self._layers(spec) if isolated and self._layers else (),
                notes=tool.notes,
            ),
        )
        return _reply(done).model_copy(update={"warning": _warning(tool)}) if tool.deprecated else _reply(done)

    async def begin(self, command: BeginLocal, context: Context) -> Begun:
        """Record and decide a call of a function in the agent's own process."""
        action = self._actions.open(context)
        spec = command.spec.model_copy(update={"kind": "local", "source": None, "function": None})
        if self._catalog.find(context.tenant, spec.name) is not None:
            return Begun(action=action.id, then="invoke")
        recorded = await self._recorded(action, "tool.begin", spec.name, command.arguments)
        if recorded is not None:
            return await self._served(_begun(recorded), context)
        tool = tool_of(State(), spec)
        labels = await self._labels(tool, command.arguments, context)
        request = Request("tool.begin", command.arguments, spec.name, tool.version, labels=_integrity(labels))
        async with self._values.whole(command.arguments, context) as whole:
            try:
                _check_schemas(spec)
                question = await self._question("tool.begin", tool, command.arguments, whole, labels, context)
                question = await self._planned(question, action, command.arguments)
            except Unavailable:
                raise
            except Problem as problem:
                raise await self._actions.refuse(action, request, problem) from problem
        work = Work(
            _later,
            effect=True,
            repeatable=spec.repeatable,
            owner=f"{context.principal}/{command.process or uuid.uuid4().hex}",
            lease_s=spec.timeout_s,
            enforcement="cooperative",
            notes=tool.notes,
        )
        done = await self._actions.perform(action, request, question, work)
        return _begun(done)

    async def finish(self, command: FinishLocal, context: Context) -> ToolResult:
        """Record the outcome of a local call; a repeated one changes nothing."""
        action = await self._actions.load(context, command.action)
        requested = action.state.requested
        if requested is None or requested.command != "tool.begin":
            raise Invalid(f"no local call {command.action!r} was begun")
        if action.agent != context.principal:
            raise Forbidden(f"the call {command.action!r} is another agent's")
        if action.state.status == "started":
            await self._values.accept(command.result, context)
            problem = ToolFailed(f"{requested.resource}: {command.error}").details if command.error else None
            found = await self._checking.found(command.result, context)
            labels = relabelled(Labels({}, {}, Label(integrity="untrusted")), found)
            finished = Finished(
                outcome="error" if problem else "ok",
                result=command.result,
                problem=problem,
                readers=labels.readers,
                label=labels.whole if found else None,
                found=found,
                duration_ms=command.duration_ms,
            )
            with suppress(WrongExpectedVersion):
                await self._actions.append(action, finished)
        elif action.state.status != "finished":
            raise Conflict(f"the call {command.action!r} is {action.state.status}, not started")
        return ToolResult(result=command.result, labels={}, action=action.id)

    def _enforcement(self, tool: Tool, context: Context) -> Literal["isolated", "service", "worker"]:
        """Where a tool runs."""
        if tool.spec.kind == "worker":
            return "worker"
        server = self._server(tool, context)
        return "service" if server is not None and server.transport == "http" else "isolated"

    def _leaves_nothing(self, tool: Tool, context: Context) -> bool:
        """Whether a call may be done again since nothing of it is left: it runs in a box that has no network."""
        server, profile = self._server(tool, context), tool.spec.profile
        networked = profile is not None and profile.network != "none"
        networked = networked or (server is not None and server.network is not None)
        return self._enforcement(tool, context) == "isolated" and not networked

    def _server(self, tool: Tool, context: Context) -> Server | None:
        """The MCP server that a tool is of."""
        if tool.spec.kind != "mcp":
            return None
        accepted = self._catalog.server(context.tenant, parts(tool.spec.name)[0]).accepted
        return accepted.server if accepted else None

    def _closed(self, tool: Tool, context: Context) -> Problem | None:
        """Why nobody may call a tool: its time is over, or its MCP server is not what was accepted."""
        if tool.deprecated is not None and tool.deprecated.refuses(time.time()):
            return Invalid(f"{tool.deprecated.words}; it is refused by now")
        if tool.spec.kind != "mcp":
            return None
        name, _ = parts(tool.spec.name)
        changed = self._catalog.server(context.tenant, name).changed
        return review_required(name, changed.differs) if changed else None

    async def _accept(self, tool: Tool, result: JsonValue, context: Context) -> None:
        """See that a result's artifacts are there: who cannot tell must not say that the tool has failed."""
        try:
            await self._values.accept(result, context)
        except Unavailable as error:
            raise Lost(f"{tool.spec.name}: {error.detail}") from error
        except Problem as error:
            raise ToolFailed(f"{tool.spec.name}: its result is not there: {error.detail}") from error

    async def _served(self, reply: R, context: Context) -> R:
        """A reply from a parent's record, whose artifacts the fork can fetch from now on."""
        await self._values.adopt(reply.result, context)
        return reply

    async def _recorded(
        self, action: Action, command: str, tool: str, arguments: dict[str, JsonValue]
    ) -> Action | None:
        """In a forked run, what its parent's record holds; asked before anything may refuse the call."""
        if action.context.fork is None:
            return None
        return await self._actions.recorded(action, Request(command, arguments, tool))

    def _registrant(self, spec: ToolSpec, context: Context) -> Registrant:
        developer = DEVELOPERS in context.groups
        registered = self._standing.find(context.tenant, context.principal)
        worker = context.principal.startswith("w-") and registered is not None
        granted = worker and registered is not None and registered.grants.allow("tools", spec.name)
        return Registrant(context.principal, developer or granted, developer, self._most(context.principal))

    async def _labels(self, tool: Tool, arguments: dict[str, JsonValue], context: Context) -> dict[str, Label]:
        """Where the arguments came from: those with a role, and all in a run that holds what not everybody may read."""
        restricts = self._checking.restricts or self._catalog.restricts(context.tenant)
        if not (tool.typed.roles or restricts):
            return {}
        await context.read_everything()
        seen = await self._sources.of(context.tenant, context.run)
        more = self._provenance.of(context)
        beside = await self._sources.beside(context.tenant, context.run, self._provenance.family(context))
        if self._provenance.of(context, (MEMORY,)).level == 0:
            beside = (*beside, gone())  # what a note says is not read here, so it may say any short value
        words = await self._requests.words(context)
        names = arguments if restricts and both(seen.join.readers, more.readers) is not None else tool.typed.roles
        endorsed = known(await self._endorsed.of(context))
        more = join((more, await self._endorsed.taken_back(context)))
        units, things = tool.typed.units, tool.typed.things
        return label_arguments(
            arguments, names, units, seen, more=more, words=words, beside=beside, endorsed=endorsed, things=things
        )

    async def _planned(self, question: Question, action: Action, arguments: dict[str, JsonValue]) -> Question:
        """In a run with a plan, policies are told whether the call is inside of it."""
        claims = action.context.claims
        if claims is None or claims.plan_digest is None:
            return question
        lack = await self._plans.lacks(action, Call(action.id, question.resource, arguments))
        return replace(question, context={**question.context, **told(lack)})

    async def _question(
        self,
        command: Command,
        tool: Tool,
        arguments: dict[str, JsonValue],
        whole: dict[str, JsonValue],
        labels: dict[str, Label],
        context: Context,
    ) -> Question:
        """What policies are asked. They see what stands for an artifact, and the schema sees the value itself."""
        spec = tool.spec
        if command == "tool.invoke" and not context.grants.allow("tools", spec.name):
            raise Forbidden(f"{context.principal} was not granted {spec.name!r}")
        wrong = await tool.schema.wrong(whole)
        if wrong is not None:
            raise Invalid(f"{spec.name}: {wrong}")
        if unseen := [name for name in tool.typed.roles if names(arguments.get(name))]:
            raise Invalid(f"{spec.name}: policies decide by {unseen[0]!r}, so it must not be an artifact")
        question = tool.typed.question(
            command,
            arguments,
            labels,
            principal=context.principal,
            tenant=context.tenant,
            user=context.user or "",
        )
        return await self._checking.told(question, whole, spec, context)


def _check_schemas(spec: ToolSpec) -> None:
    try:
        check_schemas(spec.input_schema, spec.output_schema)
    except Invalid as error:
        raise Invalid(f"{spec.name!r}: {error.detail}") from error
    wrong_output = chain(wrong_marks(spec.output_schema), unread_marks(spec.output_schema))
    wrong_kinds = chain(wrong_things(spec.input_schema), wrong_things(spec.output_schema))
    wrong = next(chain(wrong_marks(spec.input_schema), wrong_output, wrong_kinds), None)
    if wrong is not None:
        raise Invalid(f"{spec.name!r}: {wrong}")


async def _later(action: Action) -> None:
    """The work of a local call: its outcome comes with `tool.finish`."""


def _integrity(labels: Mapping[str, Label]) -> dict[str, Integrity]:
    return {name: label.integrity for name, label in labels.items()}


def _finished(typed: Typed, result: JsonValue, begun: float, user: str, found: dict[str, tuple[str, ...]]) -> Finished:
    schema = typed.spec.output_schema
    labels = relabelled(label_result(result, schema, user), found)
    return Finished(
        outcome="ok",
        result=result,
        labels=labels.integrity,
        readers=labels.readers,
        label=labels.whole,
        found=found,
        things=things_of(result, schema) if typed.lists else {},
        duration_ms=round((time.perf_counter() - begun) * 1000, 3),
    )


def _begun(action: Action) -> Begun:
    finished = action.state.finished
    if finished is None:
        return Begun(action=action.id, then="run")
    return Begun(action=action.id, then="finished", result=finished.result, labels=finished.labels)


def _warning(tool: Tool) -> str:
    found = tool.deprecated
    if found is None:
        return ""
    if found.until_s is None:
        return found.words
    return f"{found.words}; it is refused from {datetime.fromtimestamp(found.until_s, UTC):%Y-%m-%d %H:%M} UTC on"


def _reply(action: Action) -> ToolResult:
    finished = action.state.finished
    assert finished is not None
    return ToolResult(result=finished.result, labels=finished.labels, action=action.id)
