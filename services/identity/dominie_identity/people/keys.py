"""An issuer's public keys, as it publishes them (RFC 7517): fetched ahead, kept while it is away, asked for seldom."""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from pydantic import JsonValue

from dominie.discovery import TIMEOUT_S, discover, fetch_json
from dominie_contracts import Problem, Unauthenticated, Unavailable
from dominie_identity.adapters.nats_jwt import from_base64
from dominie_identity.people.issuers import Issuer

ASKED_S = 60.0
"""A key that is not known has the issuer asked at most so often."""
REFRESH_S = 600.0
MAX_AGE_S = 24 * 3600.0
"""So long the keys of an issuer that is away are believed."""
MAX_KEYS = 100
MIN_RSA_BITS = 2048
RETRY_S = 15.0
"""When to try again where an issuer is away."""
_PAUSE_S, _PAUSE_MAX_S = 5.0, 60.0
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519", "Ed25519": "Ed25519"}
_PUBLIC = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
Key = RSAKey | ECKey | OKPKey
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """The keys of an issuer as they were at a time."""

    keys: tuple[Key, ...]
    at_s: float


class IssuerKeys:
    """The keys of one issuer."""

    def __init__(self, name: str, issuer: Issuer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.fetches = 0
        self._name, self._issuer, self._clock = name, issuer, clock
        self._found: Found | None = None
        self._asked_s: float | None = None
        self._trouble = "it was not asked yet"
        self._wanted = anyio.Event()
        self._one = anyio.Lock()

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key that a token names, if it is known; a token that names none means the only one there is.

        Raises:
            Unavailable: There are no keys, or they are too old.
        """
        if self._found is None or not self._is_fresh:
            text = f"the keys of the issuer {self._name!r} are not known: {self._trouble}"
            raise Unavailable(text, retry_after_s=RETRY_S)
        fit = [key for key in self._found.keys if fits(key, algorithm)]
        if kid is None:
            return fit[0] if len(fit) == 1 else None
        named = [key for key in fit if key.kid == kid]
        return named[0] if len(named) == 1 else None

    @property
    def _is_fresh(self) -> bool:
        return self._found is not None and self._clock() - self._found.at_s <= MAX_AGE_S

    def want(self) -> bool:
        """Have the issuer asked again, unless it was a moment ago; whether it will be."""
        if self._asked_s is not None and self._clock() - self._asked_s < ASKED_S:
            return False
        self._wanted.set()
        return True

    async def look(self, kid: str | None, algorithm: str) -> Key:
        """The key that a token names, with the issuer asked again where that may help.

        Raises:
            Unauthenticated: The issuer has no such key.
            Unavailable: There is no telling.
        """
        async with self._one:
            due = self._asked_s is None or self._clock() - self._asked_s >= ASKED_S
            if due and (not self._is_fresh or self.find(kid, algorithm) is None):
                await self._ask()
        found = self.find(kid, algorithm)
        if found is None:
            raise Unauthenticated(f"the issuer {self._name!r} has no such key for {algorithm}")
        return found

    async def run(self) -> None:
        """Ask now, then every while, sooner where a key is wanted, or the issuer was away; for ever."""
        pause_s = _PAUSE_S
        while True:
            self._wanted = anyio.Event()  # what is wanted while it is asked is asked for again
            async with self._one:
                well = await self._ask()
            pause_s = REFRESH_S if well else min(pause_s * 2, _PAUSE_MAX_S)
            with anyio.move_on_after(pause_s):
                await self._wanted.wait()

    async def _ask(self) -> bool:
        self.fetches += 1
        self._asked_s = self._clock()
        try:
            with anyio.fail_after(2 * TIMEOUT_S):
                self._found = Found(await self._fetch(), self._clock())
        except (
            Problem,
            OSError,
            ValueError,
            TimeoutError,
        ) as error:  # a file that is not there; what is no certificate
            self._trouble = error.detail if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
            log.warning("issuer.away", issuer=self._name, why=self._trouble)
            return False
        return True

    async def _fetch(self) -> tuple[Key, ...]:
        async with self._client() as client:
            metadata = await discover(client, self._issuer.url)
            found = await fetch_json(client, metadata.jwks_uri)
        keys = found.get("keys")
        if not isinstance(keys, list) or len(keys) > MAX_KEYS:
            raise Unavailable(f"{metadata.jwks_uri!r} is no set of at most {MAX_KEYS} keys", retry_after_s=_PAUSE_S)
        return tuple(key for key in map(read_key, keys) if key is not None)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        issuer = self._issuer
        verify = True if issuer.ca_file is None else ssl.create_default_context(cafile=str(issuer.ca_file))
        headers = {}
        if issuer.bearer_file is not None:
            headers["authorization"] = f"Bearer {issuer.bearer_file.read_text().strip()}"
        async with httpx.AsyncClient(verify=verify, headers=headers) as client:
            yield client


def read_key(found: JsonValue) -> Key | None:
    """A public key that signatures are checked with; None for anything else, a shared secret above all."""
    if not isinstance(found, dict) or found.get("use", "sig") != "sig" or found.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        if found["kty"] == "RSA" and 8 * len(from_base64(str(found["n"])).lstrip(b"\0")) < MIN_RSA_BITS:
            return None
        key = import_key({name: value for name, value in found.items() if name in _PUBLIC and isinstance(value, str)})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def fits(key: Key, algorithm: str) -> bool:
    """Whether a key is one for an algorithm."""
    if key.key_type != _KINDS[algorithm[:2]] or key.get("alg", algorithm) != algorithm:
        return False
    return algorithm not in _CURVES or key.get("crv") == _CURVES[algorithm]
