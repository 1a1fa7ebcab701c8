"""Handlers on an event store in memory."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from dominie import Credentials
from dominie.keys import KeyPair
from dominie_contracts import Draft, Recorded, StreamName
from dominie_contracts.digests import digest_bytes
from dominie_contracts.identity import (
    PRINCIPAL,
    RUN,
    Erase,
    ListPrincipals,
    Register,
    Registered,
    Revoke,
    Revoked,
    Rotate,
)
from dominie_contracts.keys import AskSubjectKeys, ExchangeApiKey, IssueApiKey, RevokeApiKey
from dominie_contracts.problems import Conflict, Forbidden, Invalid, Problem, Unauthenticated
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import serves
from dominie_contracts.runs import Delegate, EndDelegation, ExchangeRun, ForkRun, MintRunToken, RunToken
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.token import Fork, Grants
from dominie_contracts.tool import ToolSpec
from dominie_eventstore import Appended, EventStore, MemoryEventStore, StoreUnavailable
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.adapters.nats_jwt import to_base64
from dominie_identity.adapters.run_tokens import RunTokenSigner
from dominie_identity.adapters.signers import Signers
from dominie_identity.adapters.writer import KeyWriter, PrincipalWriter
from dominie_identity.handlers import Handlers
from dominie_identity.policy import revoke_orphans
from dominie_identity.projection import Erasures, Principals
from dominie_identity.runs.handlers import RunHandlers
from dominie_kit.context import Context, deadline_in
from dominie_kit.edge.run_tokens import RunTokenVerifier
from dominie_kit.handler_testing import Desk
from dominie_kit.keys.folder import KeyFolder

pytestmark = pytest.mark.anyio
SIGNER = KeyPair.generate()
DESK = KeyPair.generate().public
AGENT = Register(principal="a-desk", nkey=DESK, users=("u-dana",), grants=Grants(tools=("refund", "mail")))
HEAD = b'{"alg": "Ed25519"}'
MINT = MintRunToken(user="u-dana", run="r-1")


@dataclass
class Instance:
    """Handlers, and the store they write to."""

    store: EventStore
    handlers: Handlers
    runs: RunHandlers

    async def types(self, category: str, id_: str, tenant: str = "acme") -> list[str]:
        return [event.envelope.type for event in await self.store.read(StreamName(tenant, category, id_))]


def instance(store: MemoryEventStore | None = None, *, local: bool = False) -> Instance:
    desk = Desk("identity")
    actions, signer, principals, keys = (
        desk.actions(PRINCIPAL),
        RunTokenSigner(lambda now_s: SIGNER),
        Principals(),
        KeyStore(),
    )
    log = store or desk.store
    runs = RunHandlers(log, actions, principals, signer, keys, local=local, run_token_s=300, fork_s=3600)
    writer = PrincipalWriter(log, actions, principals)
    rotated, signers = KeyWriter(log, actions), Signers(KeyFolder(Path()))
    return Instance(log, Handlers(writer, principals, keys, runs.load, rotated, signers, local=local), runs)


def by(principal: str, *, tenant: str = "acme", key: str = "k") -> Context:
    return Context(tenant=tenant, principal=principal, key=key, deadline=deadline_in(5))


OPERATING = by("operator", tenant=PLATFORM)


@pytest.fixture
async def acme() -> Instance:
    """A developer and their agent."""
    found = instance()
    for name in ("u-dana", "u-erin"):
        await found.handlers.register(
            Register(principal=name, nkey=DESK, tenant="acme", groups=("developers", "operators")), OPERATING
        )
    await found.handlers.register(AGENT, by("u-dana"))
    return found


@pytest.mark.parametrize(("registers", "rotates"), [("u-erin", "operator"), ("operator", "u-erin")])
async def test_a_rotation_changes_the_key_and_not_who_granted(acme: Instance, registers: str, rotates: str) -> None:
    """Which tools a worker serves rests on who registered it; who rotated its key is the event's actor."""
    callers, spec = {"operator": OPERATING, "u-erin": by("u-erin")}, ToolSpec(name="refund", input_schema={})
    worker = Register(principal="w-till", nkey=DESK, tenant="acme", sponsor="u-erin", grants=Grants(tools=("refund",)))
    await acme.handlers.register(worker, callers[registers])
    rotate = Rotate(principal="w-till", nkey=KeyPair.generate().public, tenant="acme")
    await acme.handlers.rotate(rotate, callers[rotates])
    events = await acme.store.read(StreamName("acme", PRINCIPAL, "w-till"))
    before, after = (parse_own(event) for event in events)
    assert isinstance(before, Registered) and isinstance(after, Registered)
    assert (after.nkey, after.by) == (rotate.nkey, registers)
    assert serves(after, spec, "w-ledger") == serves(before, spec, "w-ledger") == (registers == "operator")
    assert events[-1].envelope.actor == rotates


