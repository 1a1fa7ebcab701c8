"""What an issuer says of itself: its metadata (OpenID Connect Discovery 1.0, RFC 8414), fetched with suspicion.

Over https, or http on this machine; no redirect is followed, nothing larger than a quarter of a megabyte is read, and
what names another issuer is not believed.
"""

import json
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from dominie_contracts import Invalid, Unavailable

MAX_BYTES = 256 * 1024
TIMEOUT_S = 5.0
RETRY_S = 5.0
_WELL_KNOWN = "/.well-known/openid-configuration"


class Metadata(BaseModel):
    """The part of an issuer's metadata that is used here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    issuer: str
    jwks_uri: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] | None = None


def check_url(url: str) -> str:
    """The address, if what comes from there can be believed.

    Raises:
        Invalid: It is not https, and not on this machine; or it is no address at all.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - raises where it is none
    except ValueError as error:
        raise Invalid(f"{url[:200]!r} is no address") from error
    if not host or parts.username is not None or parts.fragment:
        raise Invalid(f"{url[:200]!r} is no address of an issuer")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise Invalid(f"{url[:200]!r} is neither https nor on this machine")
    return url


async def discover(client: httpx.AsyncClient, issuer: str) -> Metadata:
    """What an issuer says of itself.

    Raises:
        Unavailable: It is away, or what it says cannot be believed.
        Invalid: Its address cannot be.
    """
    found = await fetch_json(client, issuer.rstrip("/") + _WELL_KNOWN)
    try:
        metadata = Metadata.model_validate(found)
    except ValidationError as error:
        raise Unavailable(f"what {issuer!r} says of itself is no metadata", retry_after_s=RETRY_S) from error
    if metadata.issuer != issuer:
        text = f"the metadata at {issuer!r} are those of another issuer: {metadata.issuer[:200]!r}"
        raise Unavailable(text, retry_after_s=RETRY_S)
    return metadata


async def fetch_json(
    client: httpx.AsyncClient,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    errors: bool = False,
) -> dict[str, JsonValue]:
    """A JSON object from an address.

    Args:
        client: What fetches.
        url: Where from.
        form: What is posted there; None: nothing, it is a GET.
        headers: Sent beside those that are always.
        errors: Take the object of an error of the caller's, too (RFC 6749, 5.2).

    Raises:
        Unavailable: There is none, or it is not taken.
        Invalid: The address is not one that can be believed.
    """
    check_url(url)
    try:
        async with client.stream(
            "GET" if form is None else "POST",
            url,
            data=form,
            headers={**(headers or {}), "accept": "application/json"},
            follow_redirects=False,
            timeout=TIMEOUT_S,
        ) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    raise Unavailable(f"{url!r} answers with more than {MAX_BYTES} bytes", retry_after_s=RETRY_S)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as error:
        raise Unavailable(f"{url!r} does not answer: {type(error).__name__}", retry_after_s=RETRY_S) from error
    if response.status_code != 200 and not (errors and 400 <= response.status_code < 500):
        raise Unavailable(f"{url!r} answers {response.status_code}", retry_after_s=RETRY_S)
    return _object(url, bytes(body))


def _object(url: str, body: bytes) -> dict[str, JsonValue]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"{url!r} answers with no JSON", retry_after_s=RETRY_S) from error
    if not isinstance(found, dict):
        raise Unavailable(f"{url!r} answers with no JSON object", retry_after_s=RETRY_S)
    return found


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
