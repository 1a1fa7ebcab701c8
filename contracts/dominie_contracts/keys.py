"""Keys: the deployment's own, those of people's HTTP clients, those that personal data are sealed under."""

from typing import ClassVar, Literal

from pydantic import Field

from dominie_contracts.base import Command, Message, Payload

KeyUse = Literal["signer", "callout", "service", "operator", "callout-user", "warden"]
"""What a key is for: run tokens; the broker's user tokens; the connections of a service, of the operator, of identity
where the broker asks it who somebody is, and of identity where it sees who is connected."""


class KeyEntry(Message):
    """One of the deployment's public keys, and from when until when it is taken."""

    use: KeyUse
    name: str
    """Whose it is: `identity`, `tool/edge`."""
    nkey: str
    kid: str
    """The thumbprint of the JWK (RFC 7638)."""
    from_s: int
    """Unix time from when it signs; it is taken before."""
    until_s: int | None = None
    """Unix time until when it is taken; None: until another takes its place."""


class Replacement(Message):
    """A key that takes the place of another one."""

    use: KeyUse
    name: str = Field(min_length=1, max_length=100)
    nkey: str
    previous: str


class RotateKeys(Command):
    """From the operator: these keys take the place of others, which are taken for a while longer."""

    NAME: ClassVar[str] = "identity.rotate_keys"
    keys: tuple[Replacement, ...] = Field(min_length=1, max_length=100)
    overlap_s: int = Field(default=600, ge=0, le=30 * 86400)


class Keys(Message):
    """Reply to `RotateKeys`: those that are taken, and will be."""

    keys: tuple[KeyEntry, ...]


class IssueApiKey(Command):
    """An opaque, revocable key for HTTP clients that stands for an agent."""

    NAME: ClassVar[str] = "identity.key"
    principal: str
    user: str


class ApiKey(Message):
    """Reply to `IssueApiKey`; shown once, only its digest is stored."""

    key: str
    id: str


class RevokeApiKey(Command):
    """Take an API key away."""

    NAME: ClassVar[str] = "identity.revoke_key"
    principal: str
    id: str


class ExchangeApiKey(Command):
    """From the gateway: a run token for the agent that an API key stands for."""

    NAME: ClassVar[str] = "identity.exchange"
    key: str
    run: str
    session: str | None = None


class AskSubjectKeys(Command):
    """From every service that seals or opens: the key of a person, made on first use, and keys by their ids."""

    NAME: ClassVar[str] = "identity.subject_keys"
    tenant: str
    subject: str | None = None
    ids: tuple[str, ...] = Field(default=(), max_length=1000)


class SubjectKey(Message):
    """What one person's personal data are sealed under."""

    id: str
    subject: str
    secret: str
    """256 bits in base64."""


class SubjectKeys(Message):
    """Reply to `AskSubjectKeys`; an id that is not among them stands for nothing any more."""

    keys: tuple[SubjectKey, ...]


class KeyIssued(Payload):
    """Written by identity when it issues an API key."""

    KIND: ClassVar[str] = "key_issued.v1"
    tenant: str
    principal: str
    id: str
    digest: str
    """SHA-256 of the key."""
    user: str
    by: str


class KeyRevoked(Payload):
    """Written by identity when an API key is revoked."""

    KIND: ClassVar[str] = "key_revoked.v1"
    tenant: str
    principal: str
    id: str
    by: str


class KeysChanged(Payload):
    """Written by identity when a key of the deployment is rotated: all that are taken now."""

    KIND: ClassVar[str] = "keys.v1"
    keys: tuple[KeyEntry, ...]
    by: str
    replaced: tuple[Replacement, ...] = ()
    """Which took the place of which; empty in events of before this was written."""