async def test_an_equal_registration_writes_nothing(acme: Instance) -> None:
    again = await acme.handlers.register(AGENT, by("u-dana", key="another"))
    assert (again.sponsor, again.revoked) == ("u-dana", False)
    assert await acme.types(PRINCIPAL, "a-desk") == ["principal.registered.v1"]


@pytest.mark.parametrize(
    "nkey",
    ["", "UNO", DESK[:-1], DESK.lower(), KeyPair.generate(account=True).public],
    ids=["empty", "short", "cut off", "lower case", "an account's"],
)
async def test_a_key_that_is_none_is_refused(acme: Instance, nkey: str) -> None:
    with pytest.raises(Invalid, match="begins with 'U'"):
        await acme.handlers.register(AGENT.model_copy(update={"nkey": nkey}), by("u-dana"))


ERASE = Erase(tenant="acme", principal="u-dana", by="u-eve")


async def test_a_person_is_erased_once_and_can_come_back(acme: Instance) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    (key,) = (await acme.handlers.subject_keys(AskSubjectKeys(tenant="acme", subject="u-dana"), by("svc-tool"))).keys
    first = await acme.handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM))
    again = await acme.handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM, key="k2"))
    assert first == again and first.keys == (key.id,) and first.position > 0
    assert await acme.types(PRINCIPAL, "u-dana") == ["principal.registered.v1", "principal.erased.v1"]
    assert not (await acme.handlers.subject_keys(AskSubjectKeys(tenant="acme", ids=(key.id,)), by("svc-tool"))).keys
    with pytest.raises(Forbidden, match="was erased"):
        await acme.runs.token(MINT.model_copy(update={"run": "r-2"}), by("a-desk"))
    back = Register(principal="u-dana", nkey=DESK, tenant="acme", groups=("developers",))
    await acme.handlers.register(back, OPERATING)
    await acme.runs.token(MINT.model_copy(update={"run": "r-3"}), by("a-desk"))
    (new,) = (await acme.handlers.subject_keys(AskSubjectKeys(tenant="acme", subject="u-dana"), by("svc-tool"))).keys
    assert new.id != key.id


@pytest.mark.parametrize(("principal", "why"), [("a-desk", "no person"), ("u-nobody", "nothing was ever written")])
async def test_who_cannot_be_erased_stays_as_they_were(acme: Instance, principal: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        await acme.handlers.erase(ERASE.model_copy(update={"principal": principal}), by("svc-audit", tenant=PLATFORM))
    assert "principal.erased.v1" not in await acme.types(PRINCIPAL, principal)
    assert (await acme.handlers.subject_keys(AskSubjectKeys(tenant="acme", subject=principal), by("svc-tool"))).keys


async def test_an_old_copy_of_the_keys_is_brought_to_what_the_log_says(acme: Instance) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    gone = await acme.handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM))
    copy = KeyStore()
    copy._db.execute("INSERT INTO keys VALUES (?, 'acme', 'u-dana', 'secret')", gone.keys)
    projection = Erasures(copy)
    async for event in acme.store.read_all(category=PRINCIPAL):
        projection.apply(event)
    assert not copy.ids("acme", "u-dana")
    with pytest.raises(Forbidden):
        copy.of("acme", "u-dana")


async def test_reading_the_log_anew_lifts_nobodys_bar_on_the_way(acme: Instance) -> None:
    keys = acme.handlers._keys
    await acme.runs.token(MINT, by("a-desk"))
    await acme.handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM))
    for projection in (Erasures(keys), Erasures(keys).fresh()):
        async for event in acme.store.read_all(category=PRINCIPAL):
            projection.apply(event)
            with pytest.raises(Forbidden):
                keys.of("acme", "u-dana")


async def test_a_key_that_no_erasure_names_is_destroyed_by_the_next(acme: Instance) -> None:
    keys = acme.handlers._keys
    old = keys.of("acme", "u-dana")
    await acme.handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM))
    keys._db.execute("INSERT INTO keys VALUES ('stray', 'acme', 'u-dana', 'secret')")
    again = await acme.handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM, key="k2"))
    assert again.keys == (old.id, "stray") and not keys.ids("acme", "u-dana")
    types = await acme.types(PRINCIPAL, "u-dana")
    assert types == ["principal.registered.v1", "principal.erased.v1", "principal.erased.v1"]


