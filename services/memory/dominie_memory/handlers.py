"""Memory's commands. Each is one append, with its outcome; what was found is recorded by id, never by its text."""

import time
from collections.abc import Callable, Sequence
from typing import cast

from pydantic import JsonValue

from dominie_contracts import Forbidden, Payload, Problem, Recorded
from dominie_contracts.action import Finished
from dominie_contracts.memory import (
    AddTurn,
    Kept,
    ListTurns,
    Memories,
    Memory,
    Recall,
    Remember,
    Remembered,
    Turn,
    TurnAdded,
    Turns,
)
from dominie_contracts.provenance import Label, join
from dominie_contracts.registry import parse_own
from dominie_contracts.seen import MADE
from dominie_kit import Action, Actions, Context, Outcome, Question, Request, Work
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.given import Provenance
from dominie_kit.personal.keyring import INDEX, Keyring
from dominie_memory.aggregate import (
    PLATFORMS,
    State,
    as_endorsed,
    check_namespace,
    check_session,
    decide,
    found_label,
    label_of,
    memory_scope,
    turn_scope,
)
from dominie_memory.projection import Endorsements, Library

Done = tuple[JsonValue, Sequence[Payload], Label]
"""A result, what is written beside it, and what the result was made from."""


class Handlers:
    """Answers `remember`, `recall`, `add_turn` and `turns`."""

    def __init__(
        self,
        actions: Actions,
        library: Library,
        keyring: Keyring,
        provenance: Provenance,
        endorsed: Endorsements,
        standing: Standing,
    ) -> None:
        self._actions = actions
        self._library = library
        self._keyring = keyring
        self._provenance = provenance
        self._endorsed = endorsed
        self._standing = standing

    async def remember(self, command: Remember, context: Context) -> Kept:
        """Keep a text in a namespace."""
        await context.read_your_writes()

        def keep(action: Action) -> Done:
            kept = decide(State(), command, id=action.id, user=_user(context), label=self._made(context))
            return {"id": action.id}, kept, PLATFORMS

        action = await self._in_namespace(command, context, keep)
        return _kept(action)

    async def recall(self, command: Recall, context: Context) -> Memories:
        """Find the texts of a namespace that fit best; a repeated question finds what the first one found."""
        await context.read_your_writes()
        await self._keyring.of(context.tenant, INDEX)
        scope = memory_scope(command.namespace, _user(context))

        def search(action: Action) -> Done:
            hits = self._library.search(context.tenant, scope, command.query, command.limit)
            texts = self._library.memories(context.tenant, scope, [hit.id for hit in hits]).values()
            label = found_label(self._labelled(context, text) for text in texts)
            return [{"id": hit.id, "score": hit.score} for hit in hits], (), label

        action = await self._in_namespace(command, context, search)
        scores = {cast(str, hit["id"]): cast(float, hit["score"]) for hit in _found(action)}
        sealed = self._library.memories(context.tenant, scope, list(scores))
        found = dict(zip(sealed, await self._keyring.open(list(sealed.values())), strict=True))
        labels = {id: label_of(self._labelled(context, event)) for id, event in found.items()}
        return Memories(memories=tuple(_memory(id, found[id], scores[id], labels[id]) for id in scores if id in found))

    async def add_turn(self, command: AddTurn, context: Context) -> Kept:
        """Keep one turn of the run's session."""
        await context.read_your_writes()

        def keep(action: Action) -> Done:
            session, label = context.claims.session if context.claims else None, self._made(context)
            kept = decide(State(), command, id=action.id, user=_user(context), session=session, label=label)
            return {"id": action.id}, kept, PLATFORMS

        action = await self._in_session(command, context, keep)
        return _kept(action)

    async def turns(self, command: ListTurns, context: Context) -> Turns:
        """The last turns of the run's session."""
        await context.read_your_writes()
        await self._keyring.of(context.tenant, INDEX)
        scope = turn_scope(context.claims.session or "" if context.claims else "", _user(context))

        def look(action: Action) -> Done:
            ids = self._library.last_turns(context.tenant, scope, command.limit)
            texts = self._library.turns(context.tenant, scope, ids)
            return [{"id": id} for id in ids], (), found_label(map(_added, texts))

        action = await self._in_session(command, context, look)
        sealed = self._library.turns(context.tenant, scope, [cast(str, turn["id"]) for turn in _found(action)])
        return Turns(turns=tuple(map(_turn, await self._keyring.open(sealed))))

    def _labelled(self, context: Context, event: Recorded) -> Remembered:
        """A note, as people have endorsed it."""
        kept = _remembered(event)
        said = self._endorsed.of(context.tenant, kept.id)
        return as_endorsed(kept, [each for each in said if self._standing.stands(context.tenant, each.by)])

    def _made(self, context: Context) -> Label:
        """Of what is made of all that the run was given so far."""
        return join((MADE, self._provenance.of(context)))

    async def _in_namespace(self, command: Remember | Recall, context: Context, do: Callable[[Action], Done]) -> Action:
        """Do what grants and policies allow in a namespace."""
        namespace = command.namespace
        request = Request(command.NAME, command.model_dump(mode="json"), resource=namespace)
        action = self._actions.open(context)
        recorded = await self._actions.recorded(action, request)
        if recorded is not None:
            return recorded
        try:
            check_namespace(namespace)
            if not context.grants.allow("namespaces", namespace):
                raise Forbidden(f"{context.principal} was not granted the namespace {namespace!r}")
        except Problem as problem:
            raise await self._actions.refuse(action, request, problem) from problem
        asked: dict[str, JsonValue] = {"tenant": context.tenant, "user": _user(context)}
        question = Question(context.principal, command.NAME, "Namespace", namespace, asked)
        return await self._actions.perform(action, request, question, _work(do))

    async def _in_session(self, command: AddTurn | ListTurns, context: Context, do: Callable[[Action], Done]) -> Action:
        """Do what belongs to the run's own session; no policy is asked."""
        request = Request(command.NAME, command.model_dump(mode="json"))
        action = self._actions.open(context)
        recorded = await self._actions.recorded(action, request)
        if recorded is not None:
            return recorded
        try:
            check_session(context.claims.session if context.claims else None)
        except Problem as problem:
            raise await self._actions.refuse(action, request, problem) from problem
        return await self._actions.perform(action, request, None, _work(do))


