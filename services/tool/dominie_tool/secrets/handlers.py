"""The commands about secrets, and a call's own: opened for that call alone."""

from collections.abc import Awaitable, Callable, Iterable

from pydantic_core import to_json

from dominie_contracts import Forbidden, Invalid, StreamName, Unavailable
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.secrets import (
    SECRET,
    KeepSecret,
    ListSecrets,
    RemoveSecret,
    SecretKept,
    SecretRemoved,
    Secrets,
)
from dominie_contracts.servers import Server, stream_id
from dominie_contracts.tool import ToolSpec
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Actions, Context
from dominie_kit.bus import now_ms
from dominie_kit.personal.sealing import PersonKey, Unreadable
from dominie_tool.egress.placeholders import Secret
from dominie_tool.mcp.headers import secrets_in
from dominie_tool.secrets.aggregate import State, check, check_use, evolve, keep, remove
from dominie_tool.secrets.projection import Kept, view

WHOSE = "secrets"
"""Whose key seals a tenant's secrets: nobody's, so nobody's erasure destroys it."""
KeyOf = Callable[[str, str], Awaitable[PersonKey]]
"""A key by tenant and whose it is."""


class Keeping:
    """Answers `keep_secret`, `remove_secret` and `secrets`."""

    def __init__(self, store: EventStore, actions: Actions, kept: Kept, key: KeyOf) -> None:
        self._store = store
        self._actions = actions
        self._kept = kept
        self._key = key

    async def keep(self, command: KeepSecret, context: Context) -> Secrets:
        """Keep a secret; its value is sealed before anything is written."""
        _check_developer(context)
        check(command)
        stream = StreamName(context.tenant, SECRET, command.name)
        _, version = await self._past(stream)
        key = await self._key(context.tenant, WHOSE)
        kept = keep(command, sealed=key.seal(to_json(command.value), str(stream)), by=context.principal)
        await self._append(context, stream, kept, version)
        return Secrets(secrets=(view(kept, now_ms()),))

    async def remove(self, command: RemoveSecret, context: Context) -> Secrets:
        """Remove a secret."""
        _check_developer(context)
        stream = StreamName(context.tenant, SECRET, command.name)
        state, version = await self._past(stream)
        removed = remove(state, command.name, by=context.principal)
        await self._append(context, stream, removed, version)
        return Secrets(secrets=())

    async def all(self, command: ListSecrets, context: Context) -> Secrets:
        """Those of a tenant."""
        _check_developer(context)
        await context.read_your_writes()
        return Secrets(secrets=self._kept.all(context.tenant))

    async def _past(self, stream: StreamName) -> tuple[State, int]:
        state, recorded = None, await self._store.read(stream)
        for past in recorded:
            payload = parse_own(past)
            assert isinstance(payload, SecretKept | SecretRemoved)
            state = evolve(payload)
        return state, len(recorded)

    async def _append(
        self, context: Context, stream: StreamName, event: SecretKept | SecretRemoved, version: int
    ) -> None:
        drafts = self._actions.drafts(context, stream, event)
        try:
            appended = await self._store.append(stream, drafts, expected_version=version)
        except WrongExpectedVersion as error:
            raise Unavailable(f"{event.name!r} is being changed by others too", retry_after_s=0.2) from error
        context.position = appended.position


class Vault:
    """Opens the secrets that a tool's profile names, for one call."""

    def __init__(self, kept: Kept, key: KeyOf) -> None:
        self._kept = kept
        self._key = key

    async def of(self, tenant: str, spec: ToolSpec, owner: str) -> tuple[Secret, ...]:
        """A tool's secrets.

        Raises:
            Invalid: One is not kept, or cannot be opened.
            Forbidden: One is not for this tool.
            Unavailable: The key is not at hand.
        """
        profile = spec.profile
        names = () if profile is None or profile.network == "none" else profile.network.secrets
        return await self._open(tenant, names, tool=spec.name, owner=owner)

    async def of_server(self, tenant: str, server: Server, by: str) -> tuple[Secret, ...]:
        """The secrets that an MCP server's headers or network name, which somebody has accepted; like `of`."""
        names = (*secrets_in(server.headers), *(server.network.secrets if server.network else ()))
        return await self._open(tenant, names, tool=stream_id(server.name), owner=by)

    async def _open(self, tenant: str, names: Iterable[str], *, tool: str, owner: str) -> tuple[Secret, ...]:
        found = [check_use(self._kept.find(tenant, name), name, tool=tool, owner=owner) for name in names]
        if not found:
            return ()
        key = await self._key(tenant, WHOSE)
        return tuple(Secret(each.name, _opened(key, tenant, each), each.hosts) for each in found)


def _opened(key: PersonKey, tenant: str, kept: SecretKept) -> str:
    try:
        return str(key.unseal(kept.sealed, str(StreamName(tenant, SECRET, kept.name))))
    except Unreadable as error:
        raise Invalid(f"the secret {kept.name!r} cannot be opened any more; set it again") from error


def _check_developer(context: Context) -> None:
    if DEVELOPERS not in context.groups:
        raise Forbidden(f"{context.principal} is no developer, and secrets are theirs")
