"""A verdict from votes. Pure.

Rules are *certain*: one objection holds an output back. Models are not: their objections count together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from dominie_contracts.digests import digest_bytes
from dominie_contracts.judge import Judged, Review, Vote

Ruling = Literal["released", "held"]


@dataclass(frozen=True, slots=True)
class Panel:
    """How votes become a verdict."""

    certain: frozenset[str] = frozenset()
    """The judges whose objection alone decides."""
    quorum: int = 1
    on_abstention: Literal["release", "hold"] = "release"


@dataclass(frozen=True, slots=True)
class State:
    """One review: not judged yet, or judged for good."""

    judged: Judged | None = None


def decide(state: State, command: Review, *, votes: Sequence[Vote], panel: Panel) -> list[Judged]:
    """What is written: the verdict, once."""
    if state.judged is not None:
        return []
    return [
        Judged(
            verdict=rule(votes, panel),
            votes=tuple(votes),
            quorum=panel.quorum,
            output_digest=digest_bytes(command.output.encode(errors="surrogatepass")),
        )
    ]


def evolve(state: State, event: Judged) -> State:
    """The review after its verdict; the first one stands."""
    return state if state.judged is not None else State(event)


def rule(votes: Sequence[Vote], panel: Panel) -> Ruling:
    """Hold or release.

    Held where a certain judge objects; else where the objections reach the quorum, or are all that was said; where
    everybody abstains, `on_abstention` says.
    """
    if objects(votes, panel.certain):
        return "held"
    spoke = [vote for vote in votes if vote.vote != "abstain"]
    if not spoke:
        return "released" if panel.on_abstention == "release" else "held"
    objections = sum(1 for vote in spoke if vote.vote == "reject")
    return "held" if objections >= min(panel.quorum, len(spoke)) else "released"


def objects(votes: Sequence[Vote], certain: Collection[str]) -> bool:
    """Whether a certain judge says no, so that nobody else need be asked."""
    return any(vote.vote == "reject" and vote.judge in certain for vote in votes)
