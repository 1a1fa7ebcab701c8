"""Identity's commands about runs: who acts for whom, in which run, through whom."""

import time
from collections.abc import Sequence
from contextlib import suppress
from functools import reduce

from dominie_contracts import Draft, Forbidden, Invalid, Recorded, StreamName, Unauthenticated, Unavailable
from dominie_contracts.digests import action_id
from dominie_contracts.identity import RUN, Registered
from dominie_contracts.keys import ExchangeApiKey
from dominie_contracts.registry import parse_own
from dominie_contracts.runs import ExchangeRun, Forked, ForkRun, MintRunToken, RunToken, RunWidened
from dominie_contracts.subjects import check_principal
from dominie_contracts.token import MAX_CHAIN, SubjectClaims
from dominie_eventstore import EventStore, Folds, WrongExpectedVersion
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.adapters.run_tokens import RunTokenSigner, api_key_digest
from dominie_identity.adapters.subject_tokens import SubjectTokens
from dominie_identity.adapters.writer import TRIES
from dominie_identity.aggregate import Caller
from dominie_identity.projection import Principals
from dominie_identity.runs.aggregate import Run, RunEvent, decide_fork, decide_run, decide_widened, evolve_run
from dominie_identity.runs.asking import Asking, for_itself, through
from dominie_identity.runs.authority import Authority
from dominie_identity.runs.bounds import Bounds
from dominie_kit import Actions, Context
from dominie_kit.personal.sealing import PersonKey


