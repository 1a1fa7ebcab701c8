"""What a policy says of the people it asks: the annotations of a Cedar `forbid`.

@ask("finance")     a member of this group may say yes
@quorum("2")        so many different members have to
@four_eyes          two different people in all have to, whichever of the asked groups they are in
"""

import json
from collections.abc import Mapping

from dominie_contracts.action import Ask, Limit
from dominie_contracts.digests import digest_bytes
from dominie_kit.policy import limits

ANNOTATIONS = frozenset({"id", "why", "ask", "quorum", "four_eyes"}) | limits.ANNOTATIONS
"""What a policy may say of itself; anything else is a typing error until somebody gives it a meaning."""
MAX_QUORUM = 9


def wrong_annotations(policy: Mapping[str, object]) -> list[str]:
    """What is wrong with a parsed policy's annotations: an unknown one means nothing, so it must not look as if."""
    found = annotations_of(policy)
    problems = [f"@{name} is unknown; a policy has {_listed()}" for name in sorted(found.keys() - ANNOTATIONS)]
    problems += limits.wrong_limit(found, forbids=policy.get("effect") == "forbid")
    if "ask" not in found:
        return problems + [f"@{name} needs an @ask" for name in ("quorum", "four_eyes") if name in found]
    if policy.get("effect") != "forbid":
        problems.append("@ask stands on a permit: only a forbid can ask instead")
    if not found["ask"]:
        problems.append("@ask names no group")
    if _quorum(found) is None:
        problems.append(f"@quorum is a whole number from 1 to {MAX_QUORUM}, not {found['quorum']!r}")
    if found.get("four_eyes"):
        problems.append("@four_eyes takes no value")
    return problems


def limit_of(name: str, why: str, policy: Mapping[str, object]) -> Limit | None:
    """The limit that a parsed policy sets; None: none, also where its annotations do not hold, so that it denies."""
    return None if wrong_annotations(policy) else limits.limit_of(name, why, annotations_of(policy))


def ask_of(name: str, why: str, policy: Mapping[str, object]) -> Ask | None:
    """Whom a parsed policy asks; None: nobody, also where its annotations do not hold, so that it denies."""
    found = annotations_of(policy)
    if "ask" not in found or wrong_annotations(policy):
        return None
    return Ask(
        policy=name,
        group=found["ask"],
        why=why,
        quorum=_quorum(found) or 1,
        four_eyes="four_eyes" in found,
        digest=digest_bytes(json.dumps(policy, sort_keys=True).encode())[:32],
    )


def annotations_of(policy: Mapping[str, object]) -> dict[str, str]:
    """By name; a bare one is empty."""
    found = policy.get("annotations")
    return {name: value or "" for name, value in found.items()} if isinstance(found, dict) else {}


def _quorum(annotations: Mapping[str, str]) -> int | None:
    text = annotations.get("quorum", "1")
    return int(text) if text in map(str, range(1, MAX_QUORUM + 1)) else None


def _listed() -> str:
    return ", ".join(f"@{name}" for name in sorted(ANNOTATIONS))