class AwayStore(MemoryEventStore):
    """A log that is away: for readers, or for writers, who may have been heard."""

    away = ""

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        self._check("reading")
        return await super().read(stream, after_version=after_version, near=near)

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        self._check("writing")
        return await super().append(stream, drafts, expected_version=expected_version, timeout_s=timeout_s)

    def _check(self, what: str) -> None:
        if self.away == what:
            raise StoreUnavailable("away")


@pytest.mark.parametrize(
    ("away", "before", "barred"),
    [("reading", False, False), ("writing", False, True), ("reading", True, True), ("writing", True, True)],
)
async def test_an_erasure_that_fails_lifts_no_bar(away: str, before: bool, barred: bool) -> None:
    store = AwayStore()
    handlers = instance(store).handlers
    await handlers.register(Register(principal="u-dana", nkey=DESK, tenant="acme"), OPERATING)
    if before:
        await handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM))
        handlers._keys._db.execute("INSERT INTO keys VALUES ('stray', 'acme', 'u-dana', 'secret')")
    store.away = away
    with pytest.raises(StoreUnavailable):
        await handlers.erase(ERASE, by("svc-audit", tenant=PLATFORM, key="k2"))
    store.away = ""
    with pytest.raises(Forbidden) if barred else nullcontext():
        handlers._keys.of("acme", "u-dana")
    if not before:
        await handlers.register(Register(principal="u-dana", nkey=DESK, tenant="acme"), OPERATING)
        assert handlers._keys.of("acme", "u-dana").subject == "u-dana"


async def test_groups_come_from_the_log_not_from_the_caller(acme: Instance) -> None:
    context = by("u-frank")
    context.groups = ("developers",)
    with pytest.raises(Forbidden):
        await acme.handlers.register(AGENT.model_copy(update={"principal": "a-mine"}), context)
    with pytest.raises(Forbidden):
        await acme.handlers.list(ListPrincipals(), context)


async def test_a_tenant_sees_its_own_principals(acme: Instance) -> None:
    other = Register(principal="u-otto", nkey=DESK, tenant="other", groups=("developers",))
    await acme.handlers.register(other, OPERATING)
    seen = await acme.handlers.list(ListPrincipals(), by("u-otto", tenant="other"))
    assert [found.principal for found in seen.principals] == ["u-otto"]


async def test_a_run_token_says_who_acts_for_whom(acme: Instance) -> None:
    minted = await acme.runs.token(MINT.model_copy(update={"narrow": Grants(tools=("mail",))}), by("a-desk"))
    claims = RunTokenVerifier(SIGNER.public).verify(minted.token)
    assert (claims.sub, claims.chain, claims.tenant, claims.cnf.nkey) == ("u-dana", "a-desk", "acme", DESK)
    assert claims.grants == Grants(tools=("mail",))
    assert claims.exp - claims.iat == 300 and abs(claims.iat - time.time()) < 5
    assert minted.expires_s == claims.exp


async def test_a_run_is_opened_and_renewed_on_the_users_behalf(acme: Instance) -> None:
    for _ in range(2):
        await acme.runs.token(MINT, by("a-desk"))
    opened, renewed = (event.envelope for event in await acme.store.read(StreamName("acme", RUN, "r-1")))
    assert (opened.type, renewed.type) == ("run.opened.v1", "run.renewed.v1")
    assert (opened.actor, opened.on_behalf_of, opened.correlation_id) == ("a-desk", "u-dana", "r-1")


async def test_a_run_stays_with_its_agent_and_user(acme: Instance) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    with pytest.raises(Conflict):
        await acme.runs.token(MINT.model_copy(update={"user": "u-a-desk"}), by("a-desk"))
    other = AGENT.model_copy(update={"principal": "a-other"})
    await acme.handlers.register(other, by("u-dana"))
    with pytest.raises(Conflict):
        await acme.runs.token(MINT, by("a-other"))


@pytest.mark.parametrize(
    ("asker", "changed", "refused"),
    [
        ("a-unknown", {}, Unauthenticated),
        ("u-dana", {}, Forbidden),
        ("a-desk", {"user": "u-erin"}, Forbidden),
        ("a-desk", {"user": "a-desk"}, Invalid),
        ("a-desk", {"user": "dana"}, Invalid),
        ("a-desk", {"narrow": Grants(tools=("*",))}, Forbidden),
    ],
)
async def test_a_run_token_that_nobody_gets(
    acme: Instance, asker: str, changed: dict[str, object], refused: type[Problem]
) -> None:
    with pytest.raises(refused):
        await acme.runs.token(MINT.model_copy(update=changed), by(asker))
    assert await acme.types(RUN, "r-1") == []


