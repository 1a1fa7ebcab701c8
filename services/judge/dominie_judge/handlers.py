"""The judge's one command: the rules first, then, where they leave it open, the models all at once."""

import time
from collections.abc import Sequence
from typing import cast

import anyio
from pydantic import JsonValue

from dominie_contracts.action import Finished
from dominie_contracts.judge import Judged, Review, Verdict, Vote
from dominie_judge.adapters.judge import Case, Judge
from dominie_judge.aggregate import Panel, State, decide, objects
from dominie_judge.projection import Deeds
from dominie_kit import Action, Actions, Context, Outcome, Request, Work


class Handlers:
    """Answers `review`."""

    def __init__(
        self, actions: Actions, deeds: Deeds, *, rules: Sequence[Judge], models: Sequence[Judge], panel: Panel
    ) -> None:
        self._actions = actions
        self._deeds = deeds
        self._rules = rules
        self._models = models
        self._panel = panel

    async def review(self, command: Review, context: Context) -> Verdict:
        """Judge an output once; the same review asked for again has the same verdict."""
        await context.read_your_writes()

        async def judge(action: Action) -> Outcome:
            begun = time.perf_counter()
            judged = await self._judge(command, action)
            return Outcome(_finished(judged, duration_ms=(time.perf_counter() - begun) * 1000), more=(judged,))

        action = self._actions.open(context)
        request = Request(command.NAME, {"output": command.output})
        action = await self._actions.perform(action, request, None, Work(judge))
        return _verdict(action)

    async def _judge(self, command: Review, action: Action) -> Judged:
        context = action.context
        done = await self._deeds.done(context.tenant, context.run) if context.run else ()
        case = Case(command.output, done, action.id, context)
        votes = await _ask(self._rules, case)
        if not objects(votes, self._panel.certain):
            votes += await _ask(self._models, case)
        return decide(State(), command, votes=votes, panel=self._panel)[0]


async def _ask(judges: Sequence[Judge], case: Case) -> list[Vote]:
    """The votes of all, at once, in the order of the judges."""
    votes: dict[str, Vote] = {}

    async def ask(judge: Judge) -> None:
        votes[judge.name] = await judge.vote(case)

    async with anyio.create_task_group() as group:
        for judge in judges:
            group.start_soon(ask, judge)
    return [votes[judge.name] for judge in judges]


def _finished(judged: Judged, *, duration_ms: float) -> Finished:
    result: JsonValue = {"verdict": judged.verdict, "votes": [vote.model_dump() for vote in judged.votes]}
    return Finished(outcome="ok", result=result, duration_ms=round(duration_ms, 3))


def _verdict(action: Action) -> Verdict:
    """The verdict as it is recorded, of this request or of an earlier one under the same key."""
    assert action.state.finished is not None
    recorded = cast(dict[str, JsonValue], action.state.finished.result)
    return Verdict.model_validate({**recorded, "action": action.id})
