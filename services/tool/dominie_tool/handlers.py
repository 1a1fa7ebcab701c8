"""Calls of tools: what is known of their arguments, what policies say, who runs them, and what came of it."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Literal, TypeVar

from pydantic import JsonValue

from dominie_contracts import (
    Conflict,
    Forbidden,
    Invalid,
    Problem,
    ToolFailed,
    Unavailable,
)
from dominie_contracts.action import Finished
from dominie_contracts.artifact import names
from dominie_contracts.provenance import Integrity, Label
from dominie_contracts.results import Labels, label_result
from dominie_contracts.things import things_of
from dominie_contracts.tool import (
    BeginLocal,
    Begun,
    FinishLocal,
    InvokeTool,
    ToolResult,
    ToolSpec,
)
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Action, Actions, Context, Lost, Outcome, Question, Request, Work
from dominie_kit.policy.asking import Command, Typed
from dominie_kit.policy.planned import told
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.checking import Checking, relabelled
from dominie_tool.aggregate import State
from dominie_tool.plans.aggregate import Call
from dominie_tool.plans.following import Plans
from dominie_tool.projection import Catalog, Tool, tool_of
from dominie_tool.provenance.labelling import Labelling
from dominie_tool.registry import check_spec

R = TypeVar("R", ToolResult, Begun)
Run = Callable[[Tool, dict[str, JsonValue], Action], Awaitable[JsonValue]]


class Handlers:
    """Answers `invoke`, `begin` and `finish`."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        catalog: Catalog,
        labelling: Labelling,
        *,
        values: Values,
        checking: Checking,
        worker: Run,
        sandbox: Run,
        layers: Callable[[ToolSpec], Awaitable[tuple[str, ...]]] | None = None,
        mcp: Run | None = None,
    ) -> None:
        self._actions = actions
        self._catalog = catalog
        self._labelling = labelling
        self._values = values
        self._checking = checking
        self._plans = Plans(store, actions)
        self._layers = layers
        self._kinds: dict[str, Run] = {"worker": worker, "sandboxed": sandbox, "mcp": mcp or sandbox}

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
            labels = await self._labelling.of(tool, command.arguments, context, command.references)
        except Invalid as problem:
            request = Request("tool.invoke", command.arguments, command.tool, tool.version)
            raise await self._actions.refuse(action, request, problem) from problem
        request = Request("tool.invoke", command.arguments, command.tool, tool.version, labels=_integrity(labels))
        if (closed := self._catalog.closed(context.tenant, tool)) is not None:
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
        return _reply(done).model_copy(update={"warning": tool.warning}) if tool.deprecated else _reply(done)

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
        labels = await self._labelling.of(tool, command.arguments, context)
        request = Request("tool.begin", command.arguments, spec.name, tool.version, labels=_integrity(labels))
        async with self._values.whole(command.arguments, context) as whole:
            try:
                check_spec(spec)
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
        server = self._catalog.server_of(context.tenant, tool)
        return "service" if server is not None and server.transport == "http" else "isolated"

    def _leaves_nothing(self, tool: Tool, context: Context) -> bool:
        """Whether a call may be done again since nothing of it is left: it runs in a box that has no network."""
        server, profile = self._catalog.server_of(context.tenant, tool), tool.spec.profile
        networked = profile is not None and profile.network != "none"
        networked = networked or (server is not None and server.network is not None)
        return self._enforcement(tool, context) == "isolated" and not networked

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


def _reply(action: Action) -> ToolResult:
    finished = action.state.finished
    assert finished is not None
    return ToolResult(result=finished.result, labels=finished.labels, action=action.id)
