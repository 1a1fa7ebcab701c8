"""When a person's yes counts: checked by guardrail when it is given, and again by who acts on it."""

from collections.abc import Sequence

from pydantic import JsonValue

from dominie_contracts.action import Parked
from dominie_contracts.digests import digest_json
from dominie_contracts.guardrail import ApprovalAnswered


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
    asks: Sequence[str],
    key: bytes | None = None,
) -> str:
    """What a yes is bound to: this action alone, with exactly these arguments, for exactly these asks.

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
        "asks": list[JsonValue](sorted(asks)),
    }
    return digest_json(bound, key=key)


def refuse_approver(
    parked: Parked, *, by: str, groups: Sequence[str], user: str, chain: str, sponsor: str | None
) -> str | None:
    """Why this person may not answer; None if they may.

    An approver is a person, in every group that was asked, and neither the user, an agent of the chain, nor the
    agent's sponsor.
    """
    missing = sorted({ask.group for ask in parked.asks} - set(groups))
    if not by.startswith("u-"):
        return f"{by!r} is no person"
    if by == user or by in chain.split():
        return f"{by!r} asked for it"
    if by == sponsor:
        return f"{by!r} is the sponsor of the agent that asked"
    if missing:
        return f"{by!r} is not in {', '.join(missing)}"
    return None


def refuse_answer(parked: Parked, answer: ApprovalAnswered, *, now_ms: int) -> str | None:
    """Why a recorded yes does not lift this action's asks; None if it does."""
    if answer.decision != "grant":
        return f"{answer.by} said no" + (f": {answer.note}" if answer.note else "")
    if answer.digest != parked.digest:
        return "the yes was for something else"
    if now_ms > min(parked.expires_ms, answer.expires_ms):
        return "the yes has expired"
    return None
