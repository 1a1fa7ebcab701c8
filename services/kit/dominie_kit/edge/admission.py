"""Who asks for a command, and whether they may be heard at all: token, subject and standing agree, or it is refused."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nats.aio.msg import Msg
from pydantic import ValidationError

from dominie_contracts import (
    Command,
    CommandSubject,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    Message,
    Unauthenticated,
    headers,
)
from dominie_contracts.rights import caller
from dominie_contracts.subjects import PLATFORM
from dominie_kit.context import Context
from dominie_kit.edge.incoming import check_size, idempotency_key, number
from dominie_kit.edge.run_tokens import RunTokenVerifier
from dominie_kit.edge.standing import Standing

Handler = Callable[[Any, Context], Awaitable[Message]]
_DEADLINE_MAX_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Route:
    """One command: its contract, its handler, and how it may be asked for.

    `resource` names the field of the command that the subject's last token must equal. `token` wants a run token,
    from an agent. `direct` serves `cmd.…`, `between` serves `svc.…`. `early` needs no read model.
    """

    command: type[Command]
    handler: Handler
    resource: str | None = None
    token: bool = True
    direct: bool = True
    between: bool = False
    early: bool = False


class Admission:
    """Lets commands in, or refuses them."""

    def __init__(
        self,
        verifier: RunTokenVerifier,
        standing: Standing,
        *,
        default_deadline_s: float,
        caught_up: Callable[[int, float], Awaitable[None]],
    ) -> None:
        self._verifier = verifier
        self._standing = standing
        self._default_deadline_s = default_deadline_s
        self._caught_up = caught_up

    def admit(self, route: Route, message: Msg, subject: CommandSubject | None) -> Context:
        """What is known of a command before it is read.

        Raises:
            Problem: It is refused.
        """
        found: Mapping[str, str] = message.headers or {}
        check_size(message, found)
        token = found.get(headers.TOKEN)
        claims = self._verifier.verify(token) if token else None
        if subject is None:
            tenant = claims.tenant if claims else PLATFORM
            principal = claims.agent if claims else caller(route.command.NAME)
            resource = None
        else:
            tenant, principal, resource = subject.tenant, subject.principal, subject.resource
            if claims and (claims.tenant, claims.agent) != (tenant, principal):
                raise Forbidden(f"the run token is {claims.agent}'s of {claims.tenant}, not {principal}'s of {tenant}")
        if route.token and claims is None:
            raise Unauthenticated(f"{route.command.NAME} needs a run token; mint one with identity.token")
        registered = self._standing.find(tenant, principal)
        if self._standing.is_revoked(tenant, principal):
            raise Unauthenticated(f"{principal} has been revoked")
        if (suspended := self._standing.suspension(tenant, principal)) is not None:
            raise Forbidden(suspended.words)
        if claims and (objection := self._standing.objection(claims)) is not None:
            raise objection
        if claims and registered and claims.cnf.nkey != registered.nkey and not self._standing.takes_key(claims):
            raise Unauthenticated(f"{principal} has another key now; mint a new run token")
        return Context(
            tenant=tenant,
            principal=principal,
            key=idempotency_key(found),
            deadline=time.monotonic() + self._deadline_s(found),
            resource=resource,
            claims=claims,
            token=token,
            traceparent=found.get(headers.TRACEPARENT),
            after=number(found, headers.AFTER) or 0,
            groups=registered.groups if registered else (),
            caught_up=self._caught_up,
        )

    def _deadline_s(self, found: Mapping[str, str]) -> float:
        left_ms = number(found, headers.DEADLINE)
        if left_ms is None:
            return self._default_deadline_s
        if left_ms <= 0:
            raise DeadlineExceeded("the command arrived after its deadline")
        return min(left_ms / 1000, _DEADLINE_MAX_S)


def parse(route: Route, message: Msg, context: Context) -> Command:
    try:
        command = route.command.model_validate_json(message.data)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:5])
        raise Invalid(f"{route.command.NAME} does not fit its contract: {places}") from error
    if route.resource is None:
        if context.resource is not None:
            raise Invalid(f"{route.command.NAME} takes no resource in its subject")
    elif not message.subject.startswith("svc.") and getattr(command, route.resource) != context.resource:
        raise Forbidden(f"the subject names {context.resource!r}, the command {getattr(command, route.resource)!r}")
    return command
