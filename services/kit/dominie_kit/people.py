"""The people of local development: a developer whose key is in the project, an approver whose key is not."""

import anyio

from dominie_contracts import Unavailable
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.rights import AUDITORS, DEVELOPERS, PRIVACY
from dominie_kit.operator import Operator, operator
from dominie_kit.state import DEVELOPER, TENANT, StateFolder

APPROVERS: dict[str, tuple[str, ...]] = {"u-finance": ("finance", "owners"), "u-privacy": (PRIVACY,)}
_PAUSE_S = 0.1


async def register_people(nats_url: str, state: StateFolder) -> None:
    """Register the developer and the approvers; doing it again changes nothing."""
    keys = state.keys()
    people: dict[str, tuple[str, tuple[str, ...]]] = {DEVELOPER: (state.developer().public, (DEVELOPERS, AUDITORS))}
    for principal, groups in APPROVERS.items():
        people[principal] = (keys.person(principal, create=True).public, groups)
    async with operator(nats_url, keys) as asking:
        for principal, (nkey, groups) in people.items():
            await _register(asking, Register(principal=principal, nkey=nkey, groups=groups, tenant=TENANT))


async def _register(asking: Operator, command: Register) -> None:
    while True:
        try:
            await asking.ask(command, PrincipalView)
            return
        except Unavailable:  # identity was just started again; the caller has a deadline
            await anyio.sleep(_PAUSE_S)
