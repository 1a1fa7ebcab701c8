"""Writes what is decided about one principal, or the deployment's keys, again where others were first."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from dominie.keys import key_id
from dominie_contracts import Recorded, StreamName, Unavailable
from dominie_contracts.identity import IDENTITY, PRINCIPAL
from dominie_contracts.keys import KeyEntry, KeysChanged, RotateKeys
from dominie_contracts.registry import parse_own
from dominie_contracts.subjects import PLATFORM
from dominie_eventstore import EventStore, Folds, WrongExpectedVersion
from dominie_identity.aggregate import Caller, PrincipalEvent, State, evolve
from dominie_identity.keys.aggregate import decide_keys
from dominie_identity.projection import Principals
from dominie_kit import Actions, Context

TRIES = 8
_KEYS = StreamName(PLATFORM, PRINCIPAL, IDENTITY)
Change = Callable[[State], Sequence[PrincipalEvent]]


class PrincipalWriter:
    """Appends to the streams of principals, and puts what they are now into the read model."""

    def __init__(self, store: EventStore, actions: Actions, principals: Principals) -> None:
        self._store = store
        self._states = Folds(store, State(), lambda state, events: reduce(_evolve, events, state))
        self._actions = actions
        self._principals = principals

    def caller(self, context: Context) -> Caller:
        """Who asks, with the groups that stand now: this read model is never behind identity's own answers."""
        found = self._principals.find(context.tenant, context.principal)
        return Caller(context.tenant, context.principal, found.groups if found else ())

    async def load(self, stream: StreamName) -> State:
        """A principal as the log says now, which the read model may be behind."""
        return await self._states.load(stream)

    async def write(self, stream: StreamName, change: Change, context: Context) -> State:
        """Append what is decided about the principal as it is; what it is now.

        Raises:
            Unavailable: Others change it all the time.
        """
        for _ in range(TRIES):
            state = await self._states.load(stream)
            events = change(state)
            if not events:
                return state
            drafts = self._actions.drafts(context, stream, *events)
            try:
                appended = await self._store.append(stream, drafts, expected_version=state.version)
            except WrongExpectedVersion:
                continue
            for event, draft in zip(events, drafts, strict=True):
                state = evolve(state, event, position=appended.position, at_s=draft.time.timestamp())
            context.position = appended.position
            self._principals.put(stream.tenant, stream.id, state)
            return state
        raise Unavailable(f"others change {stream.id} too; ask again", retry_after_s=0.2)


@dataclass(frozen=True, slots=True)
class Known:
    """The keys that the log says are taken; None where none was ever rotated."""

    keys: tuple[KeyEntry, ...] | None = None
    version: int = 0


class KeyWriter:
    """Appends to the stream of the deployment's keys."""

    def __init__(self, store: EventStore, actions: Actions) -> None:
        self._store = store
        self._known = Folds(store, Known(), lambda known, events: reduce(_evolve_keys, events, known))
        self._actions = actions

    async def rotate(self, command: RotateKeys, first: KeyEntry, context: Context) -> tuple[KeyEntry, ...]:
        """Append what is decided; all that are taken then.

        Raises:
            Unavailable: Others rotate keys all the time.
        """
        for _ in range(TRIES):
            known = await self._known.load(_KEYS)
            stands = (first,) if known.keys is None else known.keys
            events = decide_keys(stands, command, now_s=int(time.time()), kid=key_id)
            if not events:
                return stands
            drafts = self._actions.drafts(context, _KEYS, *events)
            try:
                context.position = (await self._store.append(_KEYS, drafts, expected_version=known.version)).position
            except WrongExpectedVersion:
                continue
            return events[0].keys
        raise Unavailable("others rotate keys too; ask again", retry_after_s=0.2)


def _evolve_keys(known: Known, event: Recorded) -> Known:
    payload = parse_own(event)
    assert isinstance(payload, KeysChanged)
    return Known(payload.keys, known.version + 1)


def _evolve(state: State, event: Recorded) -> State:
    payload = parse_own(event)
    assert isinstance(payload, PrincipalEvent)
    return evolve(state, payload, position=event.position, at_s=event.envelope.time.timestamp())
