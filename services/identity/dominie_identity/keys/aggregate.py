"""What is written when keys of the deployment take the place of others. Pure."""

from collections.abc import Callable

from dominie_contracts.keys import KeyEntry, KeysChanged, RotateKeys
from dominie_contracts.problems import Conflict
from dominie_contracts.rights import OPERATOR

LEAD_S = 5
"""So long everybody knows a new signer before it signs."""


def decide_keys(
    stands: tuple[KeyEntry, ...], command: RotateKeys, *, now_s: int, kid: Callable[[str], str]
) -> list[KeysChanged]:
    """What is written when keys of the deployment take the place of others; nothing where they have.

    Args:
        stands: Those that are taken, by the last such event.
        command: What is asked.
        now_s: Unix time.
        kid: The id of a public key.

    Raises:
        Conflict: One of them was a key before, or takes the place of one that is not there.
    """
    found = tuple(each for each in stands if each.until_s is None or each.until_s > now_s)
    replaced = []
    for key in command.keys:
        from_s = now_s + (LEAD_S if key.use == "signer" else 0)
        wanted = KeyEntry(use=key.use, name=key.name, nkey=key.nkey, kid=kid(key.nkey), from_s=from_s)
        before = wanted.model_copy(update={"nkey": key.previous, "kid": kid(key.previous), "from_s": 0})
        then = _replaced(found, before, wanted, from_s + command.overlap_s)
        if then != found:
            replaced.append(key)
        found = then
    return [KeysChanged(keys=found, by=OPERATOR, replaced=tuple(replaced))] if replaced else []


def _replaced(stands: tuple[KeyEntry, ...], before: KeyEntry, wanted: KeyEntry, until_s: int) -> tuple[KeyEntry, ...]:
    place = (wanted.use, wanted.name)
    last = next((each for each in stands if (each.use, each.name) == place and each.until_s is None), before)
    if last.nkey == wanted.nkey:
        return stands
    if any(each.nkey == wanted.nkey for each in (before, *stands)):
        raise Conflict(f"{wanted.nkey} is or was a key; make a new one")
    if wanted.use == "signer" and last.nkey != before.nkey:
        raise Conflict(f"{wanted.name} has another key than {before.nkey}: somebody else has rotated it")
    others = tuple(each for each in stands if each != last)
    return (*others, last.model_copy(update={"until_s": until_s}), wanted)
