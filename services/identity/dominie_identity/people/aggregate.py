"""What is written when a person signs in, lets an agent act for them, or is erased. Pure."""

import hmac

from dominie_contracts.identity import Erase, Erased, Registered
from dominie_contracts.people import Login
from dominie_contracts.problems import Conflict, Forbidden, Invalid, Unauthenticated
from dominie_contracts.runs import Delegate, Delegated, DelegationEnded, EndDelegation
from dominie_contracts.subjects import check_principal
from dominie_contracts.token import Grants
from dominie_identity.aggregate import Caller, PrincipalEvent, State, check_names
from dominie_identity.people.vouching import Person

MAX_DELEGATION_S = 366 * 86400


def decide_sign_in(state: State, who: Person, nkey: str, *, issuer: str, login_s: int, now_s: int) -> list[Registered]:
    """Their registration, with the key that is theirs from now on; nothing where the same command is repeated.

    A name stays whose it was: it is neither taken from somebody with a key of the operator's, nor from another person
    of an issuer. The key before this one, of another machine of theirs, is taken for as long as it was to be.

    Args:
        state: The principal as it is.
        who: Whom the issuer vouches for.
        nkey: The key that they have.
        issuer: The issuer's name.
        login_s: For how long.
        now_s: Unix time.

    Raises:
        Forbidden: They were revoked or are suspended.
        Conflict: The name is somebody else's, or the token was shown before.
    """
    check_name(state, who)
    stands = state.registered
    before = stands.login if stands is not None else None
    if who.token in state.tokens:
        same = stands is not None and before is not None and (before.token, stands.nkey) == (who.token, nkey)
        if same and state.erased is None:
            return []
        raise Conflict("this ID token was shown before; sign in again")
    login = Login(issuer=issuer, subject=who.subject, token=who.token, auth_time=who.auth_time, until_s=now_s + login_s)
    previous, previous_until_s = _previous(stands, nkey, now_s)
    registered = Registered(
        tenant=who.tenant,
        principal=who.principal,
        nkey=nkey,
        sponsor=None,
        grants=Grants(),
        users=(),
        groups=who.groups,
        by=f"issuer {issuer}",
        previous=previous,
        previous_until_s=previous_until_s,
        login=login,
    )
    return [registered]


def check_name(state: State, who: Person) -> None:
    """The name that an issuer has for somebody is theirs here, and they may come in.

    Raises:
        Forbidden: They were revoked or are suspended.
        Conflict: The name is somebody else's.
    """
    stands = state.registered
    if state.revoked:
        raise Forbidden(f"{who.principal} has been revoked for good")
    if state.suspended is not None:
        raise Forbidden(state.suspended.words)
    if stands is not None and stands.login is None:
        raise Conflict(f"{who.principal} is registered already, by {stands.by}, with a key of their own")
    if stands is not None and stands.login is not None and stands.login.subject != who.subject:
        raise Conflict(f"{who.principal} is somebody else of an issuer already")


def check_browser(state: State, who: Person, nonce: str) -> None:
    """The token was got for this nonce, by whom the name is theirs, and was shown for no key.

    Raises:
        Unauthenticated: It was got for another, or for none.
        Forbidden: They were revoked or are suspended.
        Conflict: The name is somebody else's, or the token was shown before.
    """
    if who.nonce is None or not hmac.compare_digest(who.nonce.encode(), nonce.encode()):
        raise Unauthenticated("the ID token is not of this sign-in (nonce)")
    check_name(state, who)
    if who.token in state.tokens:
        raise Conflict("this ID token was shown before; sign in again")


def _previous(stands: Registered | None, nkey: str, now_s: int) -> tuple[str | None, int]:
    """The key of another machine, and until when it is taken."""
    if stands is None or stands.login is None:
        return None, 0
    if stands.nkey == nkey:
        return stands.previous, stands.previous_until_s
    return (stands.nkey, stands.login.until_s) if stands.takes(stands.nkey, now_s) else (None, 0)


def decide_delegation(
    state: State, command: Delegate | EndDelegation, caller: Caller, *, now_s: int
) -> list[PrincipalEvent]:
    """What is written when a person lets an agent act for them, or no more; nothing where nothing changes.

    Raises:
        Invalid: It is no agent, its time is over before it begins, or it names too much.
        Forbidden: The caller is no person who stands.
    """
    if not check_principal(command.agent).startswith("a-"):
        raise Invalid(f"{command.agent!r} is no agent (a-NAME)")
    if not caller.principal.startswith("u-") or state.registered is None or state.revoked:
        raise Forbidden(f"only a registered person lets an agent act for them, not {caller.principal}")
    stands = next((each for each in state.delegations if each.agent == command.agent), None)
    if isinstance(command, EndDelegation):
        ended = DelegationEnded(tenant=caller.tenant, principal=caller.principal, agent=command.agent)
        return [] if stands is None else [ended]
    if not now_s < command.expires_s <= now_s + MAX_DELEGATION_S:
        raise Invalid(f"a delegation ends within {MAX_DELEGATION_S // 86400} days from now, not {command.expires_s}")
    check_names(command.grants.tools, command.grants.models, command.grants.namespaces)
    wanted = Delegated(tenant=caller.tenant, principal=caller.principal, **command.model_dump())
    return [] if wanted == stands else [wanted]


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
