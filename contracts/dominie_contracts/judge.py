"""Commands and events of the judge. Category `judge`, an action's trail and the verdict."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dominie_contracts.action import TRAIL
from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.personal import PERSONAL

JUDGE = "judge"


class Review(Command):
    """Judge a run's final output before the user sees it."""

    NAME: ClassVar[str] = "judge.review"
    output: str = Field(max_length=100_000)


class Vote(Message):
    """What one judge says; a judge that cannot tell abstains."""

    judge: str
    vote: Literal["accept", "reject", "abstain"]
    why: Annotated[str, PERSONAL] = ""


class Judged(Payload):
    """Written by the judge with its verdict."""

    KIND: ClassVar[str] = "judged.v1"
    verdict: Literal["released", "held"]
    votes: tuple[Vote, ...]
    quorum: int
    output_digest: Annotated[str, PERSONAL]


class Verdict(Message):
    """Reply to `Review`."""

    verdict: Literal["released", "held"]
    votes: tuple[Vote, ...]
    action: str


COMMANDS: tuple[type[Command], ...] = (Review,)
EVENTS: dict[str, tuple[type[Payload], ...]] = {JUDGE: (*TRAIL, Judged)}
