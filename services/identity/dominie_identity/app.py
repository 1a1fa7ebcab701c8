"""Identity, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from dominie_contracts.identity import (
    PRINCIPAL,
    AskSubjectKeys,
    Delegate,
    EndDelegation,
    EndRun,
    Erase,
    ExchangeApiKey,
    ExchangeRun,
    ForkRun,
    IssueApiKey,
    ListDelegations,
    ListPrincipals,
    MintRunToken,
    Register,
    Resume,
    Revoke,
    RevokeApiKey,
    Rotate,
    RotateKeys,
    Suspend,
)
from dominie_contracts.model import OFFER
from dominie_contracts.tool import CATALOG
from dominie_eventstore import EventStore
from dominie_identity.adapters.assertion import Proofs
from dominie_identity.adapters.callout import Callout
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.adapters.permissions import Permissions
from dominie_identity.adapters.run_tokens import RunTokenSigner
from dominie_identity.adapters.signers import Signers, publish_keys
from dominie_identity.adapters.system_account import SystemAccount
from dominie_identity.adapters.writer import KeyWriter, PrincipalWriter
from dominie_identity.handlers import Handlers
from dominie_identity.policy import revoke_orphans
from dominie_identity.projection import Catalog, Erasures, Offers, Principals
from dominie_identity.runs.handlers import RunHandlers
from dominie_identity.settings import Settings
from dominie_identity.warden import Warden
from dominie_kit import Service
from dominie_kit.keys import KeyFolder


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """Identity as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    folder = KeyFolder(settings.keys)
    keys, signers = folder.identity, Signers(folder)
    people = KeyStore(settings.state / "identity" / "keys.sqlite")
    service = Service("identity", settings, store=store, keys=people)
    principals, catalog, offers = Principals(), Catalog(), Offers()
    actions = service.actions(PRINCIPAL)
    writer = PrincipalWriter(service.store, actions, principals)
    runs = RunHandlers(
        service.store,
        actions,
        principals,
        RunTokenSigner(signers.current, settings.identity_trust_domain),
        people,
        local=settings.local,
        run_token_s=settings.identity_run_token_s,
        fork_s=settings.identity_fork_s,
    )
    rotated = KeyWriter(service.store, actions)
    handlers = Handlers(writer, principals, people, runs.load, rotated, signers, local=settings.local)
    callout = Callout(
        settings.nats_url,
        keys.callout_user,
        keys.callout_issuer,
        proofs=Proofs(principals),
        permissions=Permissions(catalog, offers),
        rights_s=settings.identity_rights_s,
    )

    account = SystemAccount(settings.nats_url, folder.warden)
    warden = Warden(account, principals, watch_s=settings.identity_watch_s)

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        with closing(people):
            yield

    service.resource(opened)
    service.follow(principals, PRINCIPAL)
    service.follow(Erasures(people), PRINCIPAL)
    service.follow(signers, PRINCIPAL)
    service.follow(catalog, CATALOG)
    service.follow(offers, OFFER)
    service.resource(callout.connected)
    service.resource(account.connected)
    service.background(callout.run)
    service.background(lambda: publish_keys(service.inner.client, signers))
    service.background(lambda: revoke_orphans(writer, principals))
    service.background(warden.run)
    service.route(Register, handlers.register, token=False, between=True)
    service.route(Rotate, handlers.rotate, token=False, between=True)
    service.route(RotateKeys, handlers.rotate_keys, token=False, direct=False, between=True)
    service.route(Revoke, handlers.revoke, token=False, between=True)
    service.route(Suspend, handlers.suspend, token=False, between=True)
    service.route(Resume, handlers.resume, token=False, between=True)
    service.route(ListPrincipals, handlers.list, token=False)
    service.route(Delegate, handlers.delegate, token=False)
    service.route(EndDelegation, handlers.delegate, token=False)
    service.route(ListDelegations, handlers.delegations, token=False)
    service.route(EndRun, handlers.end_run, token=False)
    service.route(ForkRun, runs.fork, token=False)
    service.route(MintRunToken, runs.token, token=False)
    service.route(ExchangeRun, runs.exchange_run)
    service.route(IssueApiKey, handlers.key, token=False)
    service.route(RevokeApiKey, handlers.revoke_key, token=False)
    service.route(AskSubjectKeys, handlers.subject_keys, token=False, direct=False, between=True)
    service.route(Erase, handlers.erase, token=False, direct=False, between=True)
    service.route(ExchangeApiKey, runs.exchange, token=False, direct=False, between=True)
    return service
