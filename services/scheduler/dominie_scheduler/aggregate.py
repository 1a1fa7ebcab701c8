"""Who goes next: slots per model, ceilings per run, a queue by priority, then earliest deadline, then arrival. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from dominie_contracts.action import Priority
from dominie_contracts.scheduler import AskPermit, Charge, PermitGranted, PermitReleased, ReleasePermit
from dominie_contracts.token import Ceiling

ORDER: dict[Priority, int] = {"interactive": 0, "standard": 1, "background": 2}


@dataclass(frozen=True, slots=True)
class Holder:
    """A call that holds a slot, until it releases it or its lease ends (Unix time in ms)."""

    model: str
    lease_until_ms: int
    charged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call in the queue; `arrived_ms` and `until_ms` are Unix time."""

    ask: AskPermit
    arrived_ms: int
    until_ms: int
    number: int
    """The order of arrival."""
    ceilings: tuple[Ceiling, ...] = ()
    agents: Mapping[str, str] = field(default_factory=dict)
    """By run: whose it is; of the others it is the agent's that asks."""

    @property
    def charges(self) -> tuple[Charge, ...]:
        """What it is charged to."""
        return tuple(
            Charge(run=each.run, agent=self.agents.get(each.run, self.ask.agent), may_usd=each.max_cost_usd)
            for each in self.ceilings
        )

    @property
    def charged(self) -> tuple[str, ...]:
        """The runs that it is charged to."""
        return tuple(f"{self.ask.tenant}/{ceiling.run}" for ceiling in self.ceilings)

    @property
    def rank(self) -> tuple[int, int, int]:
        """Smaller goes first."""
        return ORDER[self.ask.priority], self.until_ms, self.number


@dataclass(frozen=True, slots=True)
class State:
    """Who holds a slot. The queue is no part of the record: moves in a queue are never events."""

    holders: tuple[tuple[str, Holder], ...] = ()
    spent: Mapping[str, float] = field(default_factory=dict)
    """In USD, by those runs that have a ceiling; infinite where a price was not known."""


def decide(
    state: State,
    command: AskPermit | ReleasePermit,
    *,
    now_ms: int,
    slots: int,
    waited_ms: float,
    charges: tuple[Charge, ...] = (),
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
                    charged=tuple(f"{command.tenant}/{charge.run}" for charge in charges),
                    charges=charges,
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
            holders[event.permit] = Holder(event.model, event.lease_until_ms, event.charged)
            return replace(state, holders=tuple(holders.items()))
        case PermitReleased():
            held = holders.pop(event.permit, None)
            spent = _charge(state.spent, held.charged, _cost(event)) if held else state.spent
            return replace(state, holders=tuple(holders.items()), spent=spent)
        case _:
            assert_never(event)


def exhausted(state: State, waiting: Waiting) -> str | None:
    """The run whose ceiling is reached; None where none is."""
    for ceiling, run in zip(waiting.ceilings, waiting.charged, strict=True):
        if state.spent.get(run, 0.0) >= ceiling.max_cost_usd:
            return ceiling.run
    return None


def has_room(state: State, waiting: Waiting, *, now_ms: int, reserve_usd: float) -> bool:
    """Whether it may begin beside the calls under way that are charged to the same runs.

    Nobody knows what a call will cost, so each one under way is taken to cost `reserve_usd`. One goes alone as long as
    anything is left.
    """
    for ceiling, run in zip(waiting.ceilings, waiting.charged, strict=True):
        under_way = sum(run in held.charged and held.lease_until_ms > now_ms for _, held in state.holders)
        if under_way and state.spent.get(run, 0.0) + (under_way + 1) * reserve_usd > ceiling.max_cost_usd:
            return False
    return True


def free(state: State, model: str, slots: int, *, now_ms: int) -> int:
    """How many slots of a model are free; a lease that has ended holds none."""
    taken = sum(1 for _, held in state.holders if held.model == model and held.lease_until_ms > now_ms)
    return slots - taken


def _cost(event: PermitReleased) -> float:
    """What a call cost; one that did not come about cost nothing, and one without a price nobody knows what."""
    if event.cost_usd is None:
        return 0.0 if event.input_tokens is None else math.inf
    return event.cost_usd


def _charge(spent: Mapping[str, float], runs: tuple[str, ...], usd: float) -> Mapping[str, float]:
    return {**spent, **{run: spent.get(run, 0.0) + usd for run in runs}} if runs else spent


def next_waiting(queue: list[Waiting], model: str, *, now_ms: int) -> Waiting | None:
    """The call that goes next on a model; those whose time is over are passed by."""
    able = [waiting for waiting in queue if waiting.ask.model == model and waiting.until_ms > now_ms]
    return min(able, key=lambda waiting: waiting.rank, default=None)
