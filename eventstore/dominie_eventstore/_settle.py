"""Whose events are these? How an append is decided that met others' events, or lost its acknowledgement."""

from collections.abc import Sequence

from dominie_contracts.envelope import Draft, Recorded
from dominie_eventstore._errors import WrongExpectedVersion
from dominie_eventstore._port import Appended


def settled(name: str, drafts: Sequence[Draft], expected: int, found: Sequence[Recorded]) -> Appended:
    """The outcome of an append after whose expected version events were `found` (at least one).

    Raises:
        WrongExpectedVersion: They are somebody else's.
    """
    own = tuple(found[: len(drafts)])
    if [event.envelope.id for event in own] != [draft.id for draft in drafts]:
        raise WrongExpectedVersion(name, expected=expected, actual=found[-1].envelope.version)
    return Appended(own[-1].position, own[-1].envelope.version, lambda: own)
