"""A person's answer to an action that waits, signed with their own key: whoever acts on it can check it themselves."""

import time
import uuid
from collections.abc import Iterable
from typing import Literal

from joserfc import jwt
from joserfc.errors import JoseError
from pydantic import ValidationError

from dominie._credentials import ALGORITHM, Credentials
from dominie.keys import public_jwk
from dominie_contracts import Unauthenticated
from dominie_contracts.approvals import ANSWER_AUDIENCE, PROOF_S, AnswerClaims


def sign_answer(
    who: Credentials, action: str, digest: str, asks: Iterable[str], decision: Literal["grant", "deny"]
) -> str:
    """Say yes or no to exactly this action, as these asks (their keys) want it, now."""
    now = int(time.time())
    claims = AnswerClaims(
        sub=who.principal,
        tenant=who.tenant,
        aud=ANSWER_AUDIENCE,
        action=action,
        digest=digest,
        asks=tuple(asks),
        decision=decision,
        auth_time=who.auth_time,
        iat=now,
        exp=now + PROOF_S,
        jti=uuid.uuid4().hex,
    )
    return jwt.encode(
        {"alg": ALGORITHM, "typ": "JWT"}, claims.model_dump(mode="json"), who.keys.jwk, algorithms=[ALGORITHM]
    )


def read_answer(proof: str, nkey: str) -> AnswerClaims:
    """What an answer's proof says, if this key signed it.

    Raises:
        Unauthenticated: It did not, or it is no such proof.
    """
    try:
        return AnswerClaims.model_validate(jwt.decode(proof, public_jwk(nkey), algorithms=[ALGORITHM]).claims)
    except (JoseError, ValidationError, ValueError) as error:
        raise Unauthenticated(f"the answer is not signed with its approver's key: {type(error).__name__}") from error
