"""Reads artifacts for developers and auditors, checked against the digests that name them."""

import base64

import structlog

from dominie_audit.aggregate import check_reader
from dominie_audit.projection import Log
from dominie_contracts import Forbidden, Invalid, Problem
from dominie_contracts.artifact import Chunk
from dominie_contracts.audit import FetchArtifact
from dominie_contracts.subjects import ArtifactSubject, any_manifest
from dominie_kit import Context
from dominie_kit.artifacts import Artifact, Artifacts, Holding, opened
from dominie_kit.blobs import Blobs
from dominie_kit.personal.keyring import Keyring

log = structlog.get_logger()


class Reader:
    """Answers `artifact`."""

    def __init__(self, log: Log, blobs: Blobs, keyring: Keyring) -> None:
        self._log = log
        self._blobs = blobs
        self._keyring = keyring
        self._artifacts = Artifacts(blobs)

    async def fetch(self, command: FetchArtifact, context: Context) -> Chunk:
        """A chunk of an artifact, by its name alone, if an event of the caller's tenant refers to it.

        Raises:
            Forbidden: The caller is no auditor, or the person was erased.
            Invalid: No event refers to it, or it has fewer chunks.
            Conflict: What is stored is not what was put.
        """
        check_reader(context.principal, context.groups)
        await context.read_your_writes()
        found = await self._find(context.tenant, command.name)
        chunks = len(found.manifest.chunks)
        data = await self._artifacts.chunk(found, command.index) if chunks or command.index else b""
        return Chunk(data=base64.b64encode(data).decode(), chunks=chunks, reference=found.reference)

    async def beginning(self, tenant: str, name: str) -> str:
        """The first chunk of an artifact, as far as it is text: what is looked for when its person is erased.

        Empty where it cannot be read: an erasure waits for no artifact.
        """
        try:
            found = await self._find(tenant, name)
            data = await self._artifacts.chunk(found, 0) if found.manifest.chunks else b""
        except Problem as problem:
            log.warning("artifact.not_looked_for", type=problem.type)
            return ""
        return data.decode(errors="ignore")

    async def _find(self, tenant: str, name: str) -> Artifact:
        blob = await self._blobs.get(any_manifest(tenant, name)) if self._log.refers(tenant, name) else None
        if blob is None:
            why = f"no event of yours refers to an artifact {name!r} that is held"
            raise Invalid(why, artifact=name, reason="unknown-artifact")
        subject = ArtifactSubject.parse(blob.subject)
        person = await self._keyring.by_id(tenant, subject.key)
        if person is None:
            raise Forbidden("whom this artifact is about was erased", artifact=name, reason="erased")
        return opened(Holding(person, subject.holder or ""), name, blob.body)
