"""What guardrail knows: the policy set in force, and the actions that wait for a person."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from pydantic import JsonValue

from dominie_contracts import Recorded, StreamName, Unavailable
from dominie_contracts.action import Approved, Ask, Finished, Limit, Parked, Requested
from dominie_contracts.approvals import holds, unanswered
from dominie_contracts.guardrail import Answer, ApprovalAnswered, ApprovalView, PoliciesPublished, PolicyFile
from dominie_contracts.registry import parse_event
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.tool import ToolRegistered
from dominie_eventstore import EventStore, InMemory
from dominie_kit.policy.rules import read_set
from dominie_kit.policy.shapes import Shape, shape_of

_AT_A_TIME = 32
"""Trails that are read at once."""
_CLOCKS_MS = 60_000
"""So much later than its time nobody's clock lets an action go on."""
_Key = tuple[str, str]
"""Tenant and id of an action."""


class InForce(InMemory):
    """The platform's policy set in force, and the limits of each tenant; a projection of the category `policy`."""

    def __init__(self) -> None:
        self.position = 0
        self.digest: str | None = None
        self._files: dict[str, tuple[PolicyFile, ...]] = {}
        self._limits: dict[str, list[Limit]] = {}
        """By tenant, read when first asked for."""

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, PoliciesPublished):
            self._files[event.envelope.tenant] = payload.files
            self._limits.clear()
            if event.envelope.tenant == PLATFORM:
                self.digest = payload.digest

    def limits(self, tenant: str) -> list[Limit]:
        """The limits that hold for a tenant: everybody's, and its own.

        Raises:
            Unavailable: An older version took policies that cannot be read here.
        """
        if tenant not in self._limits:
            files = (*self._files.get(PLATFORM, ()), *(self._files.get(tenant, ()) if tenant != PLATFORM else ()))
            try:
                found = [rule.limit for rule in read_set(files)]
            except ValueError as error:
                raise Unavailable(
                    "the policies in force cannot be read here: publish others", retry_after_s=1
                ) from error
            self._limits[tenant] = [limit for limit in found if limit is not None]
        return self._limits[tenant]


class Shapes(InMemory):
    """The actions of all tool versions that were ever registered; a projection of the category `catalog`."""

    def __init__(self) -> None:
        self.position = 0
        self._known: dict[tuple[str, str], Shape] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, ToolRegistered):
            shape = shape_of(payload.spec)
            self._known[event.envelope.tenant, shape.action] = shape

    def of(self, tenant: str) -> list[Shape]:
        """A tenant's; the platform has everybody's."""
        return [shape for (owner, _), shape in self._known.items() if tenant in (owner, PLATFORM)]


@dataclass(frozen=True, slots=True)
class Entry:
    """An asked action as the log tells it; `view` as it was when it was asked."""

    view: ApprovalView
    parked: Parked
    chain: str
    position: int
    used: bool = False
    ended: bool = False

    def seen(self, answers: Sequence[ApprovalAnswered], now_ms: int) -> ApprovalView:
        """The action with what people said to it, at a time."""
        left = unanswered(
            self.parked.asks, [each for each in answers if holds(each, self.parked.digest, now_ms=now_ms)]
        )
        no = next((each for each in answers if each.decision == "deny"), None)
        first = no or next(iter(answers), None)
        return self.view.model_copy(
            update={
                "left": left,
                "status": self._status(left, no, now_ms),
                "answers": tuple(map(_answer, answers)),
                **({"by": first.by, "note": first.note} if first else {}),
            }
        )

    def _status(self, left: tuple[Ask, ...], no: ApprovalAnswered | None, now_ms: int) -> str:
        if self.used:
            return "used"
        if no is not None:
            return "denied"
        if self.ended or (left and now_ms > self.view.expires_ms):
            return "expired"
        return "pending" if left else "granted"


@dataclass(frozen=True, slots=True)
class Newest:
    """Asked actions, newest first; and how many older ones were not looked at."""

    views: list[ApprovalView]
    left: int


