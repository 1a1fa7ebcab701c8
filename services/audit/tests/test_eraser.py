"""The order of an erasure: the key goes before a file is read, whatever time the caller has left."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from anyio import from_thread

from dominie_audit.adapters.erasure import eraser
from dominie_audit.adapters.erasure.deployed import Deployed
from dominie_audit.adapters.erasure.eraser import Eraser
from dominie_audit.adapters.erasure.residue import Looked, Stored, Wanted, look
from dominie_audit.adapters.index.terms import own_terms
from dominie_audit.adapters.tlog.published import Own
from dominie_audit.app import _elsewhere
from dominie_audit.projection import Log
from dominie_audit.settings import Settings
from dominie_contracts import Forbidden, Recorded, StreamName
from dominie_contracts.action import Finished
from dominie_contracts.audit import Erasure
from dominie_contracts.guardrail import POLICY, PoliciesPublished, PolicyFile
from dominie_contracts.identity import Erase, Forgotten
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.tool import TOOL
from dominie_eventstore import MemoryEventStore, StoreUnavailable
from dominie_eventstore.archive import FolderBlobs
from dominie_kit import Context
from dominie_kit.context import deadline_in
from dominie_kit.handler_testing import Desk
from dominie_kit.heartbeats import Heartbeats

pytestmark = pytest.mark.anyio


def an_eraser(
    desk: Desk, log: Log, own: Own, folder: Path, identity: Callable[[Context, Erase], Awaitable[Forgotten]]
) -> Eraser:
    """One that waits for nobody, though it must hear memory."""

    async def beginning(tenant: str, name: str) -> str:
        return ""

    return Eraser(
        desk.log,
        log,
        desk.keyring,
        own.published,
        own.signer,
        Heartbeats(),
        Deployed(desk.log, "memory"),
        Stored(folder, FolderBlobs(folder / "archive")),
        folder / "receipts",
        identity,
        beginning,
        timeout_s=0.01,
    )


async def test_the_key_goes_before_a_file_is_read_though_the_callers_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[str]()

    def looked(stored: Stored, wanted: Wanted, found: Looked, *, between: Callable[[], None]) -> None:
        done.append("read")
        look(stored, wanted, found, between=between)

    async def identity(context: Context, erase: Erase) -> Forgotten:
        done.append(f"destroyed {erase.principal}")
        assert context.left_s > 1
        return Forgotten(keys=("k",), position=7)

    monkeypatch.setattr(eraser, "look", looked)
    monkeypatch.setattr(eraser, "_CHECKPOINT_S", 0)
    own = Own.open(tmp_path, "dominie/test")
    with Log(term=own_terms(tmp_path / "index.key")) as log:
        erasing = an_eraser(Desk("audit"), log, own, tmp_path, identity)
        context = Context(tenant="acme", principal="u-privacy", key="k", deadline=deadline_in(-1))
        erasure = await erasing.erase("u-dana", context)
    assert done == ["destroyed u-dana", "read"]
    assert erasure.receipt.position == context.position == 7
    assert erasure.receipt.late == ("memory",)


async def test_it_says_how_far_it_is_while_it_reads_and_the_same_key_gets_the_same_receipt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on, stages = anyio.Event(), threading.Event(), list[str | None]()

    def looked(stored: Stored, wanted: Wanted, found: Looked, *, between: Callable[[], None]) -> None:
        from_thread.run_sync(reading.set)
        assert go_on.wait(20)
        look(stored, wanted, found, between=between)

    async def identity(context: Context, erase: Erase) -> Forgotten:
        stages.append(erasing.erasing.stage)
        return Forgotten(keys=("k",), position=7)

    monkeypatch.setattr(eraser, "look", looked)
    monkeypatch.setattr(eraser, "_CHECKPOINT_S", 0)
    (tmp_path / "file").write_bytes(b"something")
    own, desk = Own.open(tmp_path, "dominie/test"), Desk("audit")
    receipts = list[Erasure]()

    async def erase() -> None:
        receipts.append(await erasing.erase("u-dana", desk.context("one")))

    with Log(term=own_terms(tmp_path / "index.key")) as log:
        erasing = an_eraser(desk, log, own, tmp_path, identity)
        async with anyio.create_task_group() as group:
            group.start_soon(erase)
            with anyio.fail_after(20):
                await reading.wait()
            stages.append(erasing.erasing.stage)
            go_on.set()
        await erase()
    assert receipts[0] == receipts[1] and receipts[0].receipt.read_bytes > 0
    assert [kept.read_text() for kept in (tmp_path / "receipts").iterdir()] == [receipts[0].note]
    assert [*stages, erasing.erasing.stage] == ["destroying", "reading", None]


async def test_the_same_key_in_another_tenant_erases_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def identity(context: Context, erase: Erase) -> Forgotten:
        return Forgotten(keys=(f"of {erase.tenant}",), position=7)

    monkeypatch.setattr(eraser, "_CHECKPOINT_S", 0)
    own, desk = Own.open(tmp_path, "dominie/test"), Desk("audit")
    with Log(term=own_terms(tmp_path / "index.key")) as log:
        erasing = an_eraser(desk, log, own, tmp_path, identity)
        for tenant in ("acme", "abroad"):
            receipt = (await erasing.erase("u-dana", desk.context("one", tenant=tenant))).receipt
            assert (receipt.tenant, receipt.keys) == (tenant, (f"of {tenant}",))


class Away(MemoryEventStore):
    """A log that cannot be read."""

    def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        raise StoreUnavailable("reading")


async def test_nothing_is_destroyed_while_nobody_can_say_who_has_to_be_heard(tmp_path: Path) -> None:
    async def identity(context: Context, erase: Erase) -> Forgotten:
        raise AssertionError("the key was destroyed")

    desk, own = Desk("audit"), Own.open(tmp_path, "dominie/test")
    desk.log = Away()
    with Log(term=own_terms(tmp_path / "index.key")) as log:
        erasing = an_eraser(desk, log, own, tmp_path, identity)
        with pytest.raises(StoreUnavailable):
            await erasing.erase("u-dana", desk.context("one"))
    assert erasing.erasing.stage is None


async def test_what_a_policy_says_is_said_of_nobody(tmp_path: Path) -> None:
    desk, why = Desk("audit"), "refunds over $50 need a person"
    policies = PoliciesPublished(digest="d", files=(PolicyFile(name="a.cedar", text=f'@why("{why}")'),), by="operator")
    published = await desk.append(POLICY, "main", policies, tenant=PLATFORM)
    refused = Finished(outcome="error", problem=Forbidden(f"{why}, and so says 0151123456").details, duration_ms=1)
    drafts = desk.actions(TOOL).drafts(desk.context("k"), StreamName("acme", TOOL, "a-1"), refused)
    told = await desk.log.append(StreamName("acme", TOOL, "a-1"), drafts, expected_version=0)

    async def identity(context: Context, erase: Erase) -> Forgotten:
        return Forgotten(keys=("k",), position=7)

    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "policies").write_text(policies.model_dump_json())
    own = Own.open(tmp_path, "dominie/test")
    with Log(term=own_terms(tmp_path / "index.key")) as log:
        for event in (*published, *told.recorded):
            log.apply(event)
        erasing = an_eraser(desk, log, own, tmp_path / "state", identity)
        receipt = (await erasing.erase("u-dana", desk.context("e"))).receipt
    assert receipt.needles > 0
    assert receipt.residue == ()


async def test_who_has_written_has_to_be_heard_beside_who_is_said_to_run() -> None:
    desk = Desk("audit")
    deployed = Deployed(desk.log, "audit, gateway")
    assert await deployed.services() == {"audit", "gateway"}
    await desk.append(POLICY, "main", PoliciesPublished(digest="d", files=(), by="operator"), tenant=PLATFORM)
    assert await deployed.services() == {"audit", "gateway", "guardrail"}


def test_where_audit_cannot_look_is_said(tmp_path: Path) -> None:
    assert _elsewhere(Settings(state=tmp_path)) == ("nats",)
    (tmp_path / "nats").mkdir()
    assert _elsewhere(Settings(state=tmp_path)) == ()
    store = "kurrentdb://me:secret@db.example:2113?tls=false"
    assert _elsewhere(Settings(state=tmp_path, store=store)) == ("kurrentdb://db.example:2113",)
