"""The commands of newservice."""

import time

from dominie_contracts.action import Finished
from dominie_contracts.newservice import ListNotes, Note, NoteKept, Notes
from dominie_kit import Action, Actions, Context, Outcome, Request, Work
from dominie_newservice.aggregate import decide
from dominie_newservice.projection import Kept


class Handlers:
    """Answers `note` and `list`."""

    def __init__(self, actions: Actions, kept: Kept, *, list_max: int) -> None:
        self._actions = actions
        self._kept = kept
        self._list_max = list_max

    async def note(self, command: Note, context: Context) -> NoteKept:
        """Keep a note, once for its key."""
        await context.read_your_writes()
        begun = time.perf_counter()

        async def keep(action: Action) -> Outcome:
            events = decide(self._kept.of(context.tenant), command)
            duration_ms = (time.perf_counter() - begun) * 1000
            return Outcome(Finished(outcome="ok", duration_ms=round(duration_ms, 3)), tuple(events))

        action = self._actions.open(context)
        request = Request(command.NAME, {"text": command.text})
        action = await self._actions.perform(action, request, None, Work(keep))
        return NoteKept(action=action.id)

    async def list_notes(self, command: ListNotes, context: Context) -> Notes:
        """The notes that were kept last."""
        await context.read_your_writes()
        return Notes(texts=self._kept.of(context.tenant).texts[-min(command.limit, self._list_max) :])
