"""What every judge is: an object with a name that gives one vote on a case."""

from dataclasses import dataclass
from typing import Protocol

from dominie_contracts.judge import Vote
from dominie_kit import Context


@dataclass(frozen=True, slots=True)
class Case:
    """An output to judge, and what its run really did."""

    output: str
    done: tuple[int, ...]
    """The amounts, in minor units (cents), that the run's tools were called with and that came true."""
    action: str
    """The id of the review."""
    context: Context


class Judge(Protocol):
    """One judge; it abstains where it cannot tell."""

    @property
    def name(self) -> str:
        """What its votes are signed with."""
        ...

    async def vote(self, case: Case) -> Vote:
        """Its vote; whatever goes wrong inside is an abstention."""
        ...
