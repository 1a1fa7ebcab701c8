"""What a policy says of a limit that several calls share: the annotations of a Cedar `forbid`.

@limit("50000")     forbids what would bring the amounts of what it matches, in minor units, above this,
@calls("20")        or, instead, their number,
@per("user")        of one agent, one user, or the whole tenant,
@within("day")      in one hour, day or month (UTC)
"""

from collections.abc import Iterator, Mapping
from typing import get_args

from dominie_contracts.action import Limit

COUNTS = {"limit": "amount", "calls": "calls"}
ANNOTATIONS = frozenset({*COUNTS, "per", "within"})
PER: tuple[str, ...] = get_args(Limit.model_fields["per"].annotation)
WITHIN: tuple[str, ...] = get_args(Limit.model_fields["within"].annotation)
MAX = 2**53 - 1


def wrong_limit(found: Mapping[str, str], *, forbids: bool) -> Iterator[str]:
    """What is wrong with the annotations of a limit, where there are any."""
    named = sorted(found.keys() & ANNOTATIONS)
    counted = sorted(found.keys() & COUNTS.keys())
    if named and len(counted) != 1:
        yield f"@{named[0]} needs one of @limit and @calls"
        return
    if not named:
        return
    if not forbids:
        yield f"@{counted[0]} stands on a permit: only a forbid can limit"
    if "ask" in found:
        yield f"@{counted[0]} cannot ask: write another policy for what people may allow"
    if _whole(found[counted[0]]) is None:
        yield f"@{counted[0]} is a whole number from 0 to {MAX}, not {found[counted[0]]!r}"
    for name, words in (("per", PER), ("within", WITHIN)):
        if found.get(name) not in words:
            yield f"@{counted[0]} needs @{name}: one of {', '.join(words)}"


def limit_of(name: str, why: str, found: Mapping[str, str]) -> Limit | None:
    """The limit that a policy sets, if its annotations hold."""
    counted = next((each for each in COUNTS if each in found), None)
    if counted is None:
        return None
    most = _whole(found[counted])
    return Limit.model_validate(
        {
            "policy": name,
            "counts": COUNTS[counted],
            "most": most,
            "per": found["per"],
            "within": found["within"],
            "why": why,
        }
    )


def _whole(text: str) -> int | None:
    digits = text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0"))
    return int(text) if digits and len(text) <= len(str(MAX)) and int(text) <= MAX else None
