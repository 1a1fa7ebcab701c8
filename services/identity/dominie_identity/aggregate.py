"""Who may be registered, revoked and stood for, and whom a run belongs to. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from dominie_contracts.identity import (
    Erase,
    Erased,
    IssueApiKey,
    KeyIssued,
    KeyRevoked,
    Register,
    Registered,
    Resume,
    Resumed,
    Revoke,
    RevokeApiKey,
    Revoked,
    RunOpened,
    RunRenewed,
    Suspend,
    Suspended,
)
from dominie_contracts.problems import Conflict, Forbidden, Invalid
from dominie_contracts.rights import DEVELOPERS, OPERATOR, OPERATORS
from dominie_contracts.subjects import PLATFORM, check_principal, check_tenant
from dominie_contracts.token import EVERYTHING, Fork, Grants

MAX_NAMES = 1000
"""Tools, models, namespaces, users or groups of one registration: the broker is told each one."""
MAX_NAME_CHARS = 200
MAX_REASON_CHARS = 500

PrincipalCommand = Register | Revoke | Suspend | Resume | IssueApiKey | RevokeApiKey
PrincipalEvent = Registered | Revoked | Suspended | Resumed | KeyIssued | KeyRevoked | Erased
RunEvent = RunOpened | RunRenewed


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
    version: int = 0


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
    named = command.tenant if isinstance(command, Register | Revoke | Suspend | Resume) else None
    if caller.is_operator:
        if named is None:
            raise Invalid("name the tenant")
        return check_tenant(named), principal
    if named not in (None, caller.tenant):
        raise Forbidden(f"only the operator names a tenant; yours is {caller.tenant!r}")
    return check_tenant(caller.tenant), principal


def decide(
    state: State, command: PrincipalCommand, caller: Caller, *, local: bool = False, new_key: NewKey | None = None
) -> list[PrincipalEvent]:
    """What is written for a command about one principal; nothing where nothing changes.

    Args:
        state: The principal as it is.
        command: What is asked.
        caller: Who asks.
        local: Local development: an agent may act for anybody.
        new_key: For `IssueApiKey` alone.

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
            return _issue(state, command, caller, local=local, new_key=new_key)
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


def decide_erasure(state: State, command: Erase, keys: tuple[str, ...]) -> list[PrincipalEvent]:
    """What is written when a person is erased, who has these keys; nothing where it was written of all of them.

    Raises:
        Invalid: It is no person, or one of whom nothing was ever written.
    """
    if not check_principal(command.principal).startswith("u-"):
        raise Invalid(f"{command.principal!r} is no person (u-NAME)")
    before = state.erased.keys if state.erased is not None else ()
    if state.erased is not None and set(keys) <= set(before):
        return []
    if not keys and state.registered is None:
        raise Invalid(f"nothing was ever written for {command.principal!r}")
    return [Erased(tenant=command.tenant, principal=command.principal, keys=(*before, *keys), by=command.by)]


def evolve(state: State, event: PrincipalEvent, *, position: int = 0) -> State:
    """The principal after one more event, which stands at a position of the log."""
    state = replace(state, version=state.version + 1)
    match event:
        case Registered():
            return replace(state, registered=event, erased=None)
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
        case _:
            assert_never(event)


def acts_for(registered: Registered, user: str, *, local: bool) -> bool:
    """Whether an agent may act for a user: one who let it, its own service user, or locally anybody."""
    return local or user in registered.users or user == service_user(registered.principal)


def narrowed(grants: Grants, narrow: Grants | None) -> Grants:
    """The grants of a run token: the agent's own, or less.

    Raises:
        Forbidden: More was asked for.
    """
    if narrow is None:
        return grants
    for kind in ("tools", "models", "namespaces"):
        more = [name for name in getattr(narrow, kind) if not grants.allow(kind, name)]
        if more:
            raise Forbidden(f"a run token only narrows: {kind} {more[0]!r} is not granted")
    return narrow


@dataclass(frozen=True, slots=True)
class Run:
    """One run: it belongs to one agent and one user."""

    opened: RunOpened | None = None
    version: int = 0


def decide_run(run: Run, wanted: RunOpened, *, now_s: int) -> RunEvent:
    """What is written when a run token is minted: `opened` for the first, `renewed` for each further one.

    Raises:
        Conflict: The run is another agent's or another user's.
        Forbidden: It was forked, and has ended.
    """
    if run.opened is None:
        return wanted
    if (run.opened.agent, run.opened.user) != (wanted.agent, wanted.user):
        raise Conflict(f"run {wanted.run!r} belongs to another agent or user; use another run id")
    if run.opened.fork is not None and now_s >= run.opened.expires_s:
        raise Forbidden(f"run {wanted.run!r} was forked, and its time is over; fork again")
    return RunRenewed(run=wanted.run, agent=wanted.agent, user=wanted.user, expires_s=wanted.expires_s)


