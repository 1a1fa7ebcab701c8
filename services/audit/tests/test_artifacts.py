"""Artifacts are read by who may, and swept when nothing refers to them: never one that an event refers to."""

import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from pydantic_core import to_json

from dominie_audit.adapters.artifacts import Reader, Sweeper
from dominie_audit.projection import Log
from dominie_contracts import Conflict, Forbidden, Invalid, StreamName, Unavailable
from dominie_contracts.action import Finished, Requested
from dominie_contracts.artifact import CHUNK_BYTES, Reference, holder
from dominie_contracts.audit import FetchArtifact
from dominie_contracts.identity import PRINCIPAL, Erased
from dominie_contracts.personal import SEALED
from dominie_contracts.registry import event_type
from dominie_contracts.rights import AUDITORS
from dominie_contracts.tool import TOOL
from dominie_eventstore import MemoryEventStore
from dominie_kit import Context
from dominie_kit.artifacts import Artifacts, Holding
from dominie_kit.blobs import Held
from dominie_kit.context import deadline_in
from dominie_kit.handler_testing import Keys, MemoryBlobs
from dominie_kit.personal.keyring import Keyring
from dominie_kit.personal.opened import OpenedStore
from dominie_kit.personal.sealing import PersonKey, place

pytestmark = pytest.mark.anyio
Write = Callable[..., Awaitable[int]]
GRACE = timedelta(hours=24)


class Scene:
    """A log and what audit has read of it, artifacts of dana and erin, a sweeper and a reader."""

    def __init__(self, log: Log, store: MemoryEventStore, write: Write) -> None:
        self.log, self.store, self.write = log, store, write
        self.keys, self.blobs = Keys(), MemoryBlobs()
        self.keyring = Keyring(self.keys)
        self.artifacts = Artifacts(self.blobs)
        self.away = False
        self.sweeper = Sweeper(log, self.blobs, self.catch_up, grace_s=GRACE.total_seconds(), interval_s=600)
        self.reader = Reader(log, self.blobs, self.keyring)

    async def catch_up(self, timeout_s: float = 0) -> None:
        if self.away:
            raise Unavailable("audit has not caught up yet")
        async for event in OpenedStore(self.store, self.keyring).read_all(after=self.log.position):
            self.log.apply(event)

    def holding(self, user: str = "u-dana", run: str = "r-1") -> Holding:
        return Holding(PersonKey.of("acme", self.keys.of("acme", user)), holder("acme", "a-desk", run))

    async def keep(self, data: bytes, user: str = "u-dana", run: str = "r-1") -> Reference:
        where = self.holding(user, run)
        parts = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
        return await self.artifacts.keep(where, [await self.artifacts.put(where, part) for part in parts], "text/plain")

    async def refer(self, found: Reference, id_: str = "one", **more: str) -> None:
        await self.write(TOOL, id_, Finished(outcome="ok", result={"body": found.stand_in}, duration_ms=1), **more)

    async def refer_sealed(self, found: Reference, user: str = "u-dana") -> None:
        """As `refer`, the way services write it: who has lost the user's key cannot read to what it refers."""
        stream, kind = StreamName("acme", TOOL, user), event_type(TOOL, Finished(outcome="ok", duration_ms=1))
        token = self.holding(user).person.seal(to_json(found.stand_in), place(str(stream), kind, "result"))
        await self.write(TOOL, user, Finished(outcome="ok", result={SEALED: token}, duration_ms=1), user=user)

    def context(self, tenant: str = "acme", *groups: str) -> Context:
        return Context(tenant=tenant, principal="u-ann", key="k", deadline=deadline_in(5), groups=groups or (AUDITORS,))

    @property
    def held(self) -> tuple[int, int]:
        """Manifests and chunks."""
        return sum(".m." in each for each in self.blobs.kept), sum(".c." in each for each in self.blobs.kept)


@pytest.fixture
def scene(log: Log, store: MemoryEventStore, write: Write) -> Scene:
    return Scene(log, store, write)


