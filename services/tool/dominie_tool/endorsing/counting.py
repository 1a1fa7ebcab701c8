"""Which endorsements count where a call is decided."""

from dominie_contracts import StreamName
from dominie_contracts.action import Finished
from dominie_contracts.endorsing import Endorsed
from dominie_contracts.memory import MEMORY
from dominie_contracts.provenance import NOTHING, REST, Label
from dominie_contracts.registry import parse_event
from dominie_eventstore import EventStore
from dominie_kit import Actions, Context
from dominie_kit.context import ALL
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.given import Provenance
from dominie_kit.policy.endorsing import endorsing
from dominie_tool.endorsing.projection import CaughtUp, Endorsements


class Counting:
    """Those of the run, of its session, and of the notes it was given; in a fork, as its rules would say."""

    def __init__(
        self,
        endorsements: Endorsements,
        store: EventStore,
        provenance: Provenance,
        actions: Actions,
        standing: Standing,
        caught_up: CaughtUp,
    ) -> None:
        self._endorsements = endorsements
        self._caught_up = caught_up
        self._standing = standing
        self._store = store
        self._provenance = provenance
        self._actions = actions

    async def of(self, context: Context) -> tuple[Endorsed, ...]:
        """Those that count for a command: where any do, every revocation that is stored by now is known first."""
        if self._endorsements.of(context) or self._endorsements.notes(context):
            await self._caught_up(ALL, context.left_s)
        found, notes = self._endorsements.of(context), self._endorsements.notes(context)
        if notes:
            recalled = await self._recalled(context)
            found += tuple(each for each in notes if each.source in recalled)
        found = tuple(each for each in found if self._standing.stands(context.tenant, each.by))
        if not found or context.fork is None or context.fork.policies is None:
            return found
        return tuple(each for each in found if self._still(each, context))

    async def taken_back(self, context: Context) -> Label:
        """What its run, or one that shares with it, was given as good: a note, by a word that was revoked since."""
        revoked = self._endorsements.revoked(context.tenant)
        given = self._provenance.of(context, (MEMORY,)) if revoked else NOTHING
        if any(each in revoked or each.startswith(REST) for each in await self._rests_on(given, context)):
            return Label(integrity="untrusted", sources=given.sources)
        return NOTHING

    async def _recalled(self, context: Context) -> set[str]:
        """The notes that its run was given, as far as the recalls are named one by one."""
        return await self._rests_on(self._provenance.given[MEMORY].of(context.tenant, context.run), context)

    async def _rests_on(self, given: Label, context: Context) -> set[str]:
        """What recalls say that they found, and whose word made that better."""
        found = {source for source in given.sources if source.startswith(REST)}
        for source in given.sources:
            category, _, id_ = source.partition(":")
            recorded = await self._store.read(StreamName(context.tenant, MEMORY, id_)) if category == MEMORY else []
            for payload in (parse_event(event.type, event.envelope.data) for event in recorded):
                if isinstance(payload, Finished) and payload.label is not None:
                    found.update(payload.label.sources)
        return found

    def _still(self, endorsed: Endorsed, context: Context) -> bool:
        """Whether the policies that a fork is tried out with let that person endorse that alone."""
        question = endorsing(
            endorsed.by,
            endorsed.run,
            tenant=context.tenant,
            user=endorsed.user,
            agent=endorsed.agent,
            groups=endorsed.groups,
            was=endorsed.was,
            becomes=endorsed.label.integrity,
            scope=endorsed.scope,
        )
        return self._actions.policies(context).decide(question).decision == "allow"
