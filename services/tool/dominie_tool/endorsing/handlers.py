"""The commands about labels: people look at them, endorse a value, and take that back."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import islice

from pydantic_core import to_json

from dominie_contracts import Conflict, Forbidden, Invalid, StreamName, Unavailable
from dominie_contracts.action import Approved, Finished
from dominie_contracts.digests import digest_json
from dominie_contracts.endorsing import (
    ENDORSEMENT,
    Endorse,
    Endorsed,
    Endorsement,
    LabelledLeaf,
    RevokeEndorsement,
    ShowLabels,
    ShownLabels,
)
from dominie_contracts.identity import Registered
from dominie_contracts.labels import leaves
from dominie_contracts.memory import MEMORY
from dominie_contracts.personal import is_erased
from dominie_contracts.provenance import Integrity, Label
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import AUDITORS, DEVELOPERS
from dominie_contracts.tool import TOOL
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Action, Actions, Context, Outcome, Question, Request, Work
from dominie_kit.context import ALL, About
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.approving import asker_of
from dominie_kit.personal.sealing import PersonKey
from dominie_kit.policy.endorsing import endorsing
from dominie_tool.endorsing.aggregate import (
    Place,
    State,
    check_better,
    check_person,
    check_scope,
    endorse,
    evolve,
    find,
    revoke,
    view,
)
from dominie_tool.endorsing.places import place_of
from dominie_tool.endorsing.projection import CaughtUp, Endorsements
from dominie_tool.provenance.pointers import Nothing, at, below

ROUNDS = 100
"""How often the same may be endorsed anew after it was refused, or revoked."""
_SHOWN, _SHOWN_BYTES = 500, 128 * 1024
KeyOf = Callable[[str, str], Awaitable[PersonKey]]
"""A key by tenant and whose it is."""


class Endorsing:
    """Answers `endorse`, `revoke_endorsement` and `labels`."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        standing: Standing,
        endorsements: Endorsements,
        key: KeyOf,
        caught_up: CaughtUp,
        *,
        observe: bool = False,
    ) -> None:
        self._store = store
        self._actions = actions
        self._standing = standing
        self._endorsements = endorsements
        self._key = key
        self._caught_up = caught_up
        self._observe = observe

    async def endorse(self, command: Endorse, context: Context) -> Endorsement:
        """Endorse a value, if policies let this person, once those have said yes whom they ask.

        The same asked again, under whatever key, is one action until it is refused or revoked. Who may not look is
        denied, before anything is said of what stands there.
        """
        person = self._person(context)
        await self._caught_up(ALL, context.left_s)
        place = await self._place(context.tenant, command.of)
        self._check_person(person, place, command.to)
        check_scope(place, command.scope, command.to)
        was = place.label(command.pointer).integrity
        question = self._question(place, context, was=was, to=command.to, scope=command.scope)
        told = self._may_look(place, context) or not self._denies(question, context)
        found = find(place, command.pointer, command.value) if told else None
        about = await self._about(context, place)
        self._check_enforced(question, about)
        action, state = await self._open(command, about)
        request = Request(Endorse.NAME, command.model_dump(mode="json"), place.run, session=place.session)
        if found is None:
            await self._actions.perform(action, request, question, Work(_allowed_meanwhile))
        assert found is not None, "who may not look was denied"
        key = about.person.digest(context.key) if about.person else context.key
        if state.endorsed is not None and state.endorsed.key == key:
            return view(state.endorsed)
        standing = self._endorsements.at(context.tenant, place.source)
        others = (*standing, *((state.endorsed,) if state.endorsed else ()))
        check_better(found, command.to, [each for each in others if _same(each, command)])
        event = endorse(
            command,
            place,
            found,
            id_=action.id,
            by=context.principal,
            groups=context.groups,
            key=key,
            digests=about.digests,
        )

        async def write(action: Action) -> Outcome:
            await self._check_yeses(action, place)
            made = Label(integrity="platform", sources=(f"{ENDORSEMENT}:{action.id}",))
            return Outcome(Finished(outcome="ok", result={"endorsed": action.id}, label=made, duration_ms=0), (event,))

        try:
            await self._actions.perform(action, request, question, Work(write))
        finally:
            await self._written(context, action.context.position)
        return view(event)

    async def revoke(self, command: RevokeEndorsement, context: Context) -> Endorsement:
        """Revoke an endorsement: what is decided from now on is decided without it."""
        self._person(context)
        stream = StreamName(context.tenant, ENDORSEMENT, command.endorsement)
        state, version = await self._past(stream)
        developer = DEVELOPERS in context.groups
        event = revoke(state, by=context.principal, developer=developer, note=command.note)
        assert state.endorsed is not None
        about = replace(
            context,
            about=About(state.endorsed.run, state.endorsed.user),
            person=await self._key(context.tenant, state.endorsed.user),
        )
        drafts = self._actions.drafts(about, stream, event)
        try:
            appended = await self._store.append(stream, drafts, expected_version=version)
        except WrongExpectedVersion as error:
            raise Unavailable("others revoke that, too", retry_after_s=0.2) from error
        await self._written(context, appended.position)
        return view(state.endorsed)

    async def show(self, command: ShowLabels, context: Context) -> ShownLabels:
        """What the leaves of a result are labelled, and which endorsements stand."""
        self._person(context)
        await self._caught_up(ALL, context.left_s)
        place = await self._place(context.tenant, command.of)
        if not self._may_look(place, context):
            raise Forbidden("labels are for those who may endorse, for developers, auditors and the run's user")
        if is_erased(place.value) or isinstance(at(place.value, command.pointer), Nothing):
            raise Invalid(f"nothing stands at {command.pointer!r} of {place.source}, or it was erased")
        found = [each for each in leaves(place.value) if below(each[0], command.pointer)][command.after :]
        shown, size = list[LabelledLeaf](), 0
        for pointer, value in islice(found, _SHOWN):
            label = place.label(pointer)
            leaf = LabelledLeaf(pointer=pointer, value=value, integrity=label.integrity, readers=label.readers)
            size += len(to_json(leaf))
            if shown and size > _SHOWN_BYTES:
                break
            shown.append(leaf)
        return ShownLabels(
            source=place.source,
            run=place.run,
            user=place.user,
            leaves=tuple(shown),
            more=len(found) - len(shown),
            endorsements=tuple(map(view, self._endorsements.at(context.tenant, place.source))),
        )

    def _person(self, context: Context) -> Registered:
        """Who speaks: a person with a key of their own, in no agent's name.

        Raises:
            Forbidden: Anybody else.
        """
        person = self._standing.find(context.tenant, context.principal)
        if person is None or context.claims is not None or not context.principal.startswith("u-"):
            raise Forbidden(
                f"{context.principal} is no person who is registered here: agents and services endorse nothing"
            )
        return person

    def _check_person(self, person: Registered, place: Place, to: Integrity) -> None:
        asker = asker_of(self._standing, person.tenant, place.user, place.chain, user_answers=True)
        check_person(asker, person.principal, person.nkey, to)

    async def _check_yeses(self, action: Action, place: Place) -> None:
        """See that whoever said yes, too, is on no agent's side: the endorser is on whose side approvals look."""
        trail = [parse_own(event) for event in await self._store.read(action.stream)]
        for name in (name for each in trail if isinstance(each, Approved) for name in each.by):
            person = self._standing.find(action.stream.tenant, name)
            if person is None:
                raise Forbidden(f"{name!r} said yes, and is not registered any more")
            self._check_person(person, place, "record")

    def _may_look(self, place: Place, context: Context) -> bool:
        if context.principal == place.user or {DEVELOPERS, AUDITORS} & set(context.groups):
            return True
        question = self._question(place, context, was="untrusted", to="agent", scope="run")
        return not self._denies(question, context)

    def _denies(self, question: Question, context: Context) -> bool:
        return self._actions.policies(context).decide(question).decision == "deny"

    def _check_enforced(self, question: Question, context: Context) -> None:
        """Where decisions are only observed, nothing is endorsed that outlasts that."""
        if self._observe and self._actions.policies(context).decide(question).decision != "allow":
            raise Forbidden("policies do not let you endorse this, though they are only observed here")

    def _question(self, place: Place, context: Context, *, was: Integrity, to: Integrity, scope: str) -> Question:
        return endorsing(
            context.principal,
            place.run,
            tenant=context.tenant,
            user=place.user,
            agent=place.agent,
            groups=context.groups,
            was=was,
            becomes=to,
            scope=scope,
        )

    async def _place(self, tenant: str, id_: str) -> Place:
        for category in (TOOL, MEMORY):
            recorded = await self._store.read(StreamName(tenant, category, id_))
            place = place_of(f"{category}:{id_}", recorded)
            if place is not None:
                return place
        raise Invalid(f"no call {id_!r} has a result, and no note is {id_!r}; `dominie labels show RUN` names calls")

    async def _about(self, context: Context, place: Place) -> Context:
        person = await self._key(context.tenant, place.user)
        return replace(context, about=About(place.run, place.user), person=person)

    async def _open(self, command: Endorse, context: Context) -> tuple[Action, State]:
        """The action that asks for this, as far as it has come; another one where that was refused or revoked."""
        what = digest_json(command.model_dump(mode="json"))
        for number in range(ROUNDS):
            action = self._actions.open(replace(context, key=f"endorse {number} {what}"))
            state, _ = await self._past(action.stream)
            if not state.over:
                return action, state
        raise Conflict(f"that was refused, or revoked, {ROUNDS} times")

    async def _past(self, stream: StreamName) -> tuple[State, int]:
        recorded = await self._store.read(stream)
        state = State()
        for event in recorded:
            state = evolve(state, parse_own(event))
        return state, len(recorded)

    async def _written(self, context: Context, position: int) -> None:
        """Whoever is answered knows that it counts from now on."""
        context.position = max(context.position, position)
        if position:
            await self._caught_up(position, context.left_s)


async def _allowed_meanwhile(action: Action) -> Outcome:
    raise Unavailable("policies have just changed", retry_after_s=0.2)


def _same(endorsed: Endorsed, command: Endorse) -> bool:
    """Whether it is of the same value in the same place, and counts wherever the other would."""
    if (endorsed.pointer, endorsed.value) != (command.pointer, command.value):
        return False
    return endorsed.scope in (command.scope, "session")