class Asked:
    """The actions that asked a person, as noted, and the answers; how each stands is read from its own trail."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._noted: dict[_Key, tuple[str, int]] = {}
        """The category of each, and the position of its note."""
        self._over: set[_Key] = set()
        """Those that ask nobody any more."""
        self._answers: dict[_Key, list[ApprovalAnswered]] = {}

    def note(self, event: Recorded, category: str) -> None:
        """Take in a note of an action in this category."""
        stream = StreamName.parse(event.stream)
        self._noted[stream.tenant, stream.id] = category, event.position

    def answer(self, event: Recorded) -> None:
        """Take in an answer."""
        payload = parse_event(event.type, event.envelope.data)
        if isinstance(payload, ApprovalAnswered):
            stream = StreamName.parse(event.stream)
            self._answers.setdefault((stream.tenant, stream.id), []).append(payload)

    async def find(self, tenant: str, action: str) -> Entry | None:
        """One asked action.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        key = tenant, action
        return entry_of(await self._trail(key)) if key in self._noted else None

    async def newest(
        self,
        tenant: str,
        wanted: Callable[[ApprovalView], bool] = lambda view: True,
        *,
        now_ms: int,
        begins: str = "",
        waiting: bool = False,
        most: int = 1000,
        in_time: Callable[[], bool] = lambda: True,
    ) -> Newest:
        """A tenant's asked actions; what nobody answered in time has expired.

        Args:
            tenant: Whose.
            wanted: Which of them.
            now_ms: Unix time in milliseconds.
            begins: How their ids begin.
            waiting: Leave out what asks nobody any more.
            most: Once there are so many, no more are looked at.
            in_time: Once this says no, no more are looked at.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        keys = [key for key in self._noted if key[0] == tenant and key[1].startswith(begins)]
        keys = [key for key in keys if not (waiting and key in self._over)]
        keys.sort(key=lambda key: self._noted[key][1], reverse=True)
        found, looked_at = list[tuple[int, ApprovalView]](), 0
        while looked_at < len(keys) and len(found) < most and (looked_at == 0 or in_time()):
            some = keys[looked_at : looked_at + _AT_A_TIME]
            seen = [each for each in await self._seen(some, now_ms) if wanted(each[1])]
            found, looked_at = found + seen, looked_at + len(some)
        found.sort(key=lambda each: each[0], reverse=True)
        return Newest([view for _, view in found], len(keys) - looked_at)

    def fresh(self) -> "Asked":
        """Others, of which nothing is known."""
        return Asked(self._store)

    def take_answers(self, built: "Asked") -> None:
        """Know the answers that the built ones know, and no others."""
        self._answers = built._answers

    def take_notes(self, built: "Asked", category: str) -> None:
        """Know of a category what the built ones know."""
        others = {key: noted for key, noted in self._noted.items() if noted[0] != category}
        self._noted = {**others, **built._noted}
        self._over &= others.keys()

    async def _seen(self, keys: Sequence[_Key], now_ms: int) -> list[tuple[int, ApprovalView]]:
        """Where each asked, and how it stands; not those that did not come to ask: a note is written first."""
        found = list[tuple[int, ApprovalView]]()
        for key, trail in zip(keys, await asyncio.gather(*map(self._trail, keys)), strict=True):
            if (entry := entry_of(trail)) is None:
                continue
            if entry.ended or now_ms > entry.parked.expires_ms + _CLOCKS_MS:
                self._over.add(key)
            found.append((entry.position, entry.seen(self._answers.get(key, ()), now_ms)))
        return found

    async def _trail(self, key: _Key) -> list[Recorded]:
        return await self._store.read(StreamName(key[0], self._noted[key][0], key[1]))


class Notes(InMemory):
    """Feeds the notes on one category's actions; each category is followed from its own position."""

    def __init__(self, asked: Asked, category: str) -> None:
        self.position = 0
        self._asked = asked
        self._category = category

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        self._asked.note(event, self._category)

    def fresh(self) -> Self:
        """Feeds others."""
        return type(self)(self._asked.fresh(), self._category)

    def become(self, built: Self) -> None:
        """Take over what the built one has fed."""
        self.position = built.position
        self._asked.take_notes(built._asked, self._category)


class Answers(InMemory):
    """Feeds the answers."""

    def __init__(self, asked: Asked) -> None:
        self.position = 0
        self._asked = asked

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        self._asked.answer(event)

    def fresh(self) -> Self:
        """Feeds others."""
        return type(self)(self._asked.fresh())

    def become(self, built: Self) -> None:
        """Take over what the built one has fed."""
        self.position = built.position
        self._asked.take_answers(built._asked)


def entry_of(trail: Iterable[Recorded]) -> Entry | None:
    """An asked action by its trail; None if nobody was asked."""
    entry: Entry | None = None
    arguments: dict[str, JsonValue] = {}
    for event in trail:
        match parse_event(event.type, event.envelope.data):
            case Requested() as requested:
                arguments = requested.arguments
            case Parked() as parked:
                entry = _entry(event, StreamName.parse(event.stream), parked, parked.arguments or arguments)
            case Approved() if entry is not None:
                entry = replace(entry, used=True)
            case Finished() if entry is not None:
                entry = replace(entry, ended=True)
            case _:
                pass
    return entry


def _answer(said: ApprovalAnswered) -> Answer:
    policies = tuple(key.rpartition("@")[0] for key in said.asks)
    return Answer(by=said.by, decision=said.decision, policies=policies, note=said.note, expires_ms=said.expires_ms)


def _entry(event: Recorded, stream: StreamName, parked: Parked, arguments: dict[str, JsonValue]) -> Entry:
    envelope = event.envelope
    view = ApprovalView(
        action=stream.id,
        tenant=stream.tenant,
        category=stream.category,
        agent=envelope.actor.split()[0],
        user=envelope.on_behalf_of or "",
        run=envelope.correlation_id,
        command=parked.command,
        resource=parked.resource,
        arguments=arguments,
        labels=parked.labels,
        asks=parked.asks,
        left=parked.asks,
        digest=parked.digest,
        status="pending",
        expires_ms=parked.expires_ms,
    )
    return Entry(view, parked, envelope.actor, event.position)
