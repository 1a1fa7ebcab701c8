"""Who may be registered, revoked and stood for, and who lets whom act for them. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from dominie_contracts.identity import (
    Erased,
    Register,
    Registered,
    Resume,
    Resumed,
    Revoke,
    Revoked,
    Rotate,
    Suspend,
    Suspended,
)
from dominie_contracts.keys import (
    IssueApiKey,
    KeyIssued,
    KeyRevoked,
    RevokeApiKey,
)
from dominie_contracts.problems import Conflict, Forbidden, Invalid
from dominie_contracts.rights import DEVELOPERS, OPERATOR
from dominie_contracts.runs import (
    Delegated,
    DelegationEnded,
    RunEnded,
)
from dominie_contracts.spiffe import TRUST_DOMAIN, SpiffeId
from dominie_contracts.subjects import PLATFORM, check_principal, check_tenant
from dominie_contracts.token import EVERYTHING

MAX_NAMES = 1000
"""Tools, models, namespaces, users or groups of one registration: the broker is told each one."""
MAX_NAME_CHARS = 200
MAX_REASON_CHARS = 500
_KEYED = 15
"""Beside the last one; a connection that is older than them all is made anew."""

PrincipalCommand = Register | Rotate | Revoke | Suspend | Resume | IssueApiKey | RevokeApiKey
PrincipalEvent = (
    Registered
    | Revoked
    | Suspended
    | Resumed
    | KeyIssued
    | KeyRevoked
    | Erased
    | Delegated
    | DelegationEnded
    | RunEnded
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the operator, or a person of a tenant with their groups."""

    tenant: str
    principal: str
    groups: tuple[str, ...] = ()

    @property
    def is_operator(self) -> bool:
        """Whether this is the deployment's operator."""
        return (self.tenant, self.principal) == (PLATFORM, OPERATOR)


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key that was made for a command: its id, and the digest of its secret."""

    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Keyed:
    """The keys that are a principal's from a time on (Unix time), and until when each is to be."""

    from_s: float
    until_s: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class State:
    """One principal; `keys` holds the API keys that stand, `spent` the ids of all there ever were."""

    registered: Registered | None = None
    revoked: bool = False
    suspended: Suspended | None = None
    """The suspension that stands."""
    keys: tuple[KeyIssued, ...] = ()
    spent: tuple[str, ...] = ()
    erased: Erased | None = None
    """The erasure of a person who was not registered anew since."""
    erased_at: int = 0
    """Its position."""
    delegations: tuple[Delegated, ...] = ()
    """Of a person: the agents that may act for them, until a time."""
    spoken: frozenset[str] = frozenset()
    """Of a person: the agents that they have ever let act for them; they say since what those may."""
    ended: frozenset[str] = frozenset()
    """Of an agent: the runs that were ended."""
    tokens: frozenset[str] = frozenset()
    """Of a person whom an issuer vouched for: the digests of the ID tokens that were shown."""
    keyed: tuple[Keyed, ...] = ()
    """The keys that the last registrations name, the latest last."""
    version: int = 0

    @property
    def stopped(self) -> bool:
        """Whether nobody is to hear it now."""
        return self.revoked or self.suspended is not None

    def keeps(self, since_s: float, *, now_s: float) -> bool:
        """Whether a connection that was made at a time goes on, by the keys that were the principal's then.

        One of them is taken now, and none was taken away sooner than was said when the connection was made: where one
        has ended as it was to, the connection has ended with it.
        """
        if self.registered is None:
            return True
        then = next((each.until_s for each in reversed(self.keyed) if each.from_s <= since_s), ())
        taken = [nkey for nkey, _ in then if self.registered.takes(nkey, now_s)]
        return bool(taken) and all(nkey in taken or until_s <= now_s for nkey, until_s in then)


def service_user(agent: str) -> str:
    """The user an agent acts for when it acts for nobody else: `u-a-NAME`."""
    return f"u-{agent}"


def place(command: PrincipalCommand, caller: Caller) -> tuple[str, str]:
    """The tenant and principal that a command is about: the operator names the tenant, all others have their own.

    Raises:
        Invalid: One of them is none, or the operator named no tenant.
        Forbidden: The tenant is not the caller's.
    """
    principal = check_principal(command.principal)
    named = command.tenant if isinstance(command, Register | Rotate | Revoke | Suspend | Resume) else None
    if caller.is_operator:
        if named is None:
            raise Invalid("name the tenant")
        return check_tenant(named), principal
    if named not in (None, caller.tenant):
        raise Forbidden(f"only the operator names a tenant; yours is {caller.tenant!r}")
    return check_tenant(caller.tenant), principal


