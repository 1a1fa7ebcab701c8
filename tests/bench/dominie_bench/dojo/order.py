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
    """What an attacker wants is written otherwise: each pair is played with its arguments so, and with its page so."""
    planner: str | None = None
    """The model that writes a plan for each user task; then all is played again, held to it."""
