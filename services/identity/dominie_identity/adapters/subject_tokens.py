"""What a user signs so that an agent may act for them in one run (RFC 8693's subject token)."""

import json

from joserfc import jws, jwt
from joserfc.errors import JoseError
from pydantic import ValidationError

from dominie.keys import public_jwk
from dominie_contracts import Forbidden, Unauthenticated
from dominie_contracts.identity import Registered
from dominie_contracts.runs import MintRunToken
from dominie_contracts.token import MAX_SUBJECT_TOKEN_S, SUBJECT_AUDIENCE, SubjectClaims
from dominie_identity.projection import Principals
from dominie_kit.edge.run_tokens import ALGORITHM

LEEWAY_S = 5


class SubjectTokens:
    """Checks them against the keys of registered people."""

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    def check(self, token: str, *, agent: Registered, command: MintRunToken, now_s: float) -> SubjectClaims:
        """The claims of a token that holds, and is for this agent, user and run.

        Raises:
            Unauthenticated: It does not hold.
            Forbidden: It is for something else.
        """
        claimed = _claims(_unverified(token))
        person = self._principals.find(claimed.tenant, claimed.sub)
        if person is None or not person.principal.startswith("u-"):
            raise Unauthenticated(f"the subject token does not hold: {claimed.sub[:64]!r} is no person who stands")
        claims = _claims(_verified(token, person, now_s=now_s))
        _check_times(claims, now_s=now_s)
        meant = (claims.tenant, claims.sub, claims.may_act.sub, claims.run)
        if meant != (agent.tenant, command.user, agent.principal, command.run):
            raise Forbidden(f"the subject token is {claims.sub}'s for {claims.may_act.sub} in run {claims.run!r}")
        return claims


def _unverified(token: str) -> object:
    try:
        return json.loads(jws.extract_compact(token.encode()).payload)
    except (JoseError, ValueError, RecursionError) as error:
        raise _no(error) from error


def _verified(token: str, person: Registered, *, now_s: float) -> object:
    """What one of the person's keys signed: theirs, or that of another machine of theirs."""
    failed: Exception = ValueError()
    for nkey in (person.nkey, person.previous):
        if nkey is None or not person.takes(nkey, now_s):
            continue
        try:
            return jwt.decode(token, public_jwk(nkey), algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, RecursionError) as error:
            failed = error
    raise _no(failed) from failed


def _claims(found: object) -> SubjectClaims:
    try:
        return SubjectClaims.model_validate(found)
    except ValidationError as error:
        raise _no(error) from error


def _check_times(claims: SubjectClaims, *, now_s: float) -> None:
    if claims.aud != SUBJECT_AUDIENCE:
        raise Unauthenticated(f"the subject token is for another audience than {SUBJECT_AUDIENCE!r}")
    if not 0 < claims.exp - claims.iat <= MAX_SUBJECT_TOKEN_S or claims.iat > now_s + LEEWAY_S:
        raise Unauthenticated(f"a subject token lives up to {MAX_SUBJECT_TOKEN_S} s from now")
    if claims.exp + LEEWAY_S <= now_s:
        raise Unauthenticated("the subject token has expired; the user signs another")


def _no(error: Exception) -> Unauthenticated:
    return Unauthenticated(f"the subject token does not hold: {type(error).__name__}")