def decide(
    state: State,
    command: PrincipalCommand,
    caller: Caller,
    *,
    local: bool = False,
    delegated: bool = False,
    new_key: NewKey | None = None,
    now_s: int = 0,
) -> list[PrincipalEvent]:
    """What is written for a command about one principal; nothing where nothing changes.

    Args:
        state: The principal as it is.
        command: What is asked.
        caller: Who asks.
        local: Local development: an agent may act for anybody.
        delegated: For `IssueApiKey`: the user's own delegation to the agent stands.
        new_key: For `IssueApiKey` alone.
        now_s: Unix time, for `Rotate`.

    Raises:
        Forbidden: The caller may not do this.
        Invalid: The command makes no sense.
        Conflict: The principal has been revoked for good or is suspended, or the key was issued before.
    """
    tenant, _ = place(command, caller)
    if not caller.is_operator and DEVELOPERS not in caller.groups:
        raise Forbidden(f"{caller.principal} is neither the operator nor in the group {DEVELOPERS!r}")
    match command:
        case Register():
            return _register(state, command, caller, tenant, local=local)
        case Rotate():
            return _rotate(state, command, caller, now_s=now_s)
        case Revoke():
            return _revoke(state, command, caller)
        case Suspend():
            return suspend(state, _own(state, command.principal, caller), by=caller.principal, reason=command.reason)
        case Resume():
            registered = _own(state, command.principal, caller)
            if state.suspended is None:
                return []
            return [Resumed(tenant=registered.tenant, principal=command.principal, by=caller.principal)]
        case IssueApiKey():
            return _issue(state, command, caller, local=local, delegated=delegated, new_key=new_key)
        case RevokeApiKey():
            registered = _own(state, command.principal, caller)
            if not any(key.id == command.id for key in state.keys):
                return []
            return [
                KeyRevoked(tenant=registered.tenant, principal=command.principal, id=command.id, by=caller.principal)
            ]
        case _:
            assert_never(command)


def suspend(state: State, registered: Registered, *, by: str, reason: str) -> list[PrincipalEvent]:
    """What is written when a principal is suspended; nothing where it is already, or was revoked."""
    if state.revoked or state.suspended is not None:
        return []
    return [
        Suspended(tenant=registered.tenant, principal=registered.principal, by=by, reason=reason[:MAX_REASON_CHARS])
    ]


def evolve(state: State, event: PrincipalEvent, *, position: int = 0, at_s: float = 0.0) -> State:
    """The principal after one more event, which stands at a position of the log and was made at a time (Unix)."""
    state = replace(state, version=state.version + 1)
    match event:
        case Registered():
            tokens = state.tokens if event.login is None else state.tokens | {event.login.token}
            return replace(state, registered=event, erased=None, tokens=tokens, keyed=_keyed(state.keyed, event, at_s))
        case Erased():
            return replace(state, erased=event, erased_at=position)
        case Revoked():
            return replace(state, revoked=True, keys=())
        case Suspended():
            return replace(state, suspended=event)
        case Resumed():
            return replace(state, suspended=None)
        case KeyIssued():
            return replace(state, keys=(*state.keys, event), spent=(*state.spent, event.id))
        case KeyRevoked():
            return replace(state, keys=tuple(key for key in state.keys if key.id != event.id))
        case Delegated() | DelegationEnded():
            others = tuple(each for each in state.delegations if each.agent != event.agent)
            delegations = (*others, event) if isinstance(event, Delegated) else others
            return replace(state, delegations=delegations, spoken=state.spoken | {event.agent})
        case RunEnded():
            return replace(state, ended=state.ended | {event.run})
        case _:
            assert_never(event)


def _keyed(known: tuple[Keyed, ...], event: Registered, at_s: float) -> tuple[Keyed, ...]:
    """The first key of all was never another's, so it is the principal's since ever: clocks may differ."""
    until_s = tuple((nkey, event.ends_s(nkey)) for nkey in (event.nkey, event.previous) if nkey is not None)
    if known and [nkey for nkey, _ in known[-1].until_s] == [nkey for nkey, _ in until_s]:
        return (*known[:-1], Keyed(known[-1].from_s, until_s))
    return (*known[-_KEYED:], Keyed(at_s if known else 0.0, until_s))


def acts_for(registered: Registered, user: str, *, local: bool) -> bool:
    """Whether an agent's registration lets it act for a user: it names them, or they are its own service user; or
    locally anybody."""
    return local or user in registered.users or user == service_user(registered.principal)


def _register(state: State, command: Register, caller: Caller, tenant: str, *, local: bool) -> list[PrincipalEvent]:
    _check_registration(command, tenant)
    if state.revoked:
        raise Conflict(f"{command.principal} has been revoked for good; register another name")
    sponsor = command.sponsor
    if not caller.is_operator:
        sponsor = caller.principal
        _check_developer(state, command, caller, local=local)
        if state.suspended is not None:
            raise Conflict(state.suspended.words)
    wanted = Registered(
        tenant=tenant,
        principal=command.principal,
        nkey=command.nkey,
        sponsor=sponsor,
        grants=command.grants,
        users=command.users,
        groups=command.groups,
        by=caller.principal,
    )
    stands = state.registered
    if stands is not None and stands.nkey == wanted.nkey:
        overlap = {"previous": stands.previous, "previous_until_s": stands.previous_until_s}
        wanted = wanted.model_copy(update=overlap)
    same = stands is not None and stands.model_copy(update={"by": wanted.by}) == wanted
    return [] if same and state.erased is None else [wanted]


