"""Who goes next: slots per model, and a queue by priority, then earliest deadline, then arrival. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from dominie_contracts.action import Priority
from dominie_contracts.scheduler import AskPermit, PermitGranted, PermitReleased, ReleasePermit

ORDER: dict[Priority, int] = {"interactive": 0, "standard": 1, "background": 2}


@dataclass(frozen=True, slots=True)
class Holder:
    """A call that holds a slot, until it releases it or its lease ends (Unix time in ms)."""

    model: str
    lease_until_ms: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call in the queue; `arrived_ms` and `until_ms` are Unix time."""

    ask: AskPermit
    arrived_ms: int
    until_ms: int
    number: int
    """The order of arrival."""

    @property
    def rank(self) -> tuple[int, int, int]:
        """Smaller goes first."""
        return ORDER[self.ask.priority], self.until_ms, self.number


@dataclass(frozen=True, slots=True)
class State:
    """Who holds a slot. The queue is no part of the record: moves in a queue are never events."""

    holders: tuple[tuple[str, Holder], ...] = ()


def decide(
    state: State, command: AskPermit | ReleasePermit, *, now_ms: int, slots: int, waited_ms: float
) -> list[PermitGranted | PermitReleased]:
    """What is written: a grant where a slot is free, nothing where none is; a release of what is held."""
    holders = dict(state.holders)
    match command:
        case AskPermit():
            held = holders.get(command.permit)
            if (held and held.lease_until_ms > now_ms) or free(state, command.model, slots, now_ms=now_ms) < 1:
                return []
            until_ms = now_ms + command.lease_ms
            return [
                PermitGranted(
                    permit=command.permit,
                    model=command.model,
                    agent=command.agent,
                    priority=command.priority,
                    waited_ms=waited_ms,
                    lease_until_ms=until_ms,
                )
            ]
        case ReleasePermit():
            held = holders.get(command.permit)
            if held is None:
                return []
            return [
                PermitReleased(
                    permit=command.permit,
                    model=held.model,
                    input_tokens=command.input_tokens,
                    output_tokens=command.output_tokens,
                    cost_usd=command.cost_usd,
                )
            ]
        case _:
            assert_never(command)


def evolve(state: State, event: PermitGranted | PermitReleased) -> State:
    """The holders after one more event."""
    holders = dict(state.holders)
    match event:
        case PermitGranted():
            holders[event.permit] = Holder(event.model, event.lease_until_ms)
        case PermitReleased():
            holders.pop(event.permit, None)
        case _:
            assert_never(event)
    return replace(state, holders=tuple(holders.items()))


def free(state: State, model: str, slots: int, *, now_ms: int) -> int:
    """How many slots of a model are free; a lease that has ended holds none."""
    taken = sum(1 for _, held in state.holders if held.model == model and held.lease_until_ms > now_ms)
    return slots - taken


def next_waiting(queue: list[Waiting], model: str, *, now_ms: int) -> Waiting | None:
    """The call that goes next on a model; those whose time is over are passed by."""
    able = [waiting for waiting in queue if waiting.ask.model == model and waiting.until_ms > now_ms]
    return min(able, key=lambda waiting: waiting.rank, default=None)
