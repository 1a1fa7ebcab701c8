"""Identity, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from dominie_contracts.identity import (
    PRINCIPAL,
    AskSubjectKeys,
    Erase,
    ExchangeApiKey,
    ForkRun,
    IssueApiKey,
    ListPrincipals,
    MintRunToken,
    Register,
    Resume,
    Revoke,
    RevokeApiKey,
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
from dominie_identity.handlers import Handlers
from dominie_identity.projection import Catalog, Erasures, Offers, Principals
from dominie_identity.settings import Settings
from dominie_kit import Service
from dominie_kit.keys import KeyFolder


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """Identity as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    keys = KeyFolder(settings.keys).identity
    people = KeyStore(settings.state / "identity" / "keys.sqlite")
    service = Service("identity", settings, store=store, keys=people)
    principals, catalog, offers = Principals(), Catalog(), Offers()
    handlers = Handlers(
        service.store,
        service.actions(PRINCIPAL),
        principals,
        RunTokenSigner(keys.signer),
        people,
        local=settings.local,
        run_token_s=settings.identity_run_token_s,
        fork_s=settings.identity_fork_s,
    )
    callout = Callout(
        settings.nats_url,
        keys.callout_user,
        keys.callout_issuer,
        proofs=Proofs(principals),
        permissions=Permissions(catalog, offers),
        rights_s=settings.identity_rights_s,
    )

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        with closing(people):
            yield

    service.resource(opened)
    service.follow(principals, PRINCIPAL)
    service.follow(Erasures(people), PRINCIPAL)
    service.follow(catalog, CATALOG)
    service.follow(offers, OFFER)
    service.resource(callout.connected)
    service.background(callout.run)
    service.route(Register, handlers.register, token=False, between=True)
    service.route(Revoke, handlers.revoke, token=False, between=True)
    service.route(Suspend, handlers.suspend, token=False, between=True)
    service.route(Resume, handlers.resume, token=False, between=True)
    service.route(ListPrincipals, handlers.list, token=False)
    service.route(ForkRun, handlers.fork, token=False)
    service.route(MintRunToken, handlers.token, token=False)
    service.route(IssueApiKey, handlers.key, token=False)
    service.route(RevokeApiKey, handlers.revoke_key, token=False)
    service.route(AskSubjectKeys, handlers.subject_keys, token=False, direct=False, between=True)
    service.route(Erase, handlers.erase, token=False, direct=False, between=True)
    service.route(ExchangeApiKey, handlers.exchange, token=False, direct=False, between=True)
    return service
