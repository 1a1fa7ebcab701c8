"""Identity's commands: load, decide, append, reply."""

import time
from collections.abc import Awaitable, Callable, Sequence

from dominie.keys import public_bytes
from dominie_contracts import Forbidden, Invalid, StreamName, Unavailable
from dominie_contracts.digests import action_id
from dominie_contracts.identity import (
    PRINCIPAL,
    Done,
    Erase,
    Forgotten,
    ListPrincipals,
    PrincipalView,
    Register,
    Resume,
    Revoke,
    Rotate,
    Suspend,
)
from dominie_contracts.identity import Principals as PrincipalList
from dominie_contracts.keys import (
    ApiKey,
    AskSubjectKeys,
    IssueApiKey,
    Keys,
    RevokeApiKey,
    RotateKeys,
    SubjectKeys,
)
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.runs import Delegate, Delegation, Delegations, EndDelegation, EndRun, ListDelegations
from dominie_contracts.subjects import check_principal
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.adapters.run_tokens import new_api_key
from dominie_identity.adapters.signers import Signers
from dominie_identity.adapters.writer import TRIES, KeyWriter, PrincipalWriter
from dominie_identity.aggregate import (
    NewKey,
    PrincipalCommand,
    PrincipalEvent,
    State,
    decide,
    place,
)
from dominie_identity.people.aggregate import decide_delegation, decide_erasure
from dominie_identity.policy import revoke_wards
from dominie_identity.projection import Principals
from dominie_identity.runs.aggregate import Run, decide_end_run
from dominie_kit import Context

_KEY_ID_CHARS = 16


