"""When a person's yes counts: checked by guardrail when it is given, and again by who acts on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, JsonValue

from dominie_contracts.action import Ask, Parked
from dominie_contracts.base import Message
from dominie_contracts.digests import digest_json
from dominie_contracts.guardrail import ApprovalAnswered
from dominie_contracts.people import Login

ANSWER_AUDIENCE = "dominie-answer"
"""`aud` of the proof of an answer."""
MAX_AUTH_S = 15 * 60
"""How long ago an approver may have signed in (OpenID Connect's `auth_time`)."""
PROOF_S = 60
"""How long a proof is good for."""
LEEWAY_S = 5
"""By how much clocks may differ."""


USER = "user"
"""The group of one: the person whom a run acts for. They are asked whether it may do more in their name, and in that
alone they may answer their own agent."""


class AnswerClaims(Message):
    """What an approver signs with their own key: yes or no, to exactly this action, as these policies asked it."""

    sub: str
    tenant: str
    aud: str
    action: str
    digest: str
    asks: tuple[str, ...]
    """The keys of the asks that the approver was shown."""
    decision: Literal["grant", "deny"]
    auth_time: int
    """When the approver signed in: with a key, when it was opened. Of whom an issuer vouched for, identity knows."""
    iat: int
    exp: int
    jti: str = Field(min_length=8)


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose side an action is: none of them says yes to it, under whatever name."""

    user: str
    chain: tuple[str, ...]
    """The agents, the outermost first."""
    sponsors: frozenset[str] = frozenset()
    """Of any agent of the chain."""
    nkeys: frozenset[str] = field(default=frozenset(), repr=False)
    """The keys of all of these, but for the user's own."""
    user_answers: bool = False
    """It is about what the agent may do in the user's name: that is theirs to say, whatever others are asked."""
    user_nkeys: frozenset[str] = field(default=frozenset(), repr=False)
    """The user's keys, under which nobody else answers."""


def binding_digest(
    *,
    stream: str,
    tenant: str,
    user: str,
    chain: str,
    command: str,
    resource: str | None,
    version: str,
    arguments: dict[str, JsonValue],
    labels: dict[str, str],
    key: bytes | None = None,
) -> str:
    """What a yes is bound to, beside the asks that it names: this action alone, with exactly these arguments.

    `key` is the user's, so that the digest tells nothing of the arguments to whoever guesses them.
    """
    bound: dict[str, JsonValue] = {
        "stream": stream,
        "tenant": tenant,
        "user": user,
        "chain": chain,
        "command": command,
        "resource": resource,
        "version": version,
        "arguments": arguments,
        "labels": dict[str, JsonValue](labels),
    }
    return digest_json(bound, key=key)


def refuse_person(asker: Asker, by: str, nkey: str) -> str | None:
    """Why this person may not answer; None if they may, for the groups that they are in."""
    if not by.startswith("u-"):
        return f"{by!r} is no person"
    if (by == asker.user and not asker.user_answers) or by in asker.chain:
        return f"{by!r} asked for it"
    if by in asker.sponsors:
        return f"{by!r} is the sponsor of an agent that asked"
    if nkey in asker.nkeys or (by != asker.user and nkey in asker.user_nkeys):
        return f"{by!r} has the key of somebody who asked"
    return None


def groups_of(asker: Asker, by: str, groups: Iterable[str]) -> tuple[str, ...]:
    """Whose yes a person can give to an action: their groups'; the user their own alone, where it is asked for."""
    if by == asker.user:
        return (USER,) if asker.user_answers else ()
    return tuple(group for group in groups if group != USER)


def refuse_claims(
    claims: AnswerClaims, answer: ApprovalAnswered, *, tenant: str, login: Login | None = None
) -> str | None:
    """Why what was signed is no proof of an answer; None if it is.

    Of a person whom an issuer vouched for (`login`), it says when they signed in, and not their own program.
    """
    said = (claims.sub, claims.tenant, claims.action, claims.digest, claims.decision)
    at_s = answer.answered_ms / 1000
    if claims.aud != ANSWER_AUDIENCE or said != (answer.by, tenant, answer.action, answer.digest, answer.decision):
        return "what was signed is another answer"
    if not set(answer.asks) <= set(claims.asks):
        return "what was signed answers other policies"
    if not claims.iat - LEEWAY_S <= at_s <= min(claims.exp, claims.iat + PROOF_S) + LEEWAY_S:
        return "the answer was not signed when it was given"
    signed_in_s = claims.auth_time if login is None else min(claims.auth_time, login.auth_time)
    if not at_s - MAX_AUTH_S <= signed_in_s or not claims.auth_time <= claims.iat + LEEWAY_S:
        return f"{answer.by} signed in more than {MAX_AUTH_S // 60} minutes before"
    return None


def holds(answer: ApprovalAnswered, digest: str, *, now_ms: int) -> bool:
    """Whether an answer is a yes to this and has not lapsed."""
    return answer.decision == "grant" and answer.digest == digest and now_ms <= answer.expires_ms


def unanswered(asks: Iterable[Ask], yeses: Sequence[ApprovalAnswered]) -> tuple[Ask, ...]:
    """The asks that still want somebody's yes; `yeses` hold."""
    asks = tuple(asks)
    short = tuple(ask for ask in asks if _people(yes for yes in yeses if counts(yes, ask)) < ask.quorum)
    if short or _people(yes for yes in yeses if any(counts(yes, ask) for ask in asks)) > 1:
        return short
    return tuple(ask for ask in asks if ask.four_eyes)


def counts(yes: ApprovalAnswered, ask: Ask) -> bool:
    """Whether a yes is one to this ask: it names its policy in these words, and comes from its group."""
    return ask.key in yes.asks and ask.group in yes.groups


def _people(yeses: Iterable[ApprovalAnswered]) -> int:
    """How many people: two names with one key are one."""
    found = tuple(yeses)
    return min(len({yes.by for yes in found}), len({yes.nkey for yes in found}))


def same_asks(parked: Parked, digest: str, left: Iterable[Ask]) -> bool:
    """Whether what is left to answer is what is being asked already."""
    return parked.digest == digest and {ask.key for ask in left} <= {ask.key for ask in parked.asks}