def decide_fork(
    parent: Run, fork: Fork, agent: Registered | None, caller: Caller, *, run: str, expires_s: int, local: bool = False
) -> RunOpened:
    """What is written when a run is forked: another run of the same agent for the same user, until a time.

    What it goes on with is real. So outside local development whoever forks under proposed policies needs the same
    group as whoever proposes them: they may have been proposed for something else.

    Raises:
        Invalid: There is no such run.
        Forbidden: The caller does not answer for its agent, or may not choose policies; or that may not act any more.
    """
    needed = (DEVELOPERS,) if local or fork.policies is None else (DEVELOPERS, OPERATORS)
    if missing := [group for group in needed if group not in caller.groups]:
        raise Forbidden(f"{caller.principal} is not in the group {missing[0]!r}")
    if parent.opened is None:
        raise Invalid(f"no run {fork.run!r} is on record; `dominie ps` shows the latest", run=fork.run)
    if agent is None:
        raise Forbidden(f"{parent.opened.agent} is not registered any more, or was revoked")
    if agent.sponsor != caller.principal:
        raise Forbidden(f"{agent.principal} is not yours: its sponsor is {agent.sponsor or OPERATOR}")
    line = parent.opened.fork
    fork = fork.model_copy(update={"root": line.root if line else fork.run})
    return parent.opened.model_copy(update={"run": run, "grants": agent.grants, "expires_s": expires_s, "fork": fork})


def evolve_run(run: Run, event: RunEvent) -> Run:
    """The run after one more event."""
    opened = event if isinstance(event, RunOpened) else run.opened
    return Run(opened, run.version + 1)


def _register(state: State, command: Register, caller: Caller, tenant: str, *, local: bool) -> list[PrincipalEvent]:
    _check_registration(command)
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
    same = stands is not None and stands.model_copy(update={"by": wanted.by}) == wanted
    return [] if same and state.erased is None else [wanted]


def _check_registration(command: Register) -> None:
    """What nobody may register.

    Raises:
        Invalid: It is that.
    """
    principal, grants = command.principal, command.grants
    lists = (grants.tools, grants.models, grants.namespaces, command.users, command.groups)
    if any(len(names) > MAX_NAMES for names in lists):
        raise Invalid(
            f"a registration names at most {MAX_NAMES} of each kind; grant {EVERYTHING!r}, or register another"
        )
    if any(not 1 <= len(name) <= MAX_NAME_CHARS or name == PLATFORM for names in lists for name in names):
        raise Invalid(f"a name has 1 to {MAX_NAME_CHARS} characters and is not {PLATFORM!r}")
    for person in (*command.users, *(() if command.sponsor is None else (command.sponsor,))):
        if not check_principal(person).startswith("u-"):
            raise Invalid(f"{person!r} is no person (u-NAME)")
    if principal.startswith(("u-a-", "u-w-")):
        raise Invalid(f"{principal!r} would be the service user of {principal[2:]!r}; use another name")
    if command.groups and not principal.startswith("u-"):
        raise Invalid("groups are a person's; grant an agent tools, models and namespaces")
    if command.users and not principal.startswith("a-"):
        raise Invalid("only an agent acts for users")


def _check_developer(state: State, command: Register, caller: Caller, *, local: bool) -> None:
    if command.principal.startswith("u-"):
        raise Forbidden("only the operator registers people")
    if command.sponsor not in (None, caller.principal):
        raise Forbidden(f"you answer for what you register: the sponsor is {caller.principal}")
    if state.registered is not None:
        _own(state, command.principal, caller)
    if not local and any(user != caller.principal for user in command.users):
        raise Forbidden("a person lets an agent act for them; you can only name yourself, or ask the operator")


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
    state: State, command: IssueApiKey, caller: Caller, *, local: bool, new_key: NewKey | None
) -> list[PrincipalEvent]:
    registered = _own(state, command.principal, caller)
    if state.revoked:
        raise Conflict(f"{command.principal} has been revoked for good")
    if not command.principal.startswith("a-"):
        raise Invalid(f"an API key stands for an agent (a-NAME), not for {command.principal!r}")
    if not check_principal(command.user).startswith("u-") or not acts_for(registered, command.user, local=local):
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
