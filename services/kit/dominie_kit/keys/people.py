"""The people of local development: a developer whose key is in the project, an approver whose key is not."""

import anyio

from dominie.keys import KeyPair
from dominie.passphrases import public_key, sealed_like
from dominie_contracts import Conflict, Unavailable
from dominie_contracts.identity import PrincipalView, Register, Rotate
from dominie_contracts.rights import AUDITORS, DEVELOPERS, PRIVACY
from dominie_kit.errors import KeyMissing
from dominie_kit.house.operator import Operator, operator
from dominie_kit.house.state import DEVELOPER, TENANT, StateFolder
from dominie_kit.keys.files import move, write_once, writing
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.keys.replacing import Rotation

APPROVERS: dict[str, tuple[str, ...]] = {"u-finance": ("finance", "owners"), "u-privacy": (PRIVACY,)}
_PAUSE_S = 0.1


async def register_people(nats_url: str, state: StateFolder) -> None:
    """Register the developer and the approvers; doing it again changes nothing."""
    keys = state.keys()
    people: dict[str, tuple[str, tuple[str, ...]]] = {DEVELOPER: (state.developer().public, (DEVELOPERS, AUDITORS))}
    for principal, groups in APPROVERS.items():
        people[principal] = (keys.person_nkey(principal), groups)
    async with operator(nats_url, keys) as asking:
        for principal, (nkey, groups) in people.items():
            await _register(asking, Register(principal=principal, nkey=nkey, groups=groups, tenant=TENANT))


async def rotate_person(
    asking: Operator, state: StateFolder, keys: KeyFolder, principal: str, *, overlap_s: int
) -> PrincipalView:
    """Give a person another key, in the file of the one before; the next one is kept beside it until identity has it.

    Raises:
        KeyMissing: There is no such key here.
        KeysUnwritten: There is no room for another one.
        Problem: Identity refuses, or does not answer; the key stays.
    """
    path = state.path / "dev.seed" if principal == DEVELOPER else keys.person_file(principal)
    if not path.exists():
        raise KeyMissing(path)
    next_ = path.with_suffix(".next")
    with Rotation(keys).lock():
        with writing(path.parent):
            write_once(next_, sealed_like(path, KeyPair.generate()))
        command = Rotate(principal=principal, nkey=public_key(next_), tenant=TENANT, overlap_s=overlap_s)
        try:
            found = await asking.ask(command, PrincipalView)
        except Conflict:
            next_.unlink()  # it was theirs once, and is not now
            raise
        with writing(path.parent):
            move(next_, path)
    return found


async def _register(asking: Operator, command: Register) -> None:
    while True:
        try:
            await asking.ask(command, PrincipalView)
            return
        except Unavailable:  # identity was just started again; the caller has a deadline
            await anyio.sleep(_PAUSE_S)
