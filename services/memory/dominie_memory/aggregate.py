"""What is kept: a memory in a namespace, or a turn of a session. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from dominie_contracts import Invalid
from dominie_contracts.endorsing import ENDORSEMENT, Endorsed
from dominie_contracts.memory import MEMORY, AddTurn, Remember, Remembered, TurnAdded
from dominie_contracts.provenance import Label, bounded, join
from dominie_contracts.seen import MADE

PRIVATE = "user"
"""The namespace that each user has of their own; every other one is shared by whoever is granted it in the tenant."""
Scope = tuple[str, str]
"""What a reader sees: a namespace or a session, and whose."""
_NAMESPACE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")


PLATFORMS = Label(integrity="platform")
"""Of what memory itself says."""


@dataclass(frozen=True, slots=True)
class State:
    """One action of memory: nothing is kept yet, or one text is, for good."""

    kept: Remembered | TurnAdded | None = None


def decide(
    state: State, command: Remember | AddTurn, *, id: str, user: str, session: str | None = None, label: Label = MADE
) -> list[Remembered | TurnAdded]:
    """What is written: the text that is kept, once.

    Raises:
        Invalid: The text is blank, the namespace cannot be one, or a turn has no session.
    """
    text = _text(command.text)
    if state.kept is not None:
        return []
    match command:
        case Remember():
            namespace = check_namespace(command.namespace)
            return [Remembered(id=id, namespace=namespace, subject=user, text=text, label=label)]
        case AddTurn():
            session = check_session(session)
            return [TurnAdded(id=id, session=session, subject=user, role=command.role, text=text, label=label)]
        case _:
            assert_never(command)


def evolve(state: State, event: Remembered | TurnAdded) -> State:
    """The action after one more event; what is kept first stands."""
    return state if state.kept is not None else State(event)


def label_of(kept: Remembered | TurnAdded) -> Label:
    """What a kept text was made from."""
    return kept.label or Label(integrity="untrusted")


def found_label(kept: Iterable[Remembered | TurnAdded]) -> Label:
    """Of texts that are found together: as good as the worst, and made from them; that there are none, memory says."""
    texts = tuple(kept)
    labels = [label_of(each) for each in texts]
    whole = join(labels) if texts else PLATFORMS
    endorsed = (source for label in labels for source in label.sources if source.startswith(f"{ENDORSEMENT}:"))
    return whole.model_copy(update={"sources": bounded((*endorsed, *(f"{MEMORY}:{each.id}" for each in texts)))})


def as_endorsed(kept: Remembered, endorsed: Iterable[Endorsed]) -> Remembered:
    """A note, as good as the best that people have said of all of it."""
    labels = [
        each.label.model_copy(update={"sources": (f"{ENDORSEMENT}:{each.id}",)}) for each in endorsed if each.whole
    ]
    better = max(labels, key=lambda label: label.level, default=None)
    return kept if better is None else kept.model_copy(update={"label": better})


def check_namespace(namespace: str) -> str:
    """Return the namespace if it may be one.

    Raises:
        Invalid: It is not 1 to 64 of `[a-z0-9_.-]`, a letter first.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise Invalid(f"{namespace!r} cannot be a namespace: use 1 to 64 of [a-z0-9_.-], a letter first")
    return namespace


def check_session(session: str | None) -> str:
    """Return the session if there is one.

    Raises:
        Invalid: The run has none.
    """
    if not session:
        raise Invalid("this run belongs to no session: open it with run(session=…), then turns are kept")
    return session


def memory_scope(namespace: str, user: str) -> Scope:
    """Whose memories a recall sees: the user's own in the private namespace, everybody's in another."""
    return (namespace, user) if namespace == PRIVATE else (namespace, "")


def turn_scope(session: str, user: str) -> Scope:
    """Whose turns are seen: the user's in the session, whichever agent they spoke to."""
    return session, user


def _text(text: str) -> str:
    if not text.strip():
        raise Invalid("the text is blank: there is nothing to keep")
    return text
