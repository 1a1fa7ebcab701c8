"""What identity does by itself: who loses their sponsor is revoked."""

import uuid

import anyio
import structlog

from dominie_contracts import Problem, StreamName
from dominie_contracts.identity import PRINCIPAL, Registered, Revoked
from dominie_contracts.rights import OPERATOR
from dominie_contracts.subjects import PLATFORM
from dominie_identity.adapters.writer import PrincipalWriter
from dominie_identity.aggregate import PrincipalEvent, State
from dominie_identity.projection import Principals
from dominie_kit import Context
from dominie_kit.context import deadline_in

_TRY_S, _PAUSE_S = 10.0, 1.0
log = structlog.get_logger()


async def revoke_wards(writer: PrincipalWriter, principals: Principals, sponsor: Registered, context: Context) -> None:
    """Revoke those that a person answered for who was revoked; none of them stands since that was written."""
    for ward in principals.wards(sponsor.tenant, sponsor.principal):

        def change(state: State, ward: str = ward) -> list[PrincipalEvent]:
            lost = state.registered is not None and state.registered.sponsor == sponsor.principal and not state.revoked
            reason = f"its sponsor {sponsor.principal} was revoked"
            return [Revoked(tenant=sponsor.tenant, principal=ward, by=context.principal, reason=reason)] * lost

        await writer.write(StreamName(sponsor.tenant, PRINCIPAL, ward), change, context)


async def revoke_orphans(writer: PrincipalWriter, principals: Principals) -> None:
    """Finish, when identity starts, what another instance was killed at."""
    while orphaned := principals.orphaned():
        for sponsor in orphaned:
            context = Context(tenant=PLATFORM, principal=OPERATOR, key=uuid.uuid4().hex, deadline=deadline_in(_TRY_S))
            try:
                await revoke_wards(writer, principals, sponsor, context)
            except Problem as problem:
                log.warning("identity.orphans", sponsor=sponsor.principal, detail=problem.detail)
                await anyio.sleep(_PAUSE_S)
    await anyio.sleep_forever()