async def test_locally_an_asserted_user_counts() -> None:
    found = instance(local=True)
    await found.handlers.register(AGENT.model_copy(update={"tenant": "acme", "users": ()}), OPERATING)
    minted = await found.runs.token(MINT.model_copy(update={"user": "u-anybody"}), by("a-desk"))
    assert RunTokenVerifier(SIGNER.public).verify(minted.token).sub == "u-anybody"


async def test_a_revoked_agent_or_user_gets_no_token(acme: Instance) -> None:
    both = {"users": ("u-dana", "u-erin"), "sponsor": "u-dana", "tenant": "acme"}
    await acme.handlers.register(AGENT.model_copy(update=both), OPERATING)
    await acme.handlers.revoke(Revoke(principal="u-erin", tenant="acme"), OPERATING)
    with pytest.raises(Forbidden, match="u-erin has been revoked"):
        await acme.runs.token(MINT.model_copy(update={"user": "u-erin"}), by("a-desk"))
    await acme.runs.token(MINT, by("a-desk"))
    await acme.handlers.revoke(Revoke(principal="a-desk", tenant="acme"), OPERATING)
    with pytest.raises(Unauthenticated):
        await acme.runs.token(MINT, by("a-desk"))


async def test_an_api_key_stands_for_its_agent_until_it_is_revoked(acme: Instance) -> None:
    issued = await acme.handlers.key(IssueApiKey(principal="a-desk", user="u-dana"), by("u-dana"))
    assert issued.key.startswith("dk_") and len(issued.key) == 46
    asked, gateway = ExchangeApiKey(key=issued.key, run="r-1"), by("svc-gateway", tenant=PLATFORM)
    exchanged = await acme.runs.exchange(asked, gateway)
    assert RunTokenVerifier(SIGNER.public).verify(exchanged.token).agent == "a-desk"
    assert await acme.types(RUN, "r-1") == ["run.opened.v1"]
    await acme.handlers.revoke_key(RevokeApiKey(principal="a-desk", id=issued.id), by("u-dana"))
    with pytest.raises(Unauthenticated):
        await acme.runs.exchange(asked, gateway)


@pytest.mark.parametrize("key", ["", "dk_", "dk_x", "\x00", "é" * 1000])
async def test_an_unknown_api_key_is_refused(acme: Instance, key: str) -> None:
    with pytest.raises(Unauthenticated):
        await acme.runs.exchange(ExchangeApiKey(key=key, run="r-1"), by("svc-gateway", tenant=PLATFORM))


async def test_an_api_key_ends_with_the_users_permission(acme: Instance) -> None:
    issued = await acme.handlers.key(IssueApiKey(principal="a-desk", user="u-dana"), by("u-dana"))
    await acme.handlers.register(AGENT.model_copy(update={"users": ()}), by("u-dana"))
    with pytest.raises(Forbidden):
        await acme.runs.exchange(ExchangeApiKey(key=issued.key, run="r-1"), by("svc-gateway", tenant=PLATFORM))


async def test_a_repeated_key_command_issues_no_second_key(acme: Instance) -> None:
    asked = IssueApiKey(principal="a-desk", user="u-dana")
    first = await acme.handlers.key(asked, by("u-dana", key="same"))
    with pytest.raises(Conflict, match=first.id):
        await acme.handlers.key(asked, by("u-dana", key="same"))
    assert (await acme.handlers.key(asked, by("u-dana", key="new"))).id != first.id


class RacingStore(MemoryEventStore):
    """Another instance registers the same agent between our reading and our writing, so many times."""

    races = 0

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        if self.races and drafts[0].type == f"principal.{Registered.KIND}":
            self.races -= 1
            other = instance(self, local=True)
            context = by("operator", tenant=PLATFORM)
            nkey = KeyPair.generate().public
            await other.handlers.register(AGENT.model_copy(update={"nkey": nkey, "tenant": "acme"}), context)
        return await super().append(stream, drafts, expected_version=expected_version, timeout_s=timeout_s)


async def test_a_race_is_decided_again() -> None:
    store = RacingStore()
    found = instance(store, local=True)
    store.races = 3
    assert (await found.handlers.register(AGENT.model_copy(update={"tenant": "acme"}), OPERATING)).nkey == DESK
    assert len(await found.types(PRINCIPAL, "a-desk")) == 4


AGAIN = ForkRun(fork=Fork(run="r-1", at=512, policies="p", policies_at=256))


