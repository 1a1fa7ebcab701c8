"""What policies are asked when a person endorses data. Pure."""

from collections.abc import Iterable

from dominie_contracts.provenance import LEVELS, Integrity
from dominie_kit.policy.question import Question
from dominie_kit.policy.shapes import ENDORSE


def endorsing(
    person: str,
    run: str,
    *,
    tenant: str,
    user: str,
    agent: str,
    groups: Iterable[str],
    was: Integrity,
    becomes: Integrity,
    scope: str,
) -> Question:
    """May this person say that data of this run are as good as that?

    A note is nobody's own: others recall it, too.
    """
    return Question(
        person,
        ENDORSE,
        "Run",
        run,
        {
            "tenant": tenant,
            "user": user,
            "agent": agent,
            "groups": [*sorted(groups)],
            "own": person == user and scope != "tenant",
            "was": LEVELS[was],
            "becomes": LEVELS[becomes],
            "scope": scope,
        },
    )
