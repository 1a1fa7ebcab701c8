"""Identity's commands: load, decide, append, reply."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from dominie.keys import public_bytes
from dominie_contracts import Forbidden, Invalid, Recorded, StreamName, Unauthenticated, Unavailable
from dominie_contracts.digests import action_id
from dominie_contracts.identity import (
    PRINCIPAL,
    RUN,
    ApiKey,
    AskSubjectKeys,
    Done,
    Erase,
    Erased,
    ExchangeApiKey,
    Forgotten,
    Forked,
    ForkRun,
    IssueApiKey,
    KeyIssued,
    KeyRevoked,
    ListPrincipals,
    MintRunToken,
    PrincipalView,
    Register,
    Registered,
    Resume,
    Resumed,
    Revoke,
    RevokeApiKey,
    Revoked,
    RunOpened,
    RunRenewed,
    RunToken,
    SubjectKeys,
    Suspend,
    Suspended,
)
from dominie_contracts.identity import (
    Principals as PrincipalList,
)
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.subjects import check_principal
from dominie_contracts.token import Fork
from dominie_eventstore import EventStore, Folds, WrongExpectedVersion
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.adapters.run_tokens import RunTokenSigner, api_key_digest, new_api_key
from dominie_identity.aggregate import (
    Caller,
    NewKey,
    PrincipalCommand,
    PrincipalEvent,
    Run,
    State,
    acts_for,
    decide,
    decide_erasure,
    decide_fork,
    decide_run,
    evolve,
    evolve_run,
    narrowed,
    place,
)
from dominie_identity.projection import Principals
from dominie_kit import Actions, Context
from dominie_kit.sealing import PersonKey

_TRIES = 8
_KEY_ID_CHARS = 16


class Handlers:
    """Answers what identity is asked."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        principals: Principals,
        signer: RunTokenSigner,
        keys: KeyStore,
        *,
        local: bool,
        run_token_s: int,
        fork_s: int,
    ) -> None:
        self._store = store
        self._runs = Folds(store, Run(), _evolve_run)
        self._states = Folds(store, State(), _evolve)
        self._actions = actions
        self._principals = principals
        self._signer = signer
        self._keys = keys
        self._local = local
        self._run_token_s = run_token_s
        self._fork_s = fork_s

    async def register(self, command: Register, context: Context) -> PrincipalView:
        """Register a principal, or change its registration."""
        _check_user_key(command.nkey)
        state = await self._change(command, context)
        self._keys.welcome(*place(command, self._caller(context)), context.position)
        return _view(state)

    async def revoke(self, command: Revoke, context: Context) -> Done:
        """Take a principal's identity away."""
        await self._change(command, context)
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
        if DEVELOPERS not in self._caller(context).groups:
            raise Forbidden(f"{context.principal} is not in the group {DEVELOPERS!r}")
        return PrincipalList(principals=tuple(_view(state) for state in self._principals.states(context.tenant)))

    async def token(self, command: MintRunToken, context: Context) -> RunToken:
        """A run token for the agent whose connection this came over: the broker lets nobody else use its subject."""
        agent = self._principals.find(context.tenant, context.principal)
        if agent is None:
            raise Unauthenticated(f"{context.principal} is not registered, or was revoked")
        return await self._mint(
            agent,
            RunOpened(
                run=command.run,
                agent=agent.principal,
                user=command.user,
                session=command.session,
                request_digest=command.request_digest,
                grants=narrowed(agent.grants, command.narrow),
                expires_s=0,
            ),
            context,
        )

    async def fork(self, command: ForkRun, context: Context) -> Forked:
        """Open a run that begins as another one did; its agent takes it up with a token of its own."""
        run = action_id(context.tenant, context.principal, "identity", context.key)
        parent = await self._runs.load(StreamName(context.tenant, RUN, command.fork.run))
        agent = self._principals.find(context.tenant, parent.opened.agent) if parent.opened else None
        opened = decide_fork(
            parent,
            command.fork,
            agent,
            self._caller(context),
            run=run,
            expires_s=int(time.time()) + self._fork_s,
            local=self._local,
        )
        assert agent is not None
        self._check_user(agent, opened.user)
        stream = StreamName(context.tenant, RUN, run)
        person = PersonKey.of(context.tenant, self._keys.of(context.tenant, opened.user))
        (draft,) = self._actions.drafts(context, stream, opened, person=person)
        draft = draft._replace(on_behalf_of=opened.user, correlation_id=run)
        with suppress(WrongExpectedVersion):  # this command is being repeated
            context.position = (await self._store.append(stream, [draft], expected_version=0)).position
        root = opened.fork.root if opened.fork else None
        return Forked(run=run, root=root or command.fork.run, agent=opened.agent, user=opened.user)

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

    async def exchange(self, command: ExchangeApiKey, context: Context) -> RunToken:
        """A run token for the agent that an API key stands for."""
        issued = self._principals.api_key(api_key_digest(command.key))
        agent = self._principals.find(issued.tenant, issued.principal) if issued else None
        if issued is None or agent is None:
            raise Unauthenticated("this API key is unknown, or was revoked; `dominie agent key` issues another")
        return await self._mint(
            agent,
            RunOpened(
                run=command.run,
                agent=agent.principal,
                user=issued.user,
                session=command.session,
                request_digest=None,
                grants=agent.grants,
                expires_s=0,
            ),
            context,
        )

    async def subject_keys(self, command: AskSubjectKeys, context: Context) -> SubjectKeys:
        """The key of a person, made on first use, and those of the ids that stand."""
        return await self._keys.keys(command)

    async def erase(self, command: Erase, context: Context) -> Forgotten:
        """Write that a person is erased, then destroy their keys; asked again it says the same.

        Raises:
            Unavailable: They were registered again and again meanwhile, and got new keys.
        """
        tenant, person = command.tenant, check_principal(command.principal)
        for _ in range(_TRIES):
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
            return await self._write(StreamName(tenant, PRINCIPAL, person), change, context)
        except BaseException:
            if new and not tried:
                self._keys.take_back(tenant, person)
            raise

    async def _mint(self, agent: Registered, wanted: RunOpened, context: Context) -> RunToken:
        self._check_user(agent, wanted.user)
        now_s = int(time.time())
        wanted = wanted.model_copy(update={"expires_s": now_s + self._run_token_s})
        fork = await self._record(agent.tenant, wanted, context, now_s=now_s)
        wanted = wanted.model_copy(update={"fork": fork})
        return RunToken(token=self._signer.sign(agent, wanted, now_s=now_s), expires_s=wanted.expires_s, run=wanted.run)

    def _check_user(self, agent: Registered, user: str) -> None:
        for principal in (agent.principal, user):
            if (suspended := self._principals.suspension(agent.tenant, principal)) is not None:
                raise Forbidden(suspended.words)
        if not agent.principal.startswith("a-"):
            raise Forbidden(f"only an agent acts for a user, not {agent.principal}")
        if not check_principal(user).startswith("u-"):
            raise Invalid(f"{user!r} is no person (u-NAME)")
        if self._principals.is_revoked(agent.tenant, user):
            raise Forbidden(f"{user} has been revoked")
        if not acts_for(agent, user, local=self._local):
            raise Forbidden(f"{user} has not let {agent.principal} act for them; register it with users=({user!r},)")

    async def _record(self, tenant: str, wanted: RunOpened, context: Context, *, now_s: int) -> Fork | None:
        """Write that a token is minted; what the run was forked from, if it was."""
        stream = StreamName(tenant, RUN, wanted.run)
        person = PersonKey.of(tenant, self._keys.of(tenant, wanted.user))
        for _ in range(_TRIES):
            run = await self._runs.load(stream)
            event = decide_run(run, wanted, now_s=now_s)
            (draft,) = self._actions.drafts(context, stream, event, person=person)
            draft = draft._replace(on_behalf_of=wanted.user, correlation_id=wanted.run)
            try:
                appended = await self._store.append(stream, [draft], expected_version=run.version)
            except WrongExpectedVersion:
                continue
            context.position = appended.position
            return run.opened.fork if run.opened else None
        raise Unavailable(f"others write to run {wanted.run!r}; ask again", retry_after_s=0.2)

    async def _change(self, command: PrincipalCommand, context: Context, *, new_key: NewKey | None = None) -> State:
        caller = self._caller(context)
        tenant, principal = place(command, caller)
        stream = StreamName(tenant, PRINCIPAL, principal)

        return await self._write(
            stream, lambda state: decide(state, command, caller, local=self._local, new_key=new_key), context
        )

    async def _write(
        self, stream: StreamName, change: Callable[[State], Sequence[PrincipalEvent]], context: Context
    ) -> State:
        for _ in range(_TRIES):
            state = await self._states.load(stream)
            events = change(state)
            if not events:
                return state
            drafts = self._actions.drafts(context, stream, *events)
            try:
                appended = await self._store.append(stream, drafts, expected_version=state.version)
            except WrongExpectedVersion:
                continue
            for event in events:
                state = evolve(state, event, position=appended.position)
            context.position = appended.position
            self._principals.put(stream.tenant, stream.id, state)
            return state
        raise Unavailable(f"others change {stream.id} too; ask again", retry_after_s=0.2)

    def _caller(self, context: Context) -> Caller:
        """Who asks, with the groups that stand now: this read model is never behind identity's own answers."""
        found = self._principals.find(context.tenant, context.principal)
        return Caller(context.tenant, context.principal, found.groups if found else ())


def _evolve_run(run: Run, event: Recorded) -> Run:
    payload = parse_own(event)
    assert isinstance(payload, RunOpened | RunRenewed)
    return evolve_run(run, payload)


def _evolve(state: State, event: Recorded) -> State:
    payload = parse_own(event)
    assert isinstance(payload, Registered | Revoked | Suspended | Resumed | KeyIssued | KeyRevoked | Erased)
    return evolve(state, payload, position=event.position)


def _check_user_key(nkey: str) -> None:
    try:
        public_bytes(nkey)
    except ValueError as error:
        raise Invalid(f"{error}; a principal's public key begins with 'U'") from error
    if not nkey.startswith("U"):
        raise Invalid(f"{nkey[:12]!r}… is no user's key; a principal's public key begins with 'U'")


def _view(state: State) -> PrincipalView:
    registered = state.registered
    assert registered is not None
    suspended = state.suspended
    return PrincipalView(
        **registered.model_dump(exclude={"by", "grants"}),
        grants=registered.grants,
        revoked=state.revoked,
        suspended=None if suspended is None else f"by {suspended.by}: {suspended.reason}",
    )
