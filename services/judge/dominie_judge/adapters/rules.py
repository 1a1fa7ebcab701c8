"""The rules: judges that need nothing but the output and what the run did."""

from typing import ClassVar, Literal

from dominie_contracts.judge import Vote
from dominie_judge.adapters.judge import Case
from dominie_judge.adapters.leaks import secret
from dominie_judge.adapters.money import promised, unkept

Says = tuple[Literal["accept", "reject", "abstain"], str]


class Rule:
    """A judge that is pure, answers at once, and is sure of its objections."""

    name: ClassVar[str]

    async def vote(self, case: Case) -> Vote:
        """What the rule says, signed."""
        says, why = self.apply(case)
        return Vote(judge=self.name, vote=says, why=why)

    def apply(self, case: Case) -> Says:
        """What it says, and why."""
        raise NotImplementedError


class Empty(Rule):
    """Objects to an answer that says nothing."""

    name = "empty"

    def apply(self, case: Case) -> Says:
        """Objects to blank text; else it has nothing to say."""
        return ("abstain", "") if case.output.strip() else ("reject", "the answer is blank")


class Secrets(Rule):
    """Objects to an answer that shows a key, a token or a card number."""

    name = "secrets"

    def apply(self, case: Case) -> Says:
        """Objects to what looks like a secret; that nothing was found proves nothing."""
        kind = secret(case.output)
        return ("reject", f"the answer seems to hold {kind}") if kind else ("abstain", "")


class Promises(Rule):
    """Objects to an answer that promises more money than the run's tools moved."""

    name = "promises"

    def apply(self, case: Case) -> Says:
        """Compares the amounts in the answer with those of the tool calls that came true."""
        amounts = promised(case.output)
        if not amounts:
            return "abstain", ""
        beyond = unkept(amounts, case.done)
        if beyond is None:
            return "accept", f"{_money(*amounts)} promised, {_money(*case.done)} done"
        return "reject", f"{_money(beyond)} promised, but this run's tools did {_money(*case.done)}"


RULES: tuple[Rule, ...] = (Empty(), Secrets(), Promises())


def _money(*cents: int) -> str:
    return " + ".join(f"{amount / 100:,.2f}" for amount in cents) or "nothing"
