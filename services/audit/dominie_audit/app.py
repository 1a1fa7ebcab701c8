"""Audit, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import structlog

from dominie_audit.adapters.archive import Archiver
from dominie_audit.adapters.artifacts import Reader, Sweeper
from dominie_audit.adapters.erasure.deployed import Deployed
from dominie_audit.adapters.erasure.eraser import Eraser
from dominie_audit.adapters.erasure.residue import Stored
from dominie_audit.adapters.index.terms import own_terms
from dominie_audit.adapters.tlog.comparison import check_start
from dominie_audit.adapters.tlog.keeper import Keeper
from dominie_audit.adapters.tlog.published import LogDiffers, Own
from dominie_audit.adapters.witnesses import Witnesses
from dominie_audit.adapters.witnesses.address import addresses_of
from dominie_audit.aggregate import check_eraser, check_reader
from dominie_audit.handlers import Handlers
from dominie_audit.projection import Log, LogAndTree
from dominie_audit.settings import Settings
from dominie_contracts.audit import (
    ArchiveSegment,
    ArtifactsHeld,
    AskErasing,
    AskRecord,
    CountArtifacts,
    EraseSubject,
    Erasing,
    Erasure,
    Export,
    FetchArtifact,
    GetCheckpoint,
    ListRuns,
    Prove,
    Search,
    Trail,
    VerifyLog,
)
from dominie_contracts.identity import Erase, Forgotten
from dominie_contracts.subjects import check_principal
from dominie_eventstore import EventStore
from dominie_kit import Service
from dominie_kit.blobs import StreamBlobs
from dominie_kit.context import Context
from dominie_kit.heartbeats import Heartbeats
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.lasting import lasting
from dominie_kit.store import NATS, archive_folder, open_archive, place_of

logger = structlog.get_logger()


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """Audit as a service; `store` replaces the event log in tests.

    Raises:
        KeyGone: The transparency log is there, and not its key.
        BadWitness: A setting names no witness.
    """
    settings = settings or Settings()
    service = Service("audit", settings, store=store)
    folder = settings.state / "audit"
    folder.mkdir(parents=True, exist_ok=True)
    own = Own.open(folder, origin_of(KeyFolder(settings.keys)))
    log = Log(folder / "log.sqlite", term=own_terms(folder / "index.key"))
    keeper = Keeper(own, interval_s=settings.audit_checkpoint_s, max_events=settings.audit_checkpoint_events)
    both = LogAndTree(log, keeper)
    witnesses = Witnesses(
        own.published,
        addresses_of(settings.audit_witnesses),
        quorum=settings.audit_witness_quorum,
        timeout_s=settings.audit_witness_timeout_s,
        interval_s=settings.audit_checkpoint_s,
    )
    archive = open_archive(settings)
    archiver = Archiver(service.log, own.published, archive)
    handlers = Handlers(
        service.log, log, own.published, witnesses, service.keyring, reply_bytes=settings.audit_reply_bytes
    )

    async def caught_up(timeout_s: float) -> None:
        await service.read_models.caught_up(await service.log.last_position(), timeout_s)

    blobs = StreamBlobs(service.inner.client)
    reader = Reader(log, blobs, service.keyring)
    sweeper = Sweeper(log, blobs, caught_up, grace_s=settings.audit_artifact_grace_s, interval_s=settings.audit_sweep_s)
    heartbeats = Heartbeats()

    async def destroy(context: Context, erase: Erase) -> Forgotten:
        return await service.inner.call(context, erase, Forgotten)

    async def listen() -> None:
        await heartbeats.listen(service.inner.client)

    eraser = Eraser(
        service.log,
        log,
        service.keyring,
        own.published,
        own.signer,
        heartbeats,
        Deployed(service.log, settings.audit_services),
        Stored(settings.state, archive, archive_folder=archive_folder(settings)),
        folder / "receipts",
        destroy,
        reader.beginning,
        elsewhere=_elsewhere(settings),
        timeout_s=settings.audit_erase_s,
    )

    async def erase(command: EraseSubject, context: Context) -> Erasure:
        check_eraser(context.principal, context.groups)
        await context.read_your_writes()
        done = await eraser.erase(check_principal(command.subject), context)
        sweeper.wake()
        return done

    async def count(command: CountArtifacts, context: Context) -> ArtifactsHeld:
        check_reader(context.principal, context.groups)
        return await sweeper.count()

    async def erasing(command: AskErasing, context: Context) -> Erasing:
        check_eraser(context.principal, context.groups)
        return eraser.erasing

    @asynccontextmanager
    async def kept() -> AsyncIterator[None]:
        with log:
            async with witnesses.opened():
                await lasting(check)
                yield

    async def check() -> None:
        if latest := own.published.latest():
            newest = settings.audit_start_events
            await check_start(service.log, latest.checkpoint, own.published.tiles, newest=newest)
            await witnesses.check()

    async def check_older() -> None:
        latest = own.published.latest()
        if latest is not None and latest.checkpoint.size > settings.audit_start_events:
            try:
                await check_start(service.log, latest.checkpoint, own.published.tiles)
            except LogDiffers as error:
                logger.error("log.differs", position=error.position, index=error.index, error=str(error))
                raise

    async def keep() -> None:
        await keeper.run(service.log, lambda: both.followed, witnesses.run)

    service.resource(kept)
    service.follow(both, None, name="log")
    service.background(keep)
    service.background(listen)
    service.background(check_older)
    service.background(archiver.run)
    service.background(sweeper.run)
    service.route(EraseSubject, erase, token=False)
    service.route(AskErasing, erasing, token=False)
    service.route(Trail, handlers.trail, token=False)
    service.route(Search, handlers.search, token=False)
    service.route(ListRuns, handlers.runs, token=False)
    service.route(VerifyLog, handlers.verify, token=False)
    service.route(GetCheckpoint, handlers.checkpoint, token=False)
    service.route(Prove, handlers.prove, token=False)
    service.route(Export, handlers.export, token=False)
    service.route(FetchArtifact, reader.fetch, token=False)
    service.route(CountArtifacts, count, token=False)
    service.route(ArchiveSegment, archiver.answer, token=False, direct=False, between=True)
    service.route(AskRecord, handlers.record, direct=False, between=True)
    return service


def origin_of(keys: KeyFolder) -> str:
    """The name of this deployment's log: from the public key of its identity service, which every part of it knows."""
    return f"dominie/{sha256(keys.signer.encode()).hexdigest()[:16]}"


def _elsewhere(settings: Settings) -> tuple[str, ...]:
    """The stores whose files an erasure cannot look through from here."""
    if settings.store != NATS:
        return (place_of(settings.store),)
    return () if (settings.state / NATS).is_dir() else (NATS,)
