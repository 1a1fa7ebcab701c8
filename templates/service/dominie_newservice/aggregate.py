"""The notes of one tenant: each is kept once. Pure."""

from dataclasses import dataclass

from dominie_contracts.newservice import Note, Noted


@dataclass(frozen=True, slots=True)
class State:
    """What is kept, oldest first."""

    texts: tuple[str, ...] = ()


def decide(state: State, command: Note) -> list[Noted]:
    """What is written: the note, or nothing if it is kept already."""
    return [] if command.text in state.texts else [Noted(text=command.text)]


def evolve(state: State, event: Noted) -> State:
    """The notes after one more event; two who kept the same at once kept it once."""
    return state if event.text in state.texts else State((*state.texts, event.text))
