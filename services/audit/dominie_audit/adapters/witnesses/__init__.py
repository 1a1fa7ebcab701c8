"""The witnesses of the transparency log, as a log asks them (c2sp.org/tlog-witness)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio.to_thread import run_sync

from dominie.cosignatures import WitnessKey, check_quorum, cosigned_by
from dominie.notes import ProofProblem
from dominie_audit.adapters.tlog.proving import root
from dominie_audit.adapters.tlog.published import BadWitness, Latest, Published, WitnessDiffers
from dominie_audit.adapters.tlog.tiles import Hashes, TilesDamaged
from dominie_audit.adapters.witnesses.address import Address
from dominie_audit.adapters.witnesses.one import Asked, Unusable

if TYPE_CHECKING:
    from httpx import AsyncBaseTransport

log = structlog.get_logger()


class Witnesses:
    """Those who are asked to sign each checkpoint; nothing waits for them."""

    def __init__(
        self,
        published: Published,
        addresses: Sequence[Address],
        *,
        quorum: int,
        timeout_s: float,
        interval_s: float,
        transport: "AsyncBaseTransport | None" = None,
    ) -> None:
        if quorum > len({address.key for address in addresses}):
            raise BadWitness(f"DOMINIE_AUDIT_WITNESS_QUORUM is {quorum}, and there are {len(addresses)} witnesses")
        self._published = published
        self._addresses = tuple(addresses)
        self._quorum = max(1, quorum)
        self._timeout_s = timeout_s
        self._interval_s = interval_s
        self._transport = transport
        self._asked: tuple[Asked, ...] = ()
        self._away: set[WitnessKey] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Hold connections."""
        if not self._addresses:
            yield
            return
        from httpx import AsyncClient

        async with AsyncClient(timeout=self._timeout_s, transport=self._transport) as client:
            self._asked = tuple(Asked(address, self._published, client) for address in self._addresses)
            yield

    async def run(self) -> None:
        """Have each new checkpoint signed, for ever.

        Raises:
            WitnessDiffers
        """
        while self._addresses:
            try:
                await self.sign_latest()
            except WitnessDiffers as error:
                log.error("witness.differs", witness=error.witness, size=error.size, error=str(error))
                raise
            await anyio.sleep(self._interval_s)

    async def sign_latest(self) -> None:
        """Have the last checkpoint signed by all who did not yet, and store what came.

        Raises:
            WitnessDiffers
        """
        latest = await run_sync(self._published.latest)
        if latest is None:
            return
        signed = cosigned_by(latest.note, self._keys)
        lines = await self._ask(latest, [each for each in self._asked if each.address.key not in signed])
        if not lines:
            return
        witnessed = len(cosigned_by(latest.note + lines, self._keys)) >= self._quorum
        try:
            await run_sync(lambda: self._published.tiles.cosign(latest.note, lines, witnessed=witnessed))
        except OSError as error:
            log.warning("checkpoint.not_cosigned", size=latest.checkpoint.size, error=str(error))

    async def check(self) -> None:
        """Ask all of them whether they have signed another history than this one.

        Raises:
            WitnessDiffers
        """
        latest = await run_sync(self._published.latest)
        if latest is not None and self._addresses:
            await run_sync(self._check_witnessed, latest)
            await self._ask(latest, self._asked)

    def standing(self) -> tuple[int | None, tuple[str, ...]]:
        """How many events the last checkpoint covers that is witnessed, and by whom."""
        found = self._published.witnessed()
        if found is None or not self._addresses:
            return None, ()
        try:
            keys = check_quorum(found.note, self._keys, self._quorum)
        except ProofProblem:  # the settings were others then
            return None, ()
        return found.checkpoint.size, tuple(key.name for key in keys)

    @property
    def _keys(self) -> list[WitnessKey]:
        return [address.key for address in self._addresses]

    def _check_witnessed(self, latest: Latest) -> None:
        """What they have signed, as it is kept here, is the beginning of the last checkpoint."""
        kept = self._published.witnessed()
        if kept is None:
            return
        had, size = kept.checkpoint, latest.checkpoint.size
        names = ", ".join(key.name for key in cosigned_by(kept.note, self._keys))
        if had.size > size:
            raise WitnessDiffers(names, f"has signed {had.size} events", size=size)
        try:
            same = root(Hashes(self._published.tiles, size), had.size) == had.root
        except TilesDamaged:
            return  # they are rebuilt when audit starts
        if not same:
            raise WitnessDiffers(names, f"has signed {had.size} other events", size=size)

    async def _ask(self, latest: Latest, witnesses: Sequence[Asked]) -> str:
        """Ask several at once; the lines that came."""
        lines: list[str] = []
        against: list[WitnessDiffers] = []

        async def ask(witness: Asked) -> None:
            try:
                with anyio.fail_after(self._timeout_s):
                    lines.append(await witness.sign(latest))
            except WitnessDiffers as error:
                against.append(error)
            except (Unusable, TimeoutError, TilesDamaged, ProofProblem) as error:
                self._miss(witness.address, error)
            else:
                self._away.discard(witness.address.key)

        async with anyio.create_task_group() as tasks:
            for witness in witnesses:
                tasks.start_soon(ask, witness)
        if against:
            raise against[0]
        return "".join(lines)

    def _miss(self, address: Address, error: Exception) -> None:
        """Say once that a witness does not sign."""
        if address.key not in self._away:
            self._away.add(address.key)
            log.warning("witness.away", witness=address.key.name, url=address.url, error=str(error) or "it is late")
