"""The run that a program makes again, where `dominie fork` started it."""

import os
from collections.abc import Mapping

from pydantic import ValidationError

from dominie_contracts import Diverged, Invalid, Message

FORK = "DOMINIE_FORK"


class Again(Message):
    """`DOMINIE_FORK`: the run that is made again, and the new one that it is made in."""

    of: str
    run: str

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> "Again | None":
        """What the environment says; None where this program makes no run again.

        Raises:
            Invalid: It cannot be read.
        """
        text = environment.get(FORK)
        try:
            return cls.model_validate_json(text) if text else None
        except ValidationError as error:
            raise Invalid(f"{FORK} cannot be read; `dominie fork` sets it") from error

    def instead_of(self, id: str | None, *, first: bool) -> str:
        """The id of the run to open, for one that the program would open.

        Raises:
            Diverged: It would open another run than the one that is made again.
        """
        if id == self.of or (id is None and first):
            return self.run
        named = f"the run {id!r}" if id else "a second run"
        raise Diverged(
            f"the program opens {named}; only {self.of!r} is made again: have it do what that run did, and no more",
            asked=f"run {id or ''}".strip(),
            expected=[f"run {self.of}"],
        )
