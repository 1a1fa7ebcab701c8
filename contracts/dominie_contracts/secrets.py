"""Secrets that sandboxed tools may use and never see: commands and events of the tool service, category `secret`."""

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeInt

from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.egress import BoundHost, SecretName

SECRET = "secret"
MIN_CHARS, MAX_CHARS = 8, 4096
"""Of a secret. A shorter one would be found everywhere, and a longer one fits no header."""


class KeepSecret(Command):
    """Keep a secret, or another one in its place. For developers."""

    NAME: ClassVar[str] = "tool.keep_secret"
    name: SecretName
    value: str = Field(repr=False)
    """What goes into a header: visible characters of ASCII, and spaces within."""
    hosts: tuple[BoundHost, ...] = Field(min_length=1, max_length=16)
    """Where it may go, and nowhere else."""
    tools: tuple[str, ...] = Field(default=(), max_length=64)
    """Tools that may use it beside those of who keeps it."""


class RemoveSecret(Command):
    """Remove a secret: no call has it from now on. For developers."""

    NAME: ClassVar[str] = "tool.remove_secret"
    name: SecretName


class ListSecrets(Command):
    """The secrets of a tenant, without their values. For developers."""

    NAME: ClassVar[str] = "tool.secrets"


class SecretView(Message):
    """A secret, without its value."""

    name: SecretName
    hosts: tuple[str, ...]
    tools: tuple[str, ...]
    by: str
    """Who keeps it."""
    since_ms: NonNegativeInt
    """Unix time in milliseconds."""


class Secrets(Message):
    """Reply to `ListSecrets`, and to the others: those that they changed."""

    secrets: tuple[SecretView, ...]


class SecretKept(Payload):
    """Written by the tool service when a secret is kept, or another one in its place."""

    KIND: ClassVar[str] = "kept.v1"
    name: SecretName
    hosts: tuple[BoundHost, ...]
    tools: tuple[str, ...]
    sealed: Annotated[str, Field(repr=False)]
    """The value, under the key of the tenant's secrets, which nobody but the tool service asks for."""
    by: str


class SecretRemoved(Payload):
    """Written by the tool service when a secret is removed."""

    KIND: ClassVar[str] = "removed.v1"
    name: SecretName
    by: str
