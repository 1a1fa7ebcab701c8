"""Who is connecting: an assertion signed by the principal's key (RFC 7523), and the broker's challenge by the same.

A stolen assertion is therefore worth nothing without the key, and an old one nothing at all. A workload's key is of its
process; its assertion holds what a cluster says of it.
"""

import json
import time
from dataclasses import dataclass, field

from joserfc import jws, jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, ValidationError

from dominie.keys import public_jwk
from dominie_contracts import Problem, Unavailable
from dominie_contracts.identity import Registered
from dominie_contracts.token import CONNECT_AUDIENCE
from dominie_identity.adapters.nats_jwt import from_base64, verify
from dominie_identity.people.directory import Directory
from dominie_identity.projection import Principals
from dominie_identity.warden.flooding import Holds
from dominie_kit.edge.run_tokens import ALGORITHM

MAX_ASSERTION_S = 120
LEEWAY_S = 5
MAX_ASSERTION_CHARS = 2**15
"""A cluster's token is in it, in base64 once more."""


class Refused(Exception):
    """A connection that is not let in; `why` is one of a few words, to count by."""

    def __init__(self, why: str, who: str = "") -> None:
        super().__init__(f"{why} ({who})" if who else why)
        self.why = why
        self.who = who


class Undecided(Exception):
    """There is no telling now; who is not answered tries again."""

    def __init__(self, who: str) -> None:
        super().__init__(who)
        self.who = who


@dataclass(frozen=True, slots=True)
class Proven:
    """A principal that has proven itself, and until when (Unix time) that holds."""

    registered: Registered
    until_s: float


class ConnectOptions(BaseModel):
    """What a client says when it connects, as the broker hands it on."""

    model_config = ConfigDict(frozen=True)

    auth_token: str = ""
    nkey: str = ""
    sig: str = ""


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    sub: str
    tenant: str
    aud: str
    iat: int | float
    exp: int | float
    token: str | None = None
    """Of a workload: its cluster's."""


@dataclass(frozen=True, slots=True)
class Proofs:
    """Checks who connects against who is registered."""

    principals: Principals
    holds: Holds = field(default_factory=Holds)
    directory: Directory = field(default_factory=lambda: Directory({}))

    def check(self, options: ConnectOptions, nonce: str, *, now_s: float) -> Proven:
        """The principal that has proven itself.

        Raises:
            Refused: It has not.
            Undecided: It is a workload of a cluster whose keys are not known.
        """
        token = options.auth_token
        if not token or len(token) > MAX_ASSERTION_CHARS:
            raise Refused("no assertion" if not token else "not an assertion")
        claimed = _unverified(token)
        who = f"{claimed.tenant[:64]}/{claimed.sub[:64]}"
        registered = self._standing(claimed, who)
        nkey = options.nkey
        if claimed.token is None and not registered.takes(nkey, now_s):
            nkey = registered.nkey
        claims = _verified(token, nkey, who)
        _check_times(claims, who, now_s=now_s)
        if options.nkey != nkey:
            raise Refused("another key", who)
        try:
            verify(nkey, nonce.encode(), from_base64(options.sig))
        except ValueError as error:
            raise Refused("the challenge is not signed", who) from error
        until_s = registered.ends_s(nkey) if claims.token is None else self._vouched(claims, claims.token, who)
        if not now_s < until_s:
            raise Refused("login is over", who)
        return Proven(registered, until_s)

    def _standing(self, claimed: _Claims, who: str) -> Registered:
        registered = self.principals.find(claimed.tenant, claimed.sub)
        if registered is None:
            revoked = self.principals.is_revoked(claimed.tenant, claimed.sub)
            raise Refused("revoked" if revoked else "not registered", who)
        if self.principals.suspension(claimed.tenant, claimed.sub) is not None:
            raise Refused("suspended", who)
        if self.holds.holds(claimed.tenant, claimed.sub, now_s=time.monotonic()):
            raise Refused("flooded", who)
        return registered

    def _vouched(self, claims: _Claims, token: str, who: str) -> float:
        """Until when a cluster says that this is the principal."""
        try:
            found = self.directory.workload(claims.tenant, token)
        except Unavailable as error:
            raise Undecided(who) from error
        except Problem as error:
            raise Refused("its cluster does not vouch for it", who) from error
        if found.principal != claims.sub:
            raise Refused("its cluster says it is another", who)
        return found.until_s


def _unverified(token: str) -> _Claims:
    try:
        return _Claims.model_validate(json.loads(jws.extract_compact(token.encode()).payload))
    except (JoseError, ValidationError, ValueError, RecursionError) as error:
        raise Refused("not an assertion") from error


def _verified(token: str, nkey: str, who: str) -> _Claims:
    try:
        return _Claims.model_validate(jwt.decode(token, public_jwk(nkey), algorithms=[ALGORITHM]).claims)
    except (JoseError, ValidationError, ValueError, RecursionError) as error:
        raise Refused("not signed by its key", who) from error


def _check_times(claims: _Claims, who: str, *, now_s: float) -> None:
    if claims.aud != CONNECT_AUDIENCE:
        raise Refused("another audience", who)
    if not 0 < claims.exp - claims.iat <= MAX_ASSERTION_S or claims.iat > now_s + LEEWAY_S:
        raise Refused("lives too long", who)
    if claims.exp + LEEWAY_S <= now_s:
        raise Refused("expired", who)