class Handlers:
    """Answers what identity is asked."""

    def __init__(
        self,
        writer: PrincipalWriter,
        principals: Principals,
        keys: KeyStore,
        load_run: Callable[[str, str], Awaitable[Run]],
        rotated: KeyWriter,
        signers: Signers,
        *,
        local: bool,
    ) -> None:
        self._rotated = rotated
        self._signers = signers
        self._writer = writer
        self._principals = principals
        self._keys = keys
        self._load_run = load_run
        self._local = local

    async def register(self, command: Register, context: Context) -> PrincipalView:
        """Register a principal, or change its registration."""
        _check_user_key(command.nkey)
        await self._check_sponsor(command, context)
        state = await self._change(command, context)
        self._keys.welcome(*place(command, self._writer.caller(context)), context.position)
        return _view(state)

    async def rotate(self, command: Rotate, context: Context) -> PrincipalView:
        """Give an agent or a worker another key."""
        _check_user_key(command.nkey)
        return _view(await self._change(command, context))

    async def rotate_keys(self, command: RotateKeys, context: Context) -> Keys:
        """Let keys of the deployment take the place of others; whoever uses them has them already."""
        for key in command.keys:
            _check_public(key.nkey)
            _check_public(key.previous)
            if key.use == "signer":
                self._signers.check(key.nkey)
        return Keys(keys=await self._rotated.rotate(command, self._signers.first, context))

    async def revoke(self, command: Revoke, context: Context) -> Done:
        """Take a principal's identity away."""
        state = await self._change(command, context)
        assert state.registered is not None
        await revoke_wards(self._writer, self._principals, state.registered, context)
        return Done()

    async def suspend(self, command: Suspend, context: Context) -> Done:
        """Stop a principal until it is resumed."""
        await self._change(command, context)
        return Done()

    async def resume(self, command: Resume, context: Context) -> Done:
        """Lift a suspension."""
        await self._change(command, context)
        return Done()

    async def list(self, command: ListPrincipals, context: Context) -> PrincipalList:
        """The principals of the caller's tenant."""
        if DEVELOPERS not in self._writer.caller(context).groups:
            raise Forbidden(f"{context.principal} is not in the group {DEVELOPERS!r}")
        return PrincipalList(principals=tuple(_view(state) for state in self._principals.states(context.tenant)))

    async def delegate(self, command: Delegate | EndDelegation, context: Context) -> Delegations:
        """Let an agent act for the caller, or no more."""
        if isinstance(command, Delegate) and self._principals.find(context.tenant, command.agent) is None:
            raise Invalid(f"no agent {command.agent!r} is registered, or it was revoked")
        caller, stream = self._writer.caller(context), StreamName(context.tenant, PRINCIPAL, context.principal)
        state = await self._writer.write(
            stream, lambda state: decide_delegation(state, command, caller, now_s=int(time.time())), context
        )
        return _delegations(state)

    async def delegations(self, command: ListDelegations, context: Context) -> Delegations:
        """The agents that the caller lets act for them."""
        return _delegations(self._principals.state(context.tenant, context.principal))

    async def end_run(self, command: EndRun, context: Context) -> Done:
        """End a run; every edge hears of it from the agent's stream."""
        run = await self._load_run(context.tenant, command.run)
        caller = self._writer.caller(context)
        stream = StreamName(context.tenant, PRINCIPAL, run.opened.agent if run.opened else context.principal)
        await self._writer.write(stream, lambda state: decide_end_run(state, run.opened, command, caller), context)
        return Done()

    async def key(self, command: IssueApiKey, context: Context) -> ApiKey:
        """A new API key; only its digest is kept."""
        key, digest = new_api_key()
        id_ = action_id(context.tenant, context.principal, "identity", context.key)[:_KEY_ID_CHARS]
        await self._change(command, context, new_key=NewKey(id_, digest))
        return ApiKey(key=key, id=id_)

    async def revoke_key(self, command: RevokeApiKey, context: Context) -> Done:
        """Take an API key away."""
        await self._change(command, context)
        return Done()

    async def subject_keys(self, command: AskSubjectKeys, context: Context) -> SubjectKeys:
        """The key of a person, made on first use, and those of the ids that stand."""
        return await self._keys.keys(command)

    async def erase(self, command: Erase, context: Context) -> Forgotten:
        """Write that a person is erased, then destroy their keys; asked again it says the same.

        Raises:
            Unavailable: They were registered again and again meanwhile, and got new keys.
        """
        tenant, person = command.tenant, check_principal(command.principal)
        for _ in range(TRIES):
            state = await self._erased(command, context)
            assert state.erased is not None
            self._keys.bar(tenant, person, state.erased_at)
            self._keys.destroy(tenant, state.erased.keys)
            if not self._keys.ids(tenant, person):
                return Forgotten(keys=state.erased.keys, position=state.erased_at)
        raise Unavailable(f"{person} is being registered at the same time; ask again", retry_after_s=0.2)

    async def _erased(self, command: Erase, context: Context) -> State:
        """Written; when it is certain that it is not, the person is as barred as before, else they stay barred."""
        tenant, person = command.tenant, command.principal
        new, tried = self._keys.ask(tenant, person), False

        def change(state: State) -> list[PrincipalEvent]:
            nonlocal tried
            events = decide_erasure(state, command, self._keys.ids(tenant, person))
            tried = tried or bool(events)
            return events

        try:
            return await self._writer.write(StreamName(tenant, PRINCIPAL, person), change, context)
        except BaseException:
            if new and not tried:
                self._keys.take_back(tenant, person)
            raise

    async def _check_sponsor(self, command: Register, context: Context) -> None:
        """An agent needs a person who answers for it: without one it would stand for ever."""
        caller, sponsor = self._writer.caller(context), command.sponsor
        if not caller.is_operator:
            return  # it is the caller, who stands
        tenant, principal = place(command, caller)
        stands = None if sponsor is None else await self._writer.load(StreamName(tenant, PRINCIPAL, sponsor))
        if stands is not None and (stands.registered is None or stands.revoked):
            raise Invalid(f"the sponsor {sponsor!r} is not registered; register them first")
        if sponsor is None and principal.startswith("a-") and not self._local:
            raise Invalid(f"who answers for {principal}? name a registered person as its sponsor")

    def _delegated(self, command: PrincipalCommand, tenant: str) -> bool:
        if not isinstance(command, IssueApiKey):
            return False
        found = self._principals.delegation(tenant, command.user, command.principal, now_s=int(time.time()))
        return found is not None

    async def _change(self, command: PrincipalCommand, context: Context, *, new_key: NewKey | None = None) -> State:
        caller = self._writer.caller(context)
        tenant, principal = place(command, caller)
        delegated = self._delegated(command, tenant)

        def change(state: State) -> Sequence[PrincipalEvent]:
            return decide(
                state, command, caller, local=self._local, delegated=delegated, new_key=new_key, now_s=int(time.time())
            )

        return await self._writer.write(StreamName(tenant, PRINCIPAL, principal), change, context)


def _check_public(nkey: str) -> None:
    try:
        public_bytes(nkey)
    except ValueError as error:
        raise Invalid(f"{error}; a principal's public key begins with 'U'") from error


def _check_user_key(nkey: str) -> None:
    _check_public(nkey)
    if not nkey.startswith("U"):
        raise Invalid(f"{nkey[:12]!r}… is no user's key; a principal's public key begins with 'U'")


def _delegations(state: State) -> Delegations:
    fields = {"agent", "grants", "expires_s", "max_cost_usd"}
    return Delegations(delegations=tuple(Delegation(**each.model_dump(include=fields)) for each in state.delegations))


def _view(state: State) -> PrincipalView:
    registered = state.registered
    assert registered is not None
    suspended = state.suspended
    return PrincipalView(
        **registered.model_dump(exclude={"by", "grants", "previous", "previous_until_s", "login"}),
        grants=registered.grants,
        revoked=state.revoked,
        suspended=None if suspended is None else f"by {suspended.by}: {suspended.reason}",
    )
