"""The model service's commands."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import NoReturn

from pydantic import JsonValue, TypeAdapter

from dominie_contracts import Forbidden, Invalid, Message, Problem, QuotaExceeded, Unavailable
from dominie_contracts.action import Finished
from dominie_contracts.digests import is_nested
from dominie_contracts.model import Chat, Completion, Delta, ListModels, Models, Offer
from dominie_contracts.provenance import Label
from dominie_contracts.scheduler import AskPermit, Permit, Released, ReleasePermit
from dominie_contracts.token import Fork
from dominie_kit import Action, Actions, Context, NotDone, Outcome, Question, Request, Work
from dominie_kit.bus import Inner
from dominie_kit.context import deadline_in
from dominie_model.adapters.provider import Provider, ProviderError, ProviderRequest, ProviderResult, Target
from dominie_model.aggregate import refuse, tool_names
from dominie_model.labelling import of_answer
from dominie_model.projection import Told

_JSON: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_RELEASE_S = 10.0
_Stream = Callable[[Context, Message], Awaitable[None]]


class Handlers:
    """Answers `chat` and `list`."""

    def __init__(
        self,
        actions: Actions,
        inner: Inner,
        stream: _Stream,
        provider: Callable[[], Provider],
        targets: Mapping[str, Target],
        offers: tuple[Offer, ...],
        told: Sequence[Told] = (),
        *,
        timeout_s: float,
    ) -> None:
        self._actions = actions
        self._inner = inner
        self._stream = stream
        self._provider = provider
        self._targets = targets
        self._offers = offers
        self._told = told
        self._timeout_s = timeout_s

    async def list_models(self, command: ListModels, context: Context) -> Models:
        """The models on offer."""
        return Models(models=self._offers)

    async def chat(self, command: Chat, context: Context) -> Completion:
        """One completion, once for its key, if policy allows it and when it is its turn."""
        action = self._actions.open(context)
        if context.fork is not None:
            recorded = await self._actions.recorded(action, _request(command))
            if recorded is not None:
                return _completion(recorded, 0.0)
            command = _in_fork(command, context.fork, context.key)
        request = _request(command)
        try:
            question = self._question(command, context)
        except Problem as problem:
            raise await self._actions.refuse(action, request, problem) from problem
        waited, label = [0.0], await self._label(command, context)

        async def work(action: Action) -> Outcome:
            return await self._call(command, action, waited, label)

        done = await self._actions.perform(action, request, question, Work(work, effect=True))
        return _completion(done, waited[0])

    def _question(self, command: Chat, context: Context) -> Question:
        problem = refuse(command, frozenset(self._targets))
        if problem is not None:
            raise problem
        if not context.grants.allow("models", command.model):
            raise Forbidden(f"{context.principal} was not granted the model {command.model!r}")
        asked: dict[str, JsonValue] = {
            "tenant": context.tenant,
            "user": context.user or "",
            "tools": tool_names(command.tools),
            "priority": command.priority,
        }
        return Question(context.principal, "model.chat", "Model", command.model, asked)

    async def _call(self, command: Chat, action: Action, waited: list[float], label: Label) -> Outcome:
        context = action.context
        permit = await self._permit(command, action)
        waited[0] = permit.waited_ms
        result: ProviderResult | None = None
        begun = time.perf_counter()
        try:
            result = await self._complete(command, context)
        except ProviderError as error:
            _raise(error)
        finally:
            await self._release(command, action, result)
        return Outcome(_finished(command, result, (time.perf_counter() - begun) * 1000, label))

    async def _label(self, command: Chat, context: Context) -> Label:
        """Of what a model makes of the messages of this call."""
        known: dict[str, Label] = {}
        await context.read_your_writes()
        for told in self._told:
            known |= told.of(context.tenant, context.run)
        claims = context.claims
        theirs = claims.request_digest if claims is not None and claims.request_from == "user" else None
        return of_answer(command.messages, known, theirs)

    async def _complete(self, command: Chat, context: Context) -> ProviderResult:
        options = dict(command.options) | ({"tools": list(command.tools)} if command.tools else {})
        request = ProviderRequest(self._targets[command.model], command.messages, self._timeout_s, options)
        if not command.stream:
            return await self._provider().complete(request)
        number = 0
        async with aclosing(self._provider().stream(request)) as parts:
            async for part in parts:
                if isinstance(part, ProviderResult):
                    return part
                delta = Delta(stream_id=command.stream_id or "", number=number, chunk=_JSON.validate_python(part))
                await self._stream(context, delta)
                number += 1
        raise ProviderError("unavailable", command.model, "the stream ended without a result")

    async def _permit(self, command: Chat, action: Action) -> Permit:
        context = action.context
        ask = AskPermit(
            permit=action.id,
            tenant=context.tenant,
            agent=context.principal,
            run=context.run,
            model=command.model,
            priority=command.priority,
            deadline_ms=int(context.left_s * 1000),
            lease_ms=int(self._timeout_s * 1000),
        )
        try:
            return await self._inner.call(context, ask, Permit, key=f"{action.id}:{_attempt(action)}:permit")
        except Problem as problem:
            raise NotDone(problem) from problem

    async def _release(self, command: Chat, action: Action, result: ProviderResult | None) -> None:
        release = ReleasePermit(
            permit=action.id,
            tenant=action.context.tenant,
            input_tokens=result.input_tokens if result else None,
            output_tokens=result.output_tokens if result else None,
            cost_usd=result.cost_usd if result else None,
        )
        context = replace(action.context, deadline=deadline_in(_RELEASE_S))
        await self._inner.tell(context, release, Released, key=f"{action.id}:{_attempt(action)}:release")


def _request(command: Chat) -> Request:
    return Request("model.chat", _arguments(command), command.model, priority=command.priority)


def _in_fork(command: Chat, fork: Fork, key: str) -> Chat:
    """A forked run's own calls go to the model it was forked to; a judge asks the one it always asks."""
    return command if fork.model is None or is_nested(key) else command.model_copy(update={"model": fork.model})