def _work(do: Callable[[Action], Done]) -> Work:
    async def run(action: Action) -> Outcome:
        begun = time.perf_counter()
        result, more, label = do(action)
        duration_ms = round((time.perf_counter() - begun) * 1000, 3)
        return Outcome(Finished(outcome="ok", result=result, label=label, duration_ms=duration_ms), tuple(more))

    return Work(run)


def _memory(id: str, event: Recorded, score: float, label: Label) -> Memory:
    kept = _remembered(event)
    time = event.envelope.time.isoformat()
    return Memory(id=id, text=kept.text, score=score, time=time, label=label)


def _turn(event: Recorded) -> Turn:
    kept = _added(event)
    return Turn(role=kept.role, text=kept.text, time=event.envelope.time.isoformat(), label=label_of(kept))


def _remembered(event: Recorded) -> Remembered:
    payload = parse_own(event)
    assert isinstance(payload, Remembered)
    return payload


def _added(event: Recorded) -> TurnAdded:
    payload = parse_own(event)
    assert isinstance(payload, TurnAdded)
    return payload


def _kept(action: Action) -> Kept:
    """What was kept, of this request or of the one that its outcome was recorded for."""
    assert action.state.finished is not None
    return Kept.model_validate(action.state.finished.result)


def _found(action: Action) -> list[dict[str, JsonValue]]:
    """What was found, as it is recorded: of this request, or of an earlier one under the same key."""
    assert action.state.finished is not None
    return cast(list[dict[str, JsonValue]], action.state.finished.result)


def _user(context: Context) -> str:
    assert context.user is not None, "the routes want a run token"
    return context.user
