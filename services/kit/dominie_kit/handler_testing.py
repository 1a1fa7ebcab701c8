"""What tests of a service's handlers stand on: a log in memory, policies in force, contexts made by hand. No broker."""

import uuid
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TypeVar

from dominie import Credentials
from dominie.answers import sign_answer
from dominie.keys import KeyPair
from dominie_contracts import Command, Draft, Message, Payload, Recorded, RunClaims, StreamName, Unavailable
from dominie_contracts.action import Parked
from dominie_contracts.audit import FromRecord
from dominie_contracts.digests import digest_bytes
from dominie_contracts.guardrail import APPROVAL, POLICY, POLICY_SET, ApprovalAnswered, PoliciesPublished, PolicyFile
from dominie_contracts.identity import PRINCIPAL, Registered
from dominie_contracts.keys import AskSubjectKeys, SubjectKey, SubjectKeys
from dominie_contracts.registry import event_type, parse_event
from dominie_contracts.spiffe import TRUST_DOMAIN
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.token import AUDIENCE, EVERYTHING, Actor, Authorization, Ceiling, Confirmation, Fork, Grants
from dominie_eventstore import MemoryEventStore, Projection
from dominie_kit.blobs import Blob, Held
from dominie_kit.bus import now_ms
from dominie_kit.context import Context, deadline_in
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.actions import Actions
from dominie_kit.governed.decision import DecisionPoint
from dominie_kit.governed.past import Calls, Past
from dominie_kit.personal.keyring import Keyring
from dominie_kit.personal.opened import OpenedStore
from dominie_kit.personal.sealing import PersonKey

R = TypeVar("R", bound=Message)
PERMIT_ALL = '@id("all") permit (principal, action, resource);'
ALL = Grants(tools=(EVERYTHING,), models=(EVERYTHING,), namespaces=(EVERYTHING,))


class Others:
    """The other services: each answers once this is told what with, as audit does of a forked run's next action."""

    record: Message | None = None

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        """Answer with what is told, where that is what is asked for; else nobody does."""
        if not isinstance(self.record, reply):
            raise Unavailable(f"nobody answers {command.NAME}")
        return self.record


