"""The gateway as a client of issuers: what they say of themselves, and the secret that some want of their clients."""

import base64
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import structlog
from pydantic import JsonValue

from dominie.discovery import Metadata, discover, fetch_json
from dominie_contracts import Unavailable
from dominie_contracts.people import IssuerView

KNOWN_S = 600.0
"""So long an issuer is taken at what it said of itself."""
MAX_SECRET_BYTES = 4096
Form = Mapping[str, str]
log = structlog.get_logger()


class Clients:
    """Asks issuers; a secret is read from its file each time, so that it can be replaced, and is kept nowhere."""

    def __init__(self, secret_files: Mapping[str, Path], *, clock: Callable[[], float] = time.time) -> None:
        self._secret_files = secret_files
        self._clock = clock
        self._known: dict[str, tuple[Metadata, float]] = {}

    def has_secret(self, issuer: str) -> bool:
        """Whether the issuer of this name wants one."""
        return issuer in self._secret_files

    async def metadata(self, issuer: IssuerView) -> Metadata:
        """What an issuer says of itself, asked now and then, however many strangers begin to sign in.

        Raises:
            Unavailable: It is away.
        """
        known = self._known.get(issuer.url)
        if known is None or self._clock() - known[1] > KNOWN_S:
            async with httpx.AsyncClient() as client:
                known = self._known[issuer.url] = (await discover(client, issuer.url), self._clock())
        return known[0]

    async def ask(self, issuer: IssuerView, endpoint: str, form: Form) -> dict[str, JsonValue]:
        """What an issuer answers at one of its endpoints, as whom it knows the gateway; its errors, too.

        Raises:
            Unavailable: It is away, or the secret cannot be read, or is wanted in another way.
        """
        form, headers = {**form, "client_id": issuer.client_id}, dict[str, str]()
        if self.has_secret(issuer.name):
            ways = (await self.metadata(issuer)).token_endpoint_auth_methods_supported
            more, headers = shown(self._secret(issuer.name), issuer, ways)
            form |= more
        async with httpx.AsyncClient() as client:
            return await fetch_json(client, endpoint, form=form, headers=headers, errors=True)

    def _secret(self, issuer: str) -> str:
        try:
            return read_secret(self._secret_files[issuer])
        except (OSError, ValueError) as error:
            log.warning("issuer.secret", issuer=issuer, error=type(error).__name__)
            raise Unavailable(f"the secret for the issuer {issuer!r} cannot be read") from error


def read_secret(path: Path) -> str:
    """What a file holds, without the end of its line.

    Raises:
        OSError, ValueError: It is no file, or holds no secret.
    """
    with path.open("rb") as file:
        found = file.read(MAX_SECRET_BYTES + 1).decode().strip()
    if not found or len(found) > MAX_SECRET_BYTES or not found.isprintable():
        raise ValueError("not one line")
    return found


def shown(secret: str, issuer: IssuerView, ways: tuple[str, ...] | None) -> tuple[Form, dict[str, str]]:
    """A secret as fields of the form, or as headers (RFC 6749, 2.3.1); where the issuer names no way, as headers.

    Raises:
        Unavailable: It wants it in another way.
    """
    if ways is None or "client_secret_basic" in ways:
        pair = f"{quote_plus(issuer.client_id)}:{quote_plus(secret)}".encode()
        return {}, {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
    if "client_secret_post" in ways:
        return {"client_secret": secret}, {}
    raise Unavailable(f"the issuer {issuer.name!r} takes no secret of its clients in a way that is known here")
