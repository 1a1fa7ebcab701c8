"""What policies are told of what checks found in a call's arguments. Pure.

`found` holds the kinds, `checked` the names of the checks that looked, so that a past call can be told from one in
which nothing would have been found.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from dominie_kit.checks.check import UNCHECKED, check_of
from dominie_kit.checks.looking import ALL, Found
from dominie_kit.policy.shapes import CHECKED, FOUND


def told(found: Found, sought: frozenset[str]) -> dict[str, JsonValue]:
    """The attributes of a call's context."""
    return {FOUND: [*found.kinds], CHECKED: [*found.checked, *sorted(sought & {ALL})]}


def known(context: Mapping[str, JsonValue], sought: frozenset[str]) -> bool:
    """Whether a context says of all that is sought that it was found, or that it was not, or could not be told."""
    found, checked = context.get(FOUND), context.get(CHECKED)
    if not sought or not isinstance(found, list) or not isinstance(checked, list):
        return not sought
    return UNCHECKED in found or all(_looked(kind, checked) for kind in sought)


def _looked(kind: str, checked: list[JsonValue]) -> bool:
    return kind in (UNCHECKED, *checked) or check_of(kind) in checked