async def test_what_nothing_refers_to_goes_after_its_time_and_the_rest_stays(scene: Scene) -> None:
    shared, own = b"s" * CHUNK_BYTES, b"o" * CHUNK_BYTES
    loose, kept = await scene.keep(shared + own + b"loose"), await scene.keep(shared + b"kept")
    await scene.artifacts.put(scene.holding(), b"never made into an artifact")
    await scene.refer(kept)
    await scene.sweeper.sweep()
    assert scene.held == (2, 5), "nothing is old yet"
    scene.blobs.age(GRACE + timedelta(seconds=1))
    await scene.sweeper.sweep()
    assert scene.held == (1, 2), "what both consist of stays with one"
    found = await scene.sweeper.count()
    assert (found.artifacts, found.chunks, found.swept) == (1, 2, 4) and found.swept_bytes > CHUNK_BYTES
    assert (await scene.artifacts.find(scene.holding(), kept.name)).reference == kept
    with pytest.raises(Forbidden):
        await scene.artifacts.find(scene.holding(), loose.name)


async def test_what_an_event_refers_to_stays_however_old(scene: Scene) -> None:
    found = await scene.keep(b"x" * 300_000)
    arguments = {"deep": [{"text": found.stand_in}]}
    asked = Requested(command="tool.invoke", key="k", arguments=arguments, digest="d", deadline_ms=1)  # type: ignore[arg-type]
    await scene.write(TOOL, "one", asked)
    scene.blobs.age(GRACE * 1000)
    for _ in range(3):
        await scene.sweeper.sweep()
    assert await scene.artifacts.accept(scene.holding(), [found]) and scene.held == (1, 2)


async def test_an_event_that_comes_while_it_sweeps_counts(scene: Scene) -> None:
    found = await scene.keep(b"x")
    scene.blobs.age(GRACE * 2)
    scene.away = True
    with pytest.raises(Unavailable):
        await scene.sweeper.sweep()
    assert scene.held == (1, 1), "who does not know what events say sweeps nothing"
    await scene.refer(found)
    scene.away = False
    await scene.sweeper.sweep()
    assert scene.held == (1, 1)


async def test_what_is_put_anew_while_it_sweeps_stays(scene: Scene) -> None:
    await scene.keep(b"x")
    scene.blobs.age(GRACE * 2)

    async def again(timeout_s: float) -> None:
        await scene.keep(b"x")

    await Sweeper(scene.log, scene.blobs, again, grace_s=GRACE.total_seconds(), interval_s=1).sweep()
    assert scene.held == (1, 1)


async def test_what_a_manifest_put_anew_meanwhile_consists_of_stays(scene: Scene) -> None:
    found = await scene.keep(b"x" * 200_000)
    scene.blobs.age(GRACE * 2)
    manifest = scene.holding().manifest(found.name)

    async def accepted_so_far(timeout_s: float) -> None:
        """Who accepts an artifact writes its manifest anew, and then its chunks."""
        await scene.blobs.put(manifest, scene.blobs.kept[manifest].body)

    sweeper = Sweeper(scene.log, scene.blobs, accepted_so_far, grace_s=GRACE.total_seconds(), interval_s=1)
    await sweeper.sweep()
    assert scene.held == (1, 2) and (await sweeper.count()).swept == 0
    assert await scene.artifacts.accept(scene.holding(), [found])


class Skipping(MemoryBlobs):
    """Its list lacks the manifests, and says so."""

    async def held(self) -> Held:
        return Held(tuple(subject for subject in self.kept if ".m." not in subject), 1, steady=False)


async def test_from_a_list_that_may_lack_something_only_what_is_of_erased_people_goes(scene: Scene) -> None:
    scene.blobs = Skipping()
    scene.artifacts = Artifacts(scene.blobs)
    for user in ("u-dana", "u-erin"):
        await scene.refer(await scene.keep(f"of {user}".encode(), user), user, user=user)
    scene.blobs.age(GRACE * 2)
    sweeper = Sweeper(scene.log, scene.blobs, scene.catch_up, grace_s=GRACE.total_seconds(), interval_s=1)
    await sweeper.sweep()
    assert scene.held == (2, 2) and (await sweeper.count()).swept_at is None
    gone = scene.keys.destroy("acme", "u-dana")
    erased = Erased(tenant="acme", principal="u-dana", keys=(gone,), by="u-privacy")
    await scene.write(PRINCIPAL, "u-dana", erased, run=None)
    await scene.catch_up()
    await sweeper.sweep()
    assert scene.held == (2, 1)