def _check_registration(command: Register, tenant: str) -> None:
    """What nobody may register.

    Raises:
        Invalid: It is that.
    """
    principal, grants = command.principal, command.grants
    check_names(grants.tools, grants.models, grants.namespaces, command.users, command.groups)
    for person in (*command.users, *(() if command.sponsor is None else (command.sponsor,))):
        if not check_principal(person).startswith("u-"):
            raise Invalid(f"{person!r} is no person (u-NAME)")
    if principal.startswith(("u-a-", "u-w-")):
        raise Invalid(f"{principal!r} would be the service user of {principal[2:]!r}; use another name")
    if command.groups and not principal.startswith("u-"):
        raise Invalid("groups are a person's; grant an agent tools, models and namespaces")
    if command.users and not principal.startswith("a-"):
        raise Invalid("only an agent acts for users")
    if principal.startswith("a-"):
        SpiffeId.of(TRUST_DOMAIN, tenant, principal)


def check_names(*lists: tuple[str, ...]) -> None:
    """See that somebody can be granted what these name.

    Raises:
        Invalid: There are too many of one kind, or one is no name.
    """
    if any(len(names) > MAX_NAMES for names in lists):
        raise Invalid(f"at most {MAX_NAMES} names of each kind; grant {EVERYTHING!r}, or register another")
    if any(not 1 <= len(name) <= MAX_NAME_CHARS or name == PLATFORM for names in lists for name in names):
        raise Invalid(f"a name has 1 to {MAX_NAME_CHARS} characters and is not {PLATFORM!r}")


def _check_developer(state: State, command: Register, caller: Caller, *, local: bool) -> None:
    if command.principal.startswith("u-"):
        raise Forbidden("only the operator registers people")
    if command.sponsor not in (None, caller.principal):
        raise Forbidden(f"you answer for what you register: the sponsor is {caller.principal}")
    if state.registered is not None:
        _own(state, command.principal, caller)
    if not local and any(user != caller.principal for user in command.users):
        raise Forbidden("a person lets an agent act for them; you can only name yourself, or ask the operator")


def _rotate(state: State, command: Rotate, caller: Caller, *, now_s: int) -> list[PrincipalEvent]:
    registered = _own(state, command.principal, caller)
    if state.revoked:
        raise Conflict(f"{command.principal} has been revoked for good")
    if command.principal.startswith("u-") and not caller.is_operator:
        raise Forbidden("the operator alone gives a person another key; what they signed is checked against it")
    if command.nkey == registered.nkey:
        return []
    if command.nkey == registered.previous:
        raise Conflict(f"{command.principal} had this key before; make a new one")
    rotated = {"nkey": command.nkey, "previous": registered.nkey, "previous_until_s": now_s + command.overlap_s}
    return [registered.model_copy(update=rotated)]  # `by` stays: who grants is not who rotates


def _revoke(state: State, command: Revoke, caller: Caller) -> list[PrincipalEvent]:
    registered = _own(state, command.principal, caller)
    if state.revoked:
        return []
    return [
        Revoked(
            tenant=registered.tenant,
            principal=command.principal,
            by=caller.principal,
            reason=command.reason[:MAX_REASON_CHARS],
        )
    ]


def _issue(
    state: State, command: IssueApiKey, caller: Caller, *, local: bool, delegated: bool, new_key: NewKey | None
) -> list[PrincipalEvent]:
    registered = _own(state, command.principal, caller)
    if state.revoked:
        raise Conflict(f"{command.principal} has been revoked for good")
    if not command.principal.startswith("a-"):
        raise Invalid(f"an API key stands for an agent (a-NAME), not for {command.principal!r}")
    stands = acts_for(registered, command.user, local=local) or delegated
    if not check_principal(command.user).startswith("u-") or not stands:
        raise Forbidden(f"{command.user!r} has not let {command.principal} act for them")
    assert new_key is not None
    if new_key.id in state.spent:
        raise Conflict(f"this key was issued before as {new_key.id!r} and is shown once; revoke it and issue another")
    return [
        KeyIssued(
            tenant=registered.tenant,
            principal=command.principal,
            id=new_key.id,
            digest=new_key.digest,
            user=command.user,
            by=caller.principal,
        )
    ]


def _own(state: State, principal: str, caller: Caller) -> Registered:
    """The registration, if the caller answers for it.

    Raises:
        Invalid: There is none.
        Forbidden: Somebody else answers for it.
    """
    if state.registered is None:
        raise Invalid(f"{principal!r} is not registered")
    if not caller.is_operator and state.registered.sponsor != caller.principal:
        raise Forbidden(f"{principal} is not yours: its sponsor is {state.registered.sponsor or OPERATOR}")
    return state.registered
