"""What the agent and the worker of the attacks are told to do."""

from pydantic import BaseModel


class Order(BaseModel):
    """What to play."""

    suites: list[str]
    limit: int | None = None
    """So many user tasks of each suite; None: all."""
    approver: str
    """Who says yes, by name."""
    evade: bool = False
    """The attacker's arguments are written otherwise, each pair's in another way, in turn."""