async def test_a_forked_run_is_opened_by_a_developer_and_taken_up_by_its_agent(acme: Instance) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    found = await acme.runs.fork(AGAIN, by("u-dana"))
    assert (found.agent, found.user) == ("a-desk", "u-dana") and found.run != "r-1"
    assert await acme.runs.fork(AGAIN, by("u-dana")) == found
    assert await acme.types(RUN, found.run) == ["run.opened.v1"]
    token = await acme.runs.token(MintRunToken(user="u-dana", run=found.run), by("a-desk"))
    assert RunTokenVerifier(SIGNER.public).verify(token.token).fork == AGAIN.fork.model_copy(update={"root": "r-1"})
    again = await acme.runs.fork(ForkRun(fork=Fork(run=found.run, at=9)), by("u-dana", key="k2"))
    assert (again.root, found.root) == ("r-1", "r-1")
    own = await acme.runs.token(MINT, by("a-desk"))
    assert RunTokenVerifier(SIGNER.public).verify(own.token).fork is None


async def test_proposed_policies_are_for_operators_and_for_everybody_locally(acme: Instance) -> None:
    dana = Register(principal="u-dana", nkey=DESK, tenant="acme", groups=("developers",))
    await acme.handlers.register(dana, OPERATING)
    await acme.runs.token(MINT, by("a-desk"))
    with pytest.raises(Forbidden, match="not in the group 'operators'"):
        await acme.runs.fork(AGAIN, by("u-dana"))
    local = instance(local=True)
    await local.handlers.register(dana, OPERATING)
    await local.handlers.register(AGENT, by("u-dana"))
    await local.runs.token(MINT, by("a-desk"))
    assert (await local.runs.fork(AGAIN, by("u-dana"))).root == "r-1"