class RunHandlers:
    """Answers what identity is asked about runs."""

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
        self._runs = Folds(store, Run(), lambda run, events: reduce(_evolve_run, events, run))
        self._actions = actions
        self._principals = principals
        self._subjects = SubjectTokens(principals)
        self._bounds = Bounds(principals, self.load, local=local)
        self._signer = signer
        self._keys = keys
        self._local = local
        self._run_token_s = run_token_s
        self._fork_s = fork_s

    async def load(self, tenant: str, run: str) -> Run:
        """A run as it is."""
        return await self._runs.load(StreamName(tenant, RUN, run))

    async def token(self, command: MintRunToken, context: Context) -> RunToken:
        """A run token for the agent whose connection this came over: the broker lets nobody else use its subject."""
        agent = self._principals.find(context.tenant, context.principal)
        if agent is None:
            raise Unauthenticated(f"{context.principal} is not registered, or was revoked")
        asking = for_itself(agent, command, self._shown(agent, command), local=self._local)
        return await self._mint(asking, context)

    async def exchange_run(self, command: ExchangeRun, context: Context) -> RunToken:
        """A run token for an agent that acts on behalf of the caller's run; it can do no more than that may."""
        claims = context.claims
        assert claims is not None
        agent = self._principals.find(context.tenant, check_principal(command.agent))
        if agent is None or not agent.principal.startswith("a-"):
            raise Forbidden(f"{command.agent!r} is no agent who stands; register it first")
        if claims.fork is not None:
            raise Invalid("a forked run has no parts of its own")
        if len(claims.actors) >= MAX_CHAIN:
            raise Forbidden(f"at most {MAX_CHAIN} agents act one through another")
        return await self._mint(through(agent, command, claims), context)

    async def may(self, context: Context) -> tuple[Registered, Authority]:
        """The agent that asks, and all that its run may do now.

        Raises:
            Unauthenticated, Forbidden: Neither stands.
        """
        claims = context.claims
        assert claims is not None
        agent = self._principals.find(context.tenant, claims.agent)
        if agent is None:
            raise Unauthenticated(f"{claims.agent} is not registered, or was revoked")
        run = await self.load(context.tenant, claims.run)
        authority, _ = await self._bounds.of(Asking(agent, claims.sub, claims.run), run, now_s=int(time.time()))
        return agent, authority

    async def widened(self, event: RunWidened, context: Context) -> None:
        """Write what people allowed a run, once."""
        stream = StreamName(context.tenant, RUN, event.run)
        for _ in range(TRIES):
            run = await self._runs.load(stream)
            events = decide_widened(run, event)
            if not events:
                return
            drafts = self._drafts(context, stream, events, event.user)
            with suppress(WrongExpectedVersion):
                context.position = (await self._store.append(stream, drafts, expected_version=run.version)).position
                return
        raise Unavailable(f"others write to run {event.run!r}; ask again", retry_after_s=0.2)

    async def renewed(self, context: Context) -> RunToken:
        """A token with all that the caller's run may do now."""
        claims = context.claims
        assert claims is not None
        agent, _ = await self.may(context)
        return await self._mint(Asking(agent, claims.sub, claims.run, session=claims.session), context)

    async def exchange(self, command: ExchangeApiKey, context: Context) -> RunToken:
        """A run token for the agent that an API key stands for."""
        issued = self._principals.api_key(api_key_digest(command.key))
        agent = self._principals.find(issued.tenant, issued.principal) if issued else None
        if issued is None or agent is None:
            raise Unauthenticated("this API key is unknown, or was revoked; `dominie agent key` issues another")
        return await self._mint(Asking(agent, issued.user, command.run, session=command.session), context)

    async def fork(self, command: ForkRun, context: Context) -> Forked:
        """Open a run that begins as another one did; its agent takes it up with a token of its own."""
        run = action_id(context.tenant, context.principal, "identity", context.key)
        parent = await self.load(context.tenant, command.fork.run)
        agent = self._principals.find(context.tenant, parent.opened.agent) if parent.opened else None
        caller = self._principals.find(context.tenant, context.principal)
        opened = decide_fork(
            parent,
            command.fork,
            agent,
            Caller(context.tenant, context.principal, caller.groups if caller else ()),
            run=run,
            expires_s=int(time.time()) + self._fork_s,
            local=self._local,
        )
        assert agent is not None
        await self._bounds.of(Asking(agent, opened.user, run), Run(opened), now_s=int(time.time()))
        stream = StreamName(context.tenant, RUN, run)
        drafts = self._drafts(context, stream, [opened], opened.user)
        with suppress(WrongExpectedVersion):  # this command is being repeated
            context.position = (await self._store.append(stream, drafts, expected_version=0)).position
        root = opened.fork.root if opened.fork else None
        return Forked(run=run, root=root or command.fork.run, agent=opened.agent, user=opened.user)

    def _shown(self, agent: Registered, command: MintRunToken) -> SubjectClaims | None:
        """What the user signed for this run, if that is shown."""
        if command.subject_token is None:
            return None
        return self._subjects.check(command.subject_token, agent=agent, command=command, now_s=time.time())

    async def _mint(self, asking: Asking, context: Context) -> RunToken:
        """Write that a token is minted, then sign it."""
        stream = StreamName(asking.agent.tenant, RUN, asking.run)
        for _ in range(TRIES):
            now_s = int(time.time())
            run = await self._runs.load(stream)
            authority, basis = await self._bounds.of(asking, run, now_s=now_s)
            authority = authority.narrowed(asking.narrow, asking.max_cost_usd, asking.run)
            expires_s = int(min(now_s + self._run_token_s, authority.until_s))
            wanted = asking.opens(authority, basis, self._signer.chain(asking), expires_s=expires_s)
            events = decide_run(run, wanted, asking.granted, now_s=now_s)
            drafts = self._drafts(context, stream, events, asking.user)
            try:
                appended = await self._store.append(stream, drafts, expected_version=run.version)
            except WrongExpectedVersion:
                continue
            context.position = appended.position
            opened = run.opened or wanted
            token = self._signer.sign(asking.agent, opened, authority, now_s=now_s, expires_s=expires_s)
            return RunToken(token=token, expires_s=expires_s, run=asking.run)
        raise Unavailable(f"others write to run {asking.run!r}; ask again", retry_after_s=0.2)

    def _drafts(self, context: Context, stream: StreamName, events: Sequence[RunEvent], user: str) -> list[Draft]:
        person = PersonKey.of(stream.tenant, self._keys.of(stream.tenant, user))
        drafts = self._actions.drafts(context, stream, *events, person=person)
        return [draft._replace(on_behalf_of=user, correlation_id=stream.id) for draft in drafts]


def _evolve_run(run: Run, event: Recorded) -> Run:
    payload = parse_own(event)
    assert isinstance(payload, RunEvent)
    return evolve_run(run, payload)
