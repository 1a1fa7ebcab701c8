"""Signing in where there is no browser: the device authorization grant (RFC 8628)."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Protocol
from urllib.parse import quote

import anyio
import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dominie.discovery import check_url, fetch_json
from dominie_contracts import Forbidden, Unauthenticated, Unavailable
from dominie_contracts.people import DEVICE_GRANT, IssuerView

SLOW_DOWN_S = 5.0
MAX_WAIT_S = 3600
_Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Device(BaseModel):
    """What the issuer wants the person to do, and until when (RFC 8628, 3.2)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    device_code: str = Field(min_length=1, max_length=10_000)
    user_code: _Text
    verification_uri: _Text
    verification_uri_complete: _Text | None = None
    expires_in: float = Field(gt=0, allow_inf_nan=False)
    interval: float = Field(default=5.0, ge=0, le=300, allow_inf_nan=False)


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id_token: str | None = None
    error: str | None = None


class Endpoints(Protocol):
    """Where the flow goes: an issuer's own, as its metadata say; or a gateway's, which has the issuer's secret."""

    @property
    def device_authorization_endpoint(self) -> str | None:
        """Gives a device code."""
        ...

    @property
    def token_endpoint(self) -> str | None:
        """Gives the token."""
        ...


@dataclass(frozen=True, slots=True)
class Relay:
    """A gateway that asks an issuer."""

    device_authorization_endpoint: str
    token_endpoint: str

    @classmethod
    def of(cls, gateway: str, issuer: IssuerView) -> "Relay":
        """At this address."""
        base = f"{gateway}/people/issuers/{quote(issuer.name, safe='')}"
        return cls(f"{base}/device", f"{base}/token")


async def sign_in(
    client: httpx.AsyncClient,
    at: Endpoints,
    issuer: IssuerView,
    *,
    show: Callable[[Device], None],
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """The ID token of the person, once they have signed in elsewhere.

    Args:
        client: What asks the issuer.
        at: Where it is asked.
        issuer: Which one, and as whom it is asked.
        show: Tells the person where to go, with which code.
        sleep: Waits for so many seconds.
        clock: A monotonic clock, in seconds.

    Raises:
        Forbidden: The person said no.
        Unauthenticated: They did not come in time, or the issuer gives no ID token.
        Unavailable: The issuer is away, or has no such flow.
    """
    if at.device_authorization_endpoint is None or at.token_endpoint is None:
        raise Unavailable(f"the issuer {issuer.name!r} signs nobody in without a browser (RFC 8628)")
    form = {"client_id": issuer.client_id, "scope": issuer.scopes}
    found = await fetch_json(client, at.device_authorization_endpoint, form=form, errors=True)
    try:
        device = Device.model_validate(found)
    except ValidationError as error:
        text = f"the issuer {issuer.name!r} does not take this client: {str(found.get('error'))[:100]!r}"
        raise Unavailable(text) from error
    for address in (device.verification_uri, device.verification_uri_complete):
        if address is not None:
            check_url(address)
    show(device)
    until_s = clock() + min(device.expires_in, MAX_WAIT_S)
    interval_s = max(1.0, device.interval)
    while clock() < until_s:
        await sleep(interval_s)
        token, slower_s = await _poll(client, at.token_endpoint, issuer, device)
        if token is not None:
            return token
        interval_s += slower_s
    raise Unauthenticated("nobody signed in in time; `dominie login` shows another code")


async def _poll(
    client: httpx.AsyncClient, endpoint: str, issuer: IssuerView, device: Device
) -> tuple[str | None, float]:
    """The ID token, if there is one by now; else by how much longer to wait from now on."""
    form = {"grant_type": DEVICE_GRANT, "device_code": device.device_code, "client_id": issuer.client_id}
    try:
        answer = _Token.model_validate(await fetch_json(client, endpoint, form=form, errors=True))
    except Unavailable:
        return None, SLOW_DOWN_S  # RFC 8628, 3.5: who is not reached is asked less often
    except ValidationError as error:
        raise Unauthenticated(f"the issuer {issuer.name!r} answers with something that is no token") from error
    match answer.error:
        case "authorization_pending":
            return None, 0.0
        case "slow_down":
            return None, SLOW_DOWN_S
        case "access_denied":
            raise Forbidden("the issuer was told not to sign you in")
        case "expired_token":
            raise Unauthenticated("the code is not good any more; `dominie login` shows another")
        case None if answer.id_token is not None:
            return answer.id_token, 0.0
        case _:
            raise Unauthenticated(f"the issuer {issuer.name!r} gives no ID token: {str(answer.error)[:100]!r}")
