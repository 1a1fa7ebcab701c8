"""Identity, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from dominie_contracts.identity import (
    PRINCIPAL,
    REFUSALS,
    WIDENING,
    Erase,
    ListIssuers,
    ListPrincipals,
    Register,
    ReportRefusals,
    Resume,
    Revoke,
    Rotate,
    SignIn,
    Suspend,
    Vouch,
)
from dominie_contracts.keys import AskSubjectKeys, ExchangeApiKey, IssueApiKey, RevokeApiKey, RotateKeys
from dominie_contracts.model import OFFER
from dominie_contracts.runs import (
    Delegate,
    EndDelegation,
    EndRun,
    ExchangeRun,
    ForkRun,
    ListDelegations,
    MintRunToken,
    WidenRun,
)
from dominie_contracts.tool import CATALOG
from dominie_eventstore import EventStore
from dominie_identity.adapters.assertion import Proofs
from dominie_identity.adapters.broker_log import BrokerLog
from dominie_identity.adapters.callout import Callout
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.adapters.permissions import Permissions
from dominie_identity.adapters.run_tokens import RunTokenSigner
from dominie_identity.adapters.signers import Signers, publish_keys
from dominie_identity.adapters.system_account import SystemAccount
from dominie_identity.adapters.writer import KeyWriter, PrincipalWriter
from dominie_identity.handlers import Handlers
from dominie_identity.people.directory import Directory
from dominie_identity.people.handlers import PeopleHandlers
from dominie_identity.policy import revoke_orphans
from dominie_identity.projection import Catalog, Erasures, Offers, Principals
from dominie_identity.runs.handlers import RunHandlers
from dominie_identity.runs.widening import Widening
from dominie_identity.settings import Settings
from dominie_identity.warden.crowds import Crowds
from dominie_identity.warden.flooding import Allowance, Holds
from dominie_identity.warden.refusal_writer import RefusalWriter
from dominie_identity.warden.refusals import RefusalLog
from dominie_identity.warden.watch import Warden
from dominie_kit import Service
from dominie_kit.keys.folder import KeyFolder


def build(settings: Settings | None = None, store: EventStore | None = None) -> Service:
    """Identity as a service; `store` replaces the event log in tests."""
    settings = settings or Settings()
    folder = KeyFolder(settings.keys)
    keys, signers = folder.identity, Signers(folder)
    people = KeyStore(settings.state / "identity" / "keys.sqlite")
    service = Service("identity", settings, store=store, keys=people)
    principals, catalog, offers, holds = Principals(), Catalog(), Offers(), Holds()
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
    widening = Widening(service.store, service.actions(WIDENING), runs, catalog, offers)
    directory = Directory(settings.identity_issuers)
    signing_in = PeopleHandlers(directory, writer, people)
    rotated = KeyWriter(service.store, actions)
    handlers = Handlers(writer, principals, people, runs.load, rotated, signers, local=settings.local)
    account = SystemAccount(settings.nats_url, folder.warden)
    warden = Warden(
        account,
        principals,
        writer,
        holds,
        allowed=Allowance(settings.identity_flood_messages_per_s, settings.identity_flood_bytes_per_s),
        watch_s=settings.identity_watch_s,
    )
    broker_log = BrokerLog(settings.identity_broker_log or settings.state / "log" / "nats.log")
    refusals = RefusalWriter(
        service.store,
        service.actions(REFUSALS),
        RefusalLog(principals.knows),
        broker_log=broker_log,
        edge=service.edge.refusals,
        on_subscribed=warden.subscribed,
    )
    callout = Callout(
        settings.nats_url,
        keys.callout_user,
        keys.callout_issuer,
        proofs=Proofs(principals, holds, directory),
        permissions=Permissions(catalog, offers),
        crowds=Crowds(settings.identity_max_connections_each),
        count=account.count,
        rights_s=settings.identity_rights_s,
        on_refused=refusals.refused,
    )

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
    service.background(directory.run)
    service.resource(refusals.open)
    service.background(refusals.run)
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
    service.route(WidenRun, widening.widen)
    service.route(IssueApiKey, handlers.key, token=False)
    service.route(RevokeApiKey, handlers.revoke_key, token=False)
    service.route(AskSubjectKeys, handlers.subject_keys, token=False, direct=False, between=True)
    service.route(ReportRefusals, refusals.report, token=False, direct=False, between=True)
    service.route(Erase, handlers.erase, token=False, direct=False, between=True)
    service.route(ListIssuers, signing_in.issuers, token=False, direct=False, between=True)
    service.route(SignIn, signing_in.sign_in, token=False, direct=False, between=True)
    service.route(Vouch, signing_in.vouch, token=False, direct=False, between=True)
    service.route(ExchangeApiKey, runs.exchange, token=False, direct=False, between=True)
    return service
