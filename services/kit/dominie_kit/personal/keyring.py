"""The keys of the people whose data pass through a service: asked for once, kept in memory, dropped on erasure."""

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

import structlog
from pydantic import JsonValue

from dominie_contracts import Envelope, Recorded, Unavailable
from dominie_contracts.keys import AskSubjectKeys, SubjectKey, SubjectKeys
from dominie_contracts.personal import erased, key_ids, open_parts, parts, token_of
from dominie_contracts.registry import EVENTS
from dominie_contracts.subjects import PLATFORM
from dominie_kit.bus import Inner
from dominie_kit.context import Context, deadline_in
from dominie_kit.personal.sealing import PersonKey, Unreadable, place

INDEX = "index"
"""Whose key a tenant's search indexes are written with: nobody's."""
SIZE = 100_000
"""Keys at most in memory, some 1 kB each; the one that was not used for longest goes."""
_ASK_S = 5.0
_MANY = 1000
_PERSONAL = {type_: kind for type_, kind in EVENTS.items() if parts(kind)}
log = structlog.get_logger()


class KeySource(Protocol):
    """Where keys come from: identity's store."""

    async def keys(self, asked: AskSubjectKeys) -> SubjectKeys:
        """The key of the subject, made on first use, and those of the ids that stand.

        Raises:
            Forbidden: The subject was erased.
            Unavailable: There is no telling.
        """
        ...


class FromIdentity:
    """Asks identity over a service's inner connection."""

    def __init__(self, inner: Inner, service: str) -> None:
        self._inner = inner
        self._principal = f"svc-{service}"

    async def keys(self, asked: AskSubjectKeys) -> SubjectKeys:
        """See `KeySource`."""
        context = Context(
            tenant=PLATFORM, principal=self._principal, key=uuid.uuid4().hex, deadline=deadline_in(_ASK_S)
        )
        return await self._inner.call(context, asked, SubjectKeys)


class Keyring:
    """The keys that were used last, by their ids and by their people; None stands for one that is gone."""

    def __init__(self, source: KeySource, *, size: int = SIZE) -> None:
        self._source = source
        self._size = size
        self._keys: OrderedDict[str, PersonKey | None] = OrderedDict()
        self._ids: dict[tuple[str, str], str] = {}

    async def of(self, tenant: str, person: str) -> PersonKey:
        """The key of a person, made on first use.

        Raises:
            Forbidden: The person was erased.
            Unavailable: Identity does not answer.
        """
        known = self._keys.get(self._ids.get((tenant, person), ""))
        if known is not None:
            self._keys.move_to_end(known.id)
            return known
        kept = self._keep(tenant, await self._source.keys(AskSubjectKeys(tenant=tenant, subject=person)))
        if person not in kept:
            raise Unavailable(f"the key of {person} was destroyed just now", retry_after_s=0.2)
        return kept[person]

    async def by_id(self, tenant: str, id_: str) -> PersonKey | None:
        """A key of a tenant by its id, whoever made that up; None where there is none, or none any more.

        Raises:
            Unavailable: Identity does not answer.
        """
        if id_ not in self._keys:
            kept = self._keep(tenant, await self._source.keys(AskSubjectKeys(tenant=tenant, ids=(id_,))))
            return next(iter(kept.values()), None)
        found = self._keys[id_]
        return found if found is not None and found.owner[0] == tenant else None

    async def load(self, events: Iterable[Recorded]) -> None:
        """Have every key at hand that these events name.

        Raises:
            Unavailable: Identity does not answer.
        """
        wanted: dict[str, dict[str, None]] = {}
        for event in events:
            for id_ in key_ids(event.raw):
                if id_ not in self._keys:
                    wanted.setdefault(event.envelope.tenant, {})[id_] = None
        for tenant, ids in wanted.items():
            await self._ask(tenant, list(ids))

    async def open(self, events: Sequence[Recorded]) -> list[Recorded]:
        """The events as their people meant them; what was erased is marked.

        Raises:
            Unavailable: Identity does not answer.
        """
        await self.load(events)
        return [self.opened(event) for event in events]

    def opened(self, event: Recorded) -> Recorded:
        """One event, opened when it is read; a part whose key was never asked for stays sealed."""
        return _Opened(event, self) if event.type in _PERSONAL else event

    def unseal(self, position: int, envelope: Envelope) -> Envelope:
        """An envelope with what can be read now."""

        def unseal(path: str, value: JsonValue) -> JsonValue:
            token = token_of(value) or ""
            id_ = token.partition(".")[0]
            key = self._keys.get(id_)
            if key is None:
                return erased(value) if id_ in self._keys else value
            try:
                return key.unseal(token, place(envelope.stream, envelope.type, path))
            except Unreadable as error:
                log.warning("personal.unreadable", position=position, error=str(error))
                return erased(value)

        data = open_parts(_PERSONAL[envelope.type], envelope.data, unseal)
        return envelope.model_copy(update={"data": data})

    async def secrets(self, tenant: str, ids: Sequence[str]) -> tuple[SubjectKey, ...]:
        """Keys by their ids, as they are: for who looks whether anything of them is left.

        Raises:
            Unavailable: Identity does not answer.
        """
        return (await self._source.keys(AskSubjectKeys(tenant=tenant, ids=tuple(ids)))).keys

    def term(self, tenant: str, word: str) -> str:
        """What stands for a word in a tenant's search index, once the key of the index was asked for with `of`.

        Raises:
            Unavailable: It was not.
        """
        key = self._keys.get(self._ids.get((tenant, INDEX), ""))
        if key is None:
            raise Unavailable(f"the key of the index of {tenant!r} is not at hand", retry_after_s=0.2)
        return key.term(word)

    def drop(self, ids: Iterable[str]) -> None:
        """Keys were destroyed: forget them, and never take them again."""
        for id_ in ids:
            key = self._keys.get(id_)
            self._put(id_, None)
            if key is not None:
                self._ids.pop(key.owner, None)

    async def _ask(self, tenant: str, ids: Sequence[str]) -> None:
        for first in range(0, len(ids), _MANY):
            asked = AskSubjectKeys(tenant=tenant, ids=tuple(ids[first : first + _MANY]))
            self._keep(tenant, await self._source.keys(asked))
            for id_ in asked.ids:
                if id_ not in self._keys:
                    self._put(id_, None)

    def _keep(self, tenant: str, found: SubjectKeys) -> dict[str, PersonKey]:
        """Keep what was found, but for what was dropped while it was asked for."""
        kept = {}
        for each in found.keys:
            if each.id in self._keys and self._keys[each.id] is None:
                continue
            key = kept[each.subject] = PersonKey.of(tenant, each)
            self._put(each.id, key)
            self._ids[key.owner] = each.id
        return kept

    def _put(self, id_: str, key: PersonKey | None) -> None:
        self._keys[id_] = key
        self._keys.move_to_end(id_)
        if len(self._keys) > self._size:
            _, gone = self._keys.popitem(last=False)
            if gone is not None:
                self._ids.pop(gone.owner, None)


class _Opened(Recorded):
    """An event whose envelope is opened when somebody reads it; the stored bytes stay what they are."""

    __slots__ = ("_keyring", "_sealed")

    def __init__(self, sealed: Recorded, keyring: Keyring) -> None:
        super().__init__(sealed.position, sealed.raw)
        self._sealed = sealed
        self._keyring = keyring

    @property
    def stream(self) -> str:
        """The name of its stream."""
        return self._sealed.stream

    def _unseal(self) -> Envelope:
        return self._keyring.unseal(self.position, self._sealed.envelope)