async def test_a_forked_run_ends_and_its_parent_does_not(acme: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    found = await acme.runs.fork(AGAIN, by("u-dana"))
    take_up, opened_s = MintRunToken(user="u-dana", run=found.run), time.time()
    monkeypatch.setattr("time.time", lambda: opened_s + 3590)
    await acme.runs.token(take_up, by("a-desk"))
    monkeypatch.setattr("time.time", lambda: opened_s + 3601)
    await acme.runs.fork(AGAIN, by("u-dana"))
    with pytest.raises(Forbidden, match="its time is over; fork again"):
        await acme.runs.token(take_up, by("a-desk"))
    assert await acme.types(RUN, found.run) == ["run.opened.v1", "run.renewed.v1"]
    await acme.runs.token(MINT, by("a-desk"))


async def test_a_forked_run_belongs_to_its_parents_user(acme: Instance) -> None:
    await acme.handlers.register(
        AGENT.model_copy(update={"users": ("u-dana", "u-erin"), "tenant": "acme", "sponsor": "u-dana"}), OPERATING
    )
    await acme.runs.token(MINT, by("a-desk"))
    found = await acme.runs.fork(AGAIN, by("u-dana"))
    with pytest.raises(Conflict):
        await acme.runs.token(MintRunToken(user="u-erin", run=found.run), by("a-desk"))


@pytest.mark.parametrize(
    ("who", "run", "problem"),
    [
        (by("u-erin"), "r-1", Forbidden),
        (by("a-desk"), "r-1", Forbidden),
        (by("u-dana"), "r-0", Invalid),
        (by("u-dana", tenant="other"), "r-1", Forbidden),
    ],
    ids=["another's agent", "the agent itself", "no such run", "another tenant's"],
)
async def test_what_may_not_be_forked_is_not(acme: Instance, who: Context, run: str, problem: type[Problem]) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    count = len([event async for event in acme.store.read_all()])
    with pytest.raises(problem):
        await acme.runs.fork(ForkRun(fork=Fork(run=run, at=1)), who)
    assert len([event async for event in acme.store.read_all()]) == count


async def test_another_tenants_run_is_not_there(acme: Instance) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    await acme.handlers.register(
        Register(principal="u-eve", nkey=DESK, tenant="other", groups=("developers", "operators")), OPERATING
    )
    with pytest.raises(Invalid, match="no run"):
        await acme.runs.fork(AGAIN, by("u-eve", tenant="other"))


async def test_the_run_of_an_agent_that_was_revoked_is_not_forked(acme: Instance) -> None:
    await acme.runs.token(MINT, by("a-desk"))
    await acme.handlers.revoke(Revoke(principal="a-desk"), by("u-dana"))
    with pytest.raises(Forbidden, match="revoked"):
        await acme.runs.fork(AGAIN, by("u-dana"))


async def test_who_lost_their_sponsor_while_identity_died_is_revoked_at_its_start(acme: Instance) -> None:
    writer = acme.handlers._writer
    gone = Revoked(tenant="acme", principal="u-dana", by="operator", reason="")
    await writer.write(StreamName("acme", PRINCIPAL, "u-dana"), lambda state: [gone], OPERATING)
    assert "principal.revoked.v1" not in await acme.types(PRINCIPAL, "a-desk")
    with pytest.raises(Unauthenticated):
        await acme.runs.token(MINT, by("a-desk"))
    async with anyio.create_task_group() as group:
        group.start_soon(revoke_orphans, writer, acme.handlers._principals)
        with anyio.fail_after(20):
            while "principal.revoked.v1" not in await acme.types(PRINCIPAL, "a-desk"):
                await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert (await acme.types(PRINCIPAL, "a-desk")).count("principal.revoked.v1") == 1


@pytest.mark.parametrize("grant", ["delegation", "token"])
async def test_a_run_goes_on_for_days_on_what_its_user_gave(
    acme: Instance, grant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, now_s = KeyPair.generate(), int(time.time())
    await acme.handlers.register(Register(principal="u-erin", nkey=keys.public, tenant="acme"), OPERATING)
    grants, until_s = Grants(tools=("refund",)), now_s + 3 * 86400
    erin = Credentials("", "acme", "u-erin", keys)
    signed = None
    if grant == "token":
        signed = erin.subject_token("a-desk", "r-long", grants=grants, until_s=until_s)
    else:
        await acme.handlers.delegate(Delegate(agent="a-desk", grants=grants, expires_s=until_s), by("u-erin"))
    mint = MintRunToken(user="u-erin", run="r-long")
    await acme.runs.token(mint.model_copy(update={"subject_token": signed}), by("a-desk"))
    monkeypatch.setattr("time.time", lambda: now_s + 2 * 86400)
    claims = RunTokenVerifier(SIGNER.public).verify((await acme.runs.token(mint, by("a-desk"))).token)
    assert (claims.sub, claims.grants) == ("u-erin", grants)
    monkeypatch.setattr("time.time", lambda: until_s)
    with pytest.raises(Forbidden):
        await acme.runs.token(mint, by("a-desk"))


def through(minted: RunToken, agent: str, key: str = "x") -> Context:
    """An agent asks with a run token."""
    context = by(agent, key=key)
    context.claims = RunTokenVerifier(SIGNER.public).verify(minted.token)
    return context


@pytest.fixture
async def erin(acme: Instance) -> Credentials:
    """A person with a key of their own, whom an agent and its helper may act for if they say so."""
    keys = KeyPair.generate()
    await acme.handlers.register(Register(principal="u-erin", nkey=keys.public, tenant="acme"), OPERATING)
    helper = Register(principal="a-helper", nkey=DESK, grants=AGENT.grants)
    await acme.handlers.register(helper, by("u-dana"))
    return Credentials("", "acme", "u-erin", keys)


async def test_nothing_is_handed_on_once_nobody_lets_the_first_agent_act(acme: Instance, erin: Credentials) -> None:
    """However fresh the token is that it is asked with: each exchange would make another one."""
    lets = Delegate(agent="a-desk", grants=Grants(tools=("refund",)), expires_s=int(time.time()) + 3600)
    await acme.handlers.delegate(lets, by("u-erin"))
    first = await acme.runs.token(MintRunToken(user="u-erin", run="first"), by("a-desk"))
    part = await acme.runs.exchange_run(ExchangeRun(agent="a-helper", run="part"), through(first, "a-desk"))
    await acme.handlers.delegate(EndDelegation(agent="a-desk"), by("u-erin", key="ended"))
    for minted, agent, other in (
        (first, "a-desk", "a-helper"),
        (part, "a-helper", "a-desk"),
        (first, "a-desk", "a-desk"),
    ):
        with pytest.raises(Forbidden, match="has not let a-desk act"):
            await acme.runs.exchange_run(ExchangeRun(agent=other, run="onward"), through(minted, agent))


async def test_what_is_handed_on_is_no_more_than_the_run_may_by_now(acme: Instance, erin: Credentials) -> None:
    lets = Delegate(agent="a-desk", grants=AGENT.grants, max_cost_usd=9, expires_s=int(time.time()) + 3600)
    await acme.handlers.delegate(lets, by("u-erin"))
    first = await acme.runs.token(MintRunToken(user="u-erin", run="first"), by("a-desk"))
    less = lets.model_copy(update={"grants": Grants(tools=("mail",)), "max_cost_usd": 2})
    await acme.handlers.delegate(less, by("u-erin", key="less"))
    part = await acme.runs.exchange_run(ExchangeRun(agent="a-helper", run="part"), through(first, "a-desk"))
    claims = RunTokenVerifier(SIGNER.public).verify(part.token)
    assert (claims.grants, [each.max_cost_usd for each in claims.ceilings]) == (less.grants, [2])


@pytest.mark.parametrize("grant", ["delegation", "token"])
async def test_no_token_outlives_what_it_is_minted_from(acme: Instance, erin: Credentials, grant: str) -> None:
    until_s = int(time.time()) + 100
    mint = MintRunToken(user="u-erin", run="short")
    if grant == "token":
        signed = erin.subject_token("a-desk", "short", grants=AGENT.grants, until_s=until_s)
        mint = mint.model_copy(update={"subject_token": signed})
    else:
        lets = Delegate(agent="a-desk", grants=AGENT.grants, expires_s=until_s)
        await acme.handlers.delegate(lets, by("u-erin"))
    first = await acme.runs.token(mint, by("a-desk"))
    part = await acme.runs.exchange_run(ExchangeRun(agent="a-helper", run="part"), through(first, "a-desk"))
    onward = await acme.runs.exchange_run(ExchangeRun(agent="a-desk", run="onward"), through(part, "a-helper"))
    for minted in (first, part, onward):
        assert RunTokenVerifier(SIGNER.public).verify(minted.token).exp == minted.expires_s == until_s


@pytest.mark.parametrize("agent", ["a-nobody", "a-gone", "u-dana", "desk", ""])
async def test_nobody_lets_an_agent_act_that_is_none(acme: Instance, erin: Credentials, agent: str) -> None:
    """A name that is mistyped is somebody else's one day."""
    gone = Register(principal="a-gone", nkey=KeyPair.generate().public, grants=AGENT.grants)
    await acme.handlers.register(gone, by("u-dana", key="gone"))
    await acme.handlers.revoke(Revoke(principal="a-gone"), by("u-dana", key="revoked"))
    lets = Delegate(agent=agent, grants=AGENT.grants, expires_s=int(time.time()) + 3600)
    with pytest.raises(Problem):
        await acme.handlers.delegate(lets, by("u-erin"))
    assert "principal.delegated.v1" not in await acme.types(PRINCIPAL, "u-erin")


@pytest.mark.parametrize("how", ["ended", "over"])
async def test_a_delegation_that_is_gone_leaves_less_and_not_more(
    acme: Instance, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its registration names them; but they have spoken for themselves."""
    expires_s = int(time.time()) + 3600
    lets = Delegate(agent="a-desk", grants=Grants(tools=("mail",)), max_cost_usd=5, expires_s=expires_s)
    await acme.handlers.delegate(lets, by("u-dana"))
    claims = RunTokenVerifier(SIGNER.public).verify((await acme.runs.token(MINT, by("a-desk"))).token)
    assert (claims.grants, [each.max_cost_usd for each in claims.ceilings]) == (lets.grants, [5])
    if how == "ended":
        await acme.handlers.delegate(EndDelegation(agent="a-desk"), by("u-dana", key="ended"))
    else:
        monkeypatch.setattr("time.time", lambda: expires_s + 1)
    for run in ("r-1", "r-2"):
        with pytest.raises(Forbidden, match="has not let a-desk act"):
            await acme.runs.token(MINT.model_copy(update={"run": run}), by("a-desk"))


async def test_whoever_hands_on_takes_no_run_of_another_agent(acme: Instance, erin: Credentials) -> None:
    """Not by its name, before that agent begins it: its parts are named within its run."""
    later = int(time.time()) + 3600
    for agent in ("a-desk", "a-helper"):
        lets = Delegate(agent=agent, grants=AGENT.grants, expires_s=later)
        await acme.handlers.delegate(lets, by("u-erin", key=agent))
    first = await acme.runs.token(MintRunToken(user="u-erin", run="first"), by("a-helper"))
    for run in ("t-17", "t-18", "first"):
        spoils = ExchangeRun(agent="a-desk", run=run, narrow=Grants())
        part = await acme.runs.exchange_run(spoils, through(first, "a-helper"))
        assert part.run not in (run, "first")
        assert (await acme.runs.exchange_run(spoils, through(first, "a-helper"))).run == part.run
        going_on = await acme.runs.token(MintRunToken(user="u-erin", run=part.run), by("a-desk"))
        assert RunTokenVerifier(SIGNER.public).verify(going_on.token).parents == ("first",)
    signed = erin.subject_token("a-desk", "t-18", grants=Grants(tools=("refund",)), until_s=later)
    for run, shown, grants in (("t-17", None, AGENT.grants), ("t-18", signed, Grants(tools=("refund",)))):
        own = await acme.runs.token(MintRunToken(user="u-erin", run=run, subject_token=shown), by("a-desk"))
        claims = RunTokenVerifier(SIGNER.public).verify(own.token)
        assert (claims.grants, claims.parents, claims.chain) == (grants, (), "a-desk")


async def test_what_the_user_signed_for_is_not_replaced(acme: Instance, erin: Credentials) -> None:
    until_s = int(time.time()) + 3600
    signed = erin.subject_token("a-desk", "asked", grants=AGENT.grants, until_s=until_s, request_digest="theirs")
    mint = MintRunToken(user="u-erin", run="asked", subject_token=signed, request_digest="another")
    with pytest.raises(Invalid, match="another request"):
        await acme.runs.token(mint, by("a-desk"))
    assert await acme.types(RUN, "asked") == []
    minted = await acme.runs.token(mint.model_copy(update={"request_digest": "theirs"}), by("a-desk"))
    assert RunTokenVerifier(SIGNER.public).verify(minted.token).request_digest == "theirs"


PAY_ADA = MintRunToken(user="u-erin", run="asked", request="Pay Ada.")


async def asked_by(found: Instance, mint: MintRunToken) -> str | None:
    """Who is said to have asked, by each token of the run."""
    goes_on = MintRunToken(user=mint.user, run=mint.run)
    tokens = [(await found.runs.token(each, by("a-desk"))).token for each in (mint, goes_on)]
    (who,) = {RunTokenVerifier(SIGNER.public).verify(token).request_from for token in tokens}
    return who


@pytest.mark.parametrize(("digest", "who"), [(digest_bytes(b"Pay Ada."), "user"), (None, "agent")], ids=["it", "none"])
async def test_a_request_is_the_users_if_they_signed_for_it(
    acme: Instance, erin: Credentials, digest: str | None, who: str
) -> None:
    until_s = int(time.time()) + 3600
    signed = erin.subject_token("a-desk", "asked", grants=AGENT.grants, until_s=until_s, request_digest=digest)
    assert await asked_by(acme, PAY_ADA.model_copy(update={"subject_token": signed})) == who


async def test_an_agent_does_not_make_what_it_has_read_its_users_request(acme: Instance, erin: Credentials) -> None:
    lets = Delegate(agent="a-desk", grants=AGENT.grants, expires_s=int(time.time()) + 3600)
    await acme.handlers.delegate(lets, by("u-erin"))
    assert await asked_by(acme, PAY_ADA) == "agent"


async def test_locally_an_agent_is_believed_what_its_user_asks() -> None:
    found = instance(local=True)
    await found.handlers.register(AGENT.model_copy(update={"tenant": "acme", "users": ()}), OPERATING)
    assert await asked_by(found, PAY_ADA) == "user"


async def test_nobody_asked_in_a_run_without_a_request(acme: Instance) -> None:
    claims = RunTokenVerifier(SIGNER.public).verify((await acme.runs.token(MINT, by("a-desk"))).token)
    assert claims.request_from is None


async def test_a_deeply_nested_token_is_one_that_does_not_hold(acme: Instance) -> None:
    deep = MINT.model_copy(update={"subject_token": f"{to_base64(HEAD)}.{to_base64(b'[' * 90_000)}.e30"})
    with pytest.raises(Unauthenticated, match="does not hold"):
        await acme.runs.token(deep, by("a-desk"))


async def test_the_users_words_are_kept_with_their_digest_and_with_no_other(acme: Instance) -> None:
    for other in ("theirs", "another"):
        with pytest.raises(Invalid, match="digests"):
            mint = MintRunToken(user="u-dana", run="worded", request="Pay Ada.", request_digest=other)
            await acme.runs.token(mint, by("a-desk"))
    minted = await acme.runs.token(MintRunToken(user="u-dana", run="worded", request="Pay Ada."), by("a-desk"))
    digest = digest_bytes(b"Pay Ada.")
    assert RunTokenVerifier(SIGNER.public).verify(minted.token).request_digest == digest
    (event,) = await acme.store.read(StreamName("acme", RUN, "worded"))
    assert b'"request":"$sealed:' in event.raw and b"Pay Ada" not in event.raw
    with pytest.raises(Conflict, match="another request_digest"):
        await acme.runs.token(MintRunToken(user="u-dana", run="worded", request="Pay Eve."), by("a-desk"))
