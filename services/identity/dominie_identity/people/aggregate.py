"""What is written when a person signs in. Pure."""

import hmac

from dominie_contracts.identity import Registered
from dominie_contracts.people import Login
from dominie_contracts.problems import Conflict, Forbidden, Unauthenticated
from dominie_contracts.token import Grants
from dominie_identity.aggregate import State
from dominie_identity.people.vouching import Person


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
