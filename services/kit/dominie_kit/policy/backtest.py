"""A back-test: every decision of the past made again under other policies, and what would change.

It is open-loop: what an agent would have done after another decision, nobody knows.
"""

from collections import Counter
from typing import Literal

from dominie_contracts import Message
from dominie_contracts.action import Decided, Decision
from dominie_contracts.audit import Entry
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.recorded import Lost, Recorded, again, changed


class Change(Message):
    """One action that would have gone otherwise."""

    position: int
    action: str
    time: str
    agent: str
    user: str | None
    tool: str
    amount: int | None
    was: Decision
    now: Decision
    policies: tuple[str, ...]
    """By which it would."""
    why: tuple[str, ...]


class Row(Message):
    """The changes of one kind, of one tool for one user."""

    tool: str
    user: str | None
    was: Decision
    now: Decision
    actions: int
    amount: int
    """All amounts together."""
    largest: int | None


class Report(Message):
    """What a back-test found."""

    decisions: int
    same: int
    changed: int
    undecidable: int
    undecidable_why: dict[str, int]
    open_loop: Literal[True] = True
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]
    """Each action once."""


class Backtest:
    """Takes in decisions, one after another."""

    def __init__(self, policies: Policies) -> None:
        self.decisions = self.changed = 0
        self._policies = policies
        self._lost = Counter[str]()
        self._changes: dict[str, Change] = {}

    def take(self, entry: Entry) -> None:
        """Make a decision again."""
        self.decisions += 1
        try:
            recorded = Recorded.of(entry)
            decided = again(recorded, self._policies)
        except Lost as lost:
            self._lost[str(lost)] += 1
            return
        if changed(recorded, decided):
            self.changed += 1
            self._changes[recorded.action] = _change(recorded, decided)

    @property
    def report(self) -> Report:
        """What was found so far."""
        lost = sum(self._lost.values())
        return Report(
            decisions=self.decisions,
            same=self.decisions - self.changed - lost,
            changed=self.changed,
            undecidable=lost,
            undecidable_why=dict(self._lost),
            rows=_rows(list(self._changes.values())),
            changes=tuple(self._changes.values()),
        )


def _change(recorded: Recorded, decided: Decided) -> Change:
    return Change(
        position=recorded.position,
        action=recorded.action,
        time=recorded.time,
        agent=recorded.agent,
        user=recorded.user,
        tool=recorded.question.resource,
        amount=recorded.amount,
        was=recorded.decision,
        now=decided.decision,
        policies=decided.policies,
        why=decided.why,
    )


def _rows(changes: list[Change]) -> tuple[Row, ...]:
    kinds: dict[tuple[str, str | None, Decision, Decision], list[Change]] = {}
    for change in changes:
        kinds.setdefault((change.tool, change.user, change.was, change.now), []).append(change)
    rows = [_row(kind, found) for kind, found in kinds.items()]
    return tuple(sorted(rows, key=lambda row: (-row.actions, row.tool, row.user or "")))


def _row(kind: tuple[str, str | None, Decision, Decision], found: list[Change]) -> Row:
    amounts = [change.amount for change in found if change.amount is not None]
    tool, user, was, now = kind
    return Row(
        tool=tool,
        user=user,
        was=was,
        now=now,
        actions=len(found),
        amount=sum(amounts),
        largest=max(amounts, default=None),
    )