async def test_a_later_sweep_sees_what_has_changed(scene: Scene) -> None:
    await scene.refer(await scene.keep(b"kept"))
    await scene.catch_up()
    scene.blobs.age(GRACE * 2)
    await scene.sweeper.sweep()
    await scene.keep(b"loose")
    scene.blobs.age(GRACE * 2)
    await scene.sweeper.sweep()
    assert scene.held == (1, 1)


async def test_who_is_erased_loses_all_of_theirs_at_once(scene: Scene) -> None:
    for user in ("u-dana", "u-erin"):
        await scene.refer_sealed(await scene.keep(f"of {user}".encode(), user), user)
    gone = scene.keys.destroy("acme", "u-dana")
    erased = Erased(tenant="acme", principal="u-dana", keys=(gone,), by="u-privacy")
    await scene.write(PRINCIPAL, "u-dana", erased, run=None)
    await scene.catch_up()
    await scene.sweeper.sweep()
    assert scene.held == (1, 1)
    assert all(gone not in subject for subject in scene.blobs.kept)


async def test_of_a_person_whose_key_identity_has_lost_everything_stays(scene: Scene) -> None:
    for user in ("u-dana", "u-erin"):
        await scene.refer_sealed(await scene.keep(f"of {user}".encode(), user), user)
        await scene.keep(f"never said of {user}".encode(), user)
    scene.keys.destroy("acme", "u-dana")
    scene.blobs.age(GRACE * 2)
    await scene.sweeper.sweep()
    assert scene.held == (3, 3), "erin's events can be read, so what they do not refer to goes"


async def test_of_a_person_with_a_part_that_is_not_what_was_sealed_everything_stays(scene: Scene) -> None:
    await scene.keep(b"x")
    token = scene.holding().person.seal(b'{"a": 1}', "elsewhere")
    await scene.write(TOOL, "one", Finished(outcome="ok", result={SEALED: token}, duration_ms=1))
    scene.blobs.age(GRACE * 2)
    await scene.sweeper.sweep()
    assert scene.held == (1, 1)


async def test_an_auditor_reads_what_their_tenants_events_refer_to(scene: Scene) -> None:
    data = bytes(range(256)) * 1000
    found = await scene.keep(data)
    with pytest.raises(Invalid, match="no event of yours"):
        await scene.reader.fetch(FetchArtifact(name=found.name), scene.context())
    await scene.refer(found)
    await scene.catch_up()
    parts = [await scene.reader.fetch(FetchArtifact(name=found.name, index=n), scene.context()) for n in range(2)]
    assert b"".join(base64.b64decode(part.data) for part in parts) == data
    assert {part.reference for part in parts} == {found} and {part.chunks for part in parts} == {2}
    with pytest.raises(Invalid, match="has 2 chunks"):
        await scene.reader.fetch(FetchArtifact(name=found.name, index=2), scene.context())
    with pytest.raises(Invalid, match="no event of yours"):
        await scene.reader.fetch(FetchArtifact(name=found.name), scene.context("abroad"))
    with pytest.raises(Forbidden, match="neither"):
        await scene.reader.fetch(FetchArtifact(name=found.name), scene.context("acme", "finance"))


async def test_what_is_damaged_or_of_who_was_erased_is_not_shown(scene: Scene) -> None:
    found = await scene.keep(b"x" * 200_000)
    await scene.refer(found)
    await scene.catch_up()
    chunk = next(subject for subject in scene.blobs.kept if ".c." in subject)
    body = scene.blobs.kept[chunk].body
    scene.blobs.kept[chunk] = scene.blobs.kept[chunk]._replace(body=body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(Conflict, match="digest differs"):
        await scene.reader.fetch(FetchArtifact(name=found.name), scene.context())
    scene.keyring.drop([scene.keys.destroy("acme", "u-dana")])
    with pytest.raises(Forbidden, match="was erased"):
        await scene.reader.fetch(FetchArtifact(name=found.name), scene.context())