class Keys:
    """The keys of people, in memory, and the same ones each time; see `KeySource`."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], SubjectKey] = {}

    def of(self, tenant: str, person: str) -> SubjectKey:
        """The key of a person, made on first use."""
        secret = sha256(f"{tenant} {person}".encode()).digest()
        key = SubjectKey(id=secret.hex()[:24], subject=person, secret=b64encode(secret).decode())
        return self._held.setdefault((tenant, person), key)

    def destroy(self, tenant: str, person: str) -> str:
        """Destroy the key of a person; returns its id."""
        return self._held.pop((tenant, person)).id

    async def keys(self, asked: AskSubjectKeys) -> SubjectKeys:
        """See `KeySource`."""
        found = [] if asked.subject is None else [self.of(asked.tenant, asked.subject)]
        found += [key for (tenant, _), key in self._held.items() if tenant == asked.tenant and key.id in asked.ids]
        return SubjectKeys(keys=tuple(found))


class MemoryBlobs:
    """See `Shelf`; `age` makes everything older."""

    def __init__(self) -> None:
        self.kept: dict[str, Blob] = {}
        self._count = 0

    async def put(self, subject: str, body: bytes) -> None:
        """See `Blobs`."""
        self._count += 1
        self.kept[subject] = Blob(subject, self._count, datetime.now(UTC), body)

    async def get(self, subject: str) -> Blob | None:
        """See `Blobs`."""
        found = [blob for held, blob in self.kept.items() if fits(subject, held)]
        return max(found, key=lambda blob: blob.sequence, default=None)

    async def held(self) -> Held:
        """See `Shelf`."""
        return Held(tuple(self.kept), sum(len(blob.body) for blob in self.kept.values()))

    async def remove(self, blob: Blob) -> bool:
        """See `Shelf`."""
        there = self.kept.get(blob.subject)
        if there is None or there.sequence != blob.sequence:
            return False
        del self.kept[blob.subject]
        return True

    def age(self, by: timedelta) -> None:
        """Time goes by."""
        self.kept = {subject: blob._replace(stored=blob.stored - by) for subject, blob in self.kept.items()}


def fits(pattern: str, subject: str) -> bool:
    """Whether a subject fits a pattern whose wildcards stand for one token each."""
    wanted, there = pattern.split("."), subject.split(".")
    return len(wanted) == len(there) and all(want in ("*", have) for want, have in zip(wanted, there, strict=True))


def term(tenant: str, word: str) -> str:
    """What stands for a word in the search indexes of tests."""
    return digest_bytes(f"{tenant} {word}".encode())[:16]


class Desk:
    """One service's surroundings; its read models are fed when a context asks to see its own writes."""

    def __init__(self, service: str, services: Calls | None = None) -> None:
        self.others = Others()
        self.services: Calls = services or self.others
        self.log = MemoryEventStore()
        self.keys = Keys()
        self.keyring = Keyring(self.keys)
        self.blobs = MemoryBlobs()
        self.store = OpenedStore(self.log, self.keyring)
        self.decisions = DecisionPoint(staleness_s=3600)
        self.standing = Standing()
        self._service = service
        self._follows: list[tuple[Projection, str | None]] = []

    def actions(self, category: str, *, observe: bool = False) -> Actions:
        """The service's actions; another call is another instance."""
        instance = f"{self._service}-{uuid.uuid4().hex[:8]}"
        past = Past(self.store, self.services)
        return Actions(
            self.store,
            self.decisions,
            self.standing,
            past,
            self.services,
            service=self._service,
            category=category,
            instance=instance,
            observe=observe,
        )

    def follow(self, projection: Projection, category: str | None) -> None:
        """Feed a read model from now on."""
        self._follows.append((projection, category))

    async def caught_up(self, position: int = 0, timeout_s: float = 0) -> None:
        """Feed every read model all that is stored."""
        for projection, category in self._follows:
            async for event in self.store.read_all(category=category, after=projection.position):
                projection.apply(event)

    async def publish(self, policies: str = PERMIT_ALL, *more: PolicyFile, tenant: str = PLATFORM) -> None:
        """Put Cedar policies in force, and the other files of their set."""
        files = (PolicyFile(name="test.cedar", text=policies), *more)
        digest = digest_bytes("".join(file.text for file in files).encode())
        published = PoliciesPublished(digest=digest, files=files, by="operator")
        for event in await self.append(POLICY, POLICY_SET, published, tenant=tenant):
            self.decisions.apply(event)

    async def join(self, principal: str, *groups: str, tenant: str = "acme", **more: object) -> Credentials:
        """Register a principal with a key of its own, or with what `more` says."""
        keys = KeyPair.generate()
        known = {"tenant": tenant, "principal": principal, "nkey": keys.public, "sponsor": None, "grants": Grants()}
        registered = Registered.model_validate({**known, "users": (), "groups": groups, "by": "operator", **more})
        for event in await self.append(PRINCIPAL, principal, registered, tenant=tenant):
            self.standing.apply(event)
        return Credentials("", tenant, principal, keys)

    async def answer(self, stream: StreamName, who: Credentials, **more: object) -> None:
        """Write what guardrail would of a person's answer to an action, without its rules.

        `more` replaces what is written; `signed` in it what the person signs.
        """
        trail = [parse_event(event.type, event.envelope.data) for event in await self.store.read(stream)]
        asked = [each for each in trail if isinstance(each, Parked)][-1]
        signed = {"action": stream.id, "digest": asked.digest, "asks": [ask.key for ask in asked.asks]}
        changed = more.pop("signed", {})
        assert isinstance(changed, dict)
        written = {
            **signed,
            "category": stream.category,
            "decision": "grant",
            "by": who.principal,
            "groups": sorted({ask.group for ask in asked.asks}),
            "expires_ms": now_ms() + 60_000,
            "note": "",
            "answered_ms": now_ms(),
            "nkey": who.keys.public,
            "proof": sign_answer(who, **{"decision": "grant", **signed, **changed}),
        }
        await self.append(APPROVAL, stream.id, ApprovalAnswered.model_validate({**written, **more}))

    def person(self, user: str = "u-dana") -> PersonKey:
        """The key of a person."""
        return PersonKey.of("acme", self.keys.of("acme", user))

    async def append(
        self,
        category: str,
        id: str,
        *payloads: Payload,
        tenant: str = "acme",
        run: str | None = None,
        user: str | None = None,
        actor: str = "svc-test",
    ) -> tuple[Recorded, ...]:
        """Write what another service would have written, after what is in the stream."""
        stream = StreamName(tenant, category, id)
        drafts = [
            Draft(
                id=uuid.uuid4().hex,
                source="dominie/test",
                type=event_type(category, payload),
                time=datetime.now(UTC),
                actor=actor,
                data=payload.model_dump_json(),
                on_behalf_of=user,
                correlation_id=run,
            )
            for payload in payloads
        ]
        version = len(await self.store.read(stream))
        return (await self.store.append(stream, drafts, expected_version=version)).recorded

    async def last(self, category: str) -> FromRecord:
        """The last event of a category, as what a fork is to be served from."""
        *_, event = [event async for event in self.store.read_all(category=category)]
        return FromRecord(stream=event.stream, position=event.position)

    async def types(self, category: str) -> list[str]:
        """The types of a category's events, in order, without the category."""
        events = [event async for event in self.store.read_all(category=category)]
        return [event.envelope.type.removeprefix(f"{category}.") for event in events]

    def context(
        self,
        key: str | None = None,
        *,
        tenant: str = "acme",
        agent: str = "a-desk",
        user: str = "u-dana",
        run: str = "r-1",
        session: str | None = None,
        grants: Grants = ALL,
        fork: Fork | None = None,
        ceilings: tuple[Ceiling, ...] = (),
        deadline_s: float = 5.0,
    ) -> Context:
        """A command of an agent acting for a user, as the edge would hand it on; it has seen all that is stored."""
        claims = RunClaims(
            iss="test",
            aud=AUDIENCE,
            sub=user,
            act=Actor.of(TRUST_DOMAIN, tenant, agent),
            tenant=tenant,
            run=run,
            session=session,
            cnf=Confirmation(nkey="U"),
            fork=fork,
            authorization_details=(Authorization(grants=grants), *ceilings),
            iat=0,
            exp=300,
            jti="j" * 8,
        )
        return Context(
            tenant=tenant,
            principal=agent,
            key=key or uuid.uuid4().hex,
            deadline=deadline_in(deadline_s),
            claims=claims,
            token="token",
            person=PersonKey.of(tenant, self.keys.of(tenant, user)),
            after=1,
            caught_up=self.caught_up,
        )
