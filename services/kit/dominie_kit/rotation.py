"""Replaces the deployment's own keys while they are used. The operator's work, where the folder of keys is."""

from dominie_contracts import Unavailable
from dominie_contracts.identity import IDENTITY, Keys, Replacement, RotateKeys
from dominie_kit.keys import KeyFolder
from dominie_kit.operator import Operator
from dominie_kit.public_keys import read_keys

_ASK_S = 10.0


async def rotate_signer(asking: Operator, keys: KeyFolder, *, overlap_s: int) -> Keys:
    """Make another signer of run tokens, and have identity sign with it in a moment, when every service takes it.

    Raises:
        Problem: Identity refuses, or does not answer.
    """
    published = (await read_keys(asking.client))["keys"]
    present = [key["nkey"] for key in published if key["for"] == "signer" and "exp" not in key]
    if len(present) != 1:
        raise Unavailable("which signer there is now is not published; is identity up to date?", retry_after_s=1)
    new = keys.new_signer()
    replaced = Replacement(use="signer", name=IDENTITY, nkey=new.public, previous=present[0])
    return await asking.ask(RotateKeys(keys=(replaced,), overlap_s=overlap_s), Keys, timeout_s=_ASK_S)