def _attempt(action: Action) -> int:
    return action.state.started.attempt if action.state.started else 0


def _arguments(command: Chat) -> dict[str, JsonValue]:
    return {
        "messages": list(command.messages),
        "tools": list(command.tools),
        "options": dict(command.options),
        "stream": command.stream,
    }


def _raise(error: ProviderError) -> NoReturn:
    match error.kind:
        case "invalid":
            raise Invalid(f"the provider refused the request: {error.detail}") from error
        case "rate-limited":
            limited = QuotaExceeded(
                f"{error.provider} takes no more calls now", retry_after_s=error.retry_after_s or 5.0
            )
            raise NotDone(limited) from error
        case "unauthenticated":
            raise NotDone(Unavailable(f"{error.provider} does not accept this deployment's key")) from error
        case _:
            away = Unavailable(f"{error.provider}: {error.detail}", retry_after_s=error.retry_after_s or 0.5)
            raise NotDone(away) from error


def _finished(command: Chat, result: ProviderResult, duration_ms: float, label: Label) -> Finished:
    completion = {
        "id": result.id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": result.model,
        "choices": [{"index": 0, "message": dict(result.message), "finish_reason": result.finish_reason}],
        "usage": {
            "prompt_tokens": result.input_tokens,
            "completion_tokens": result.output_tokens,
            "total_tokens": result.input_tokens + result.output_tokens,
        },
    }
    return Finished(
        outcome="ok",
        result=_JSON.validate_python(completion),
        label=label,
        duration_ms=round(duration_ms, 3),
        cost_usd=result.cost_usd,
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        model=result.model,
    )


def _completion(action: Action, waited_ms: float) -> Completion:
    finished = action.state.finished
    assert finished is not None and isinstance(finished.result, dict)
    return Completion(
        completion=finished.result,
        model=finished.model or "",
        cost_usd=finished.cost_usd,
        input_tokens=finished.input_tokens or 0,
        output_tokens=finished.output_tokens or 0,
        waited_ms=waited_ms,
        action=action.id,
    )
