"""The trail of an action: what is written about it, and read again.

It is one stream, whose id is the digest of tenant, principal, service and idempotency key; its first append stands at
version 0, so a repeated command meets the first one's record, at whichever instance it arrives.
"""

import contextlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from dominie_contracts import Draft, Payload, StreamName
from dominie_contracts.action import Matter, Noted, evolve, fold, noted_in
from dominie_contracts.digests import action_id
from dominie_contracts.registry import event_type, parse_own
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit.context import Context
from dominie_kit.governed.work import Action
from dominie_kit.personal.sealing import PersonKey, sealed_json


class Trails:
    """The trails of one service, in the category of its own."""

    def __init__(
        self, store: EventStore, policies: Callable[[str], str | None], *, service: str, category: str
    ) -> None:
        """Write there.

        Args:
            policies: The digest of the policies that a tenant's actions are decided by now.
        """
        self._store = store
        self._policies = policies
        self._service = service
        self._source = f"dominie/{service}"
        self._category = category

    def open(self, context: Context) -> Action:
        """The action that a command's key names; nothing is read yet."""
        id_ = action_id(context.tenant, context.principal, self._service, context.cause)
        return Action(StreamName(context.tenant, self._category, id_), context)

    async def load(self, context: Context, id_: str) -> Action:
        """An action by its id, as recorded."""
        action = Action(StreamName(context.tenant, self._category, id_), context)
        await self.reload(action)
        return action

    async def append(self, action: Action, *payloads: Payload) -> None:
        """Append to an action's stream at the version it is known to have.

        Raises:
            WrongExpectedVersion: Somebody else appended first.
        """
        drafts = self.drafts(action.context, action.stream, *payloads)
        appended = await self._store.append(action.stream, drafts, expected_version=action.state.version)
        for payload in payloads:
            action.state = evolve(action.state, payload)
        action.context.position = appended.position

    def drafts(
        self, context: Context, stream: StreamName, *payloads: Payload, person: PersonKey | None = None
    ) -> list[Draft]:
        """Events of this service for one stream, about this command, to be written together.

        What is personal in them is sealed under the key of a person: the command's user, if no other is given.

        Raises:
            Unavailable: There is no such key.
        """
        append, now, name = secrets.token_hex(16), datetime.now(UTC), str(stream)
        actor, user, run, cause = context.chain, context.user, context.run, context.cause
        policies, person = self._policies(context.tenant), person or context.person
        types = [event_type(stream.category, payload) for payload in payloads]
        if context.fork is not None and context.fork.policies is not None:
            policies = context.fork.policies
        return [
            Draft(
                id=f"{append}-{number}",
                source=self._source,
                type=type_,
                time=now,
                actor=actor,
                data=sealed_json(payload, name, type_, person, user=user),
                on_behalf_of=user,
                correlation_id=run,
                causation_id=cause,
                traceparent=context.traceparent,
                policy_version=policies,
            )
            for number, (type_, payload) in enumerate(zip(types, payloads, strict=True))
        ]

    async def note(self, action: Action, what: Matter) -> None:
        """Note what others have to find this action for; a note that is there already is as good."""
        stream = StreamName(action.stream.tenant, noted_in(self._category, what), action.id)
        drafts = self.drafts(action.context, stream, Noted(what=what))
        with contextlib.suppress(WrongExpectedVersion):
            await self._store.append(stream, drafts, expected_version=0)

    async def reload(self, action: Action) -> None:
        """Take an action's state from the record."""
        recorded = await self._store.read(action.stream)
        action.state = fold(parse_own(event) for event in recorded)
        if recorded:
            action.state = action.state._replace(version=recorded[-1].envelope.version)
            action.agent = recorded[0].envelope.actor.split()[0]
            action.context.position = max(action.context.position, recorded[-1].position)
