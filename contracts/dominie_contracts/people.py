"""People whom an OpenID provider vouches for: what identity is shown, and what it makes of it (RFC 8693's words)."""

from typing import Literal

from dominie_contracts.base import Message
from dominie_contracts.digests import digest_bytes

ID_TOKEN: Literal["urn:ietf:params:oauth:token-type:id_token"] = "urn:ietf:params:oauth:token-type:id_token"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
"""How an issuer is asked for the token of a device flow (RFC 8628, 3.4)."""
SIGN_IN_AUDIENCE = "dominie-sign-in"
"""`aud` of the proof that whoever signs in has the key that is to be theirs."""
MAX_SUBJECT_CHARS = 16_384
"""Of an issuer's token."""
PROOF_S = 120


def digest_signed(token: str) -> str:
    """The SHA-256 of what an issuer signed: the same statement may have several signatures that hold (ECDSA)."""
    return digest_bytes(token.rpartition(".")[0].encode())


class Login(Message):
    """How a person came by their key: an issuer vouched for them."""

    issuer: str
    """Its name in the configuration."""
    subject: str
    """SHA-256 of the issuer and its own name for them: another person never takes over theirs."""
    token: str
    """The ID token's digest; shown again, it is good for nothing else."""
    auth_time: int
    """When they signed in there (Unix time)."""
    until_s: int
    """Unix time until when the key is taken."""


class SignInClaims(Message):
    """What the person's program signs with the new key."""

    aud: str
    token: str
    """The ID token's digest."""
    iat: int
    exp: int


class SignedIn(Message):
    """Reply to `SignIn`: who they are here, and until when."""

    tenant: str
    principal: str
    groups: tuple[str, ...]
    issuer: str
    auth_time: int
    until_s: int


class Vouched(Message):
    """Reply to `Vouch`: who they are here; they have no key, and so can do nothing but look."""

    tenant: str
    principal: str
    groups: tuple[str, ...]
    issuer: str
    until_s: int
    """Unix time until when that may be relied on: the token ends then, or a login would."""


class IssuerView(Message):
    """An OpenID provider, as far as whoever signs in there has to know it."""

    name: str
    url: str
    client_id: str
    scopes: str
    relayed: bool = False
    """Whether the gateway is asked for the device flow instead: the issuer wants a secret, which only that has."""


class Issuers(Message):
    """Reply to `ListIssuers`."""

    issuers: tuple[IssuerView, ...]
