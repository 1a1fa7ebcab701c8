"""An endorsement: what may be endorsed, by whom, to be what. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from dominie_contracts import Conflict, Forbidden, Invalid, Payload
from dominie_contracts.action import Finished
from dominie_contracts.approvals import Asker, refuse_person
from dominie_contracts.digests import digest_json
from dominie_contracts.endorsing import Endorse, Endorsed, Endorsement, EndorsementRevoked, Scope
from dominie_contracts.memory import MEMORY
from dominie_contracts.personal import is_erased
from dominie_contracts.provenance import LEVELS, Integrity, Label
from dominie_contracts.results import label_at
from dominie_contracts.typed import Form, forms
from dominie_contracts.words import Words
from dominie_tool.provenance.pointers import Nothing, at

MAX_TEXT_CHARS = 64_000
"""Of a text in which a value is looked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """A result, or a note, and whose it is."""

    source: str
    run: str
    user: str
    chain: str
    """The agents, the outermost first."""
    session: str | None
    value: JsonValue
    integrity: Mapping[str, Integrity]
    readers: Mapping[str, tuple[str, ...]]

    @property
    def is_note(self) -> bool:
        """Whether it is recalled, by others."""
        return self.source.startswith(f"{MEMORY}:")

    @property
    def agent(self) -> str:
        """Which was given it."""
        return self.chain.split()[0]

    def label(self, pointer: str) -> Label:
        """Of one leaf."""
        return label_at(pointer, self.integrity, self.readers, self.source)


@dataclass(frozen=True, slots=True)
class Found:
    """A value where it stands."""

    label: Label
    whole: bool
    """It is all that stands there."""


@dataclass(frozen=True, slots=True)
class State:
    """One endorsement: asked for, given, revoked."""

    endorsed: Endorsed | None = None
    over: bool = False
    """It was refused, or is revoked: whoever asks again asks anew."""


def evolve(state: State, event: Payload) -> State:
    """The endorsement after one more event."""
    match event:
        case Endorsed():
            return replace(state, endorsed=event)
        case EndorsementRevoked():
            return replace(state, over=True)
        case Finished(problem=problem) if problem is not None:
            return replace(state, over=True)
        case _:
            return state


def check_person(asker: Asker, by: str, nkey: str, to: Integrity) -> None:
    """See that somebody may endorse anything of a run, whatever policies say.

    Raises:
        Forbidden: No person, or one who answers for an agent of the run; or `user` is not theirs to say.
    """
    if refused := refuse_person(asker, by, nkey):
        raise Forbidden(f"{by} may not endorse this: {refused}")
    if to == "user" and by != asker.user:
        raise Forbidden(f"only {asker.user} can say that it is what {asker.user} said; others make it a `record`")


def find(place: Place, pointer: str, value: JsonValue) -> Found:
    """A leaf of a result, or a note; or what stands, whole, in the text that one is.

    Raises:
        Invalid: It does not stand there, is no leaf, says nothing, or was erased.
    """
    there = at(place.value, pointer)
    if is_erased(place.value) or is_erased(there):
        raise Invalid(f"what {place.source} gave was erased: nobody can look at it any more")
    if isinstance(there, Nothing):
        raise Invalid(f"nothing stands at {pointer!r} of {place.source}; `dominie labels show` shows what does")
    if isinstance(value, dict | list) or not forms(value):
        raise Invalid("one endorses a text or a number that can be looked at: of an object, or a list, each part alone")
    whole = not isinstance(there, dict | list) and digest_json(there) == digest_json(value)
    if not whole and not _stands_in(value, there):
        raise Invalid(f"that value does not stand at {pointer!r} of {place.source}, or not whole, or it is too short")
    return Found(place.label(pointer), whole)


def _stands_in(value: JsonValue, text: JsonValue) -> bool:
    """Whether it stands in a text, and not by chance: a day, or a time, in the way in which it is said."""
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARS:
        return False
    words = Words(text)
    return any(words.hold(form) for form in forms(value) if not form.short and form.kind not in ("date", "time"))


def check_scope(place: Place, scope: Scope, to: Integrity) -> None:
    """See that it can count there.

    Raises:
        Invalid: The run belongs to no session; or a note does not count wherever it is recalled, or another does, or is
            said to be what the user of whoever recalls it has said.
    """
    if (scope == "tenant") != place.is_note:
        raise Invalid("a note is endorsed wherever it is recalled, and nothing else is: scope `tenant`")
    if place.is_note and to == "user":
        raise Invalid("others recall a note, too, and `user` is what their own user has said: make it a `record`")
    if scope == "session" and not place.session:
        raise Invalid(f"run {place.run!r} belongs to no session: it can be endorsed for the run")


def check_better(found: Found, to: Integrity, others: Iterable[Endorsed]) -> None:
    """See that an endorsement makes something better.

    Raises:
        Conflict: It is as good already, or was endorsed to be.
    """
    if LEVELS[to] <= found.label.level:
        raise Conflict(f"that is {found.label.integrity} already")
    better = next((each for each in others if each.label.level >= LEVELS[to]), None)
    if better is not None:
        raise Conflict(f"{better.by} has endorsed that already, as {better.label.integrity}: {better.id}")


def endorse(
    command: Endorse,
    place: Place,
    found: Found,
    *,
    id_: str,
    by: str,
    groups: Iterable[str],
    key: str,
    digests: bytes | None,
) -> Endorsed:
    """What is written."""
    label = Label(integrity=command.to, readers=found.label.readers, sources=(place.source,))
    return Endorsed(
        id=id_,
        source=place.source,
        pointer=command.pointer,
        value=command.value,
        digest=digest_json(command.value, key=digests),
        whole=found.whole,
        was=found.label.integrity,
        label=label,
        scope=command.scope,
        by=by,
        groups=tuple(sorted(groups)),
        agent=place.agent,
        run=place.run,
        user=place.user,
        session=place.session if command.scope == "session" else None,
        note=command.note,
        key=key,
    )


def revoke(state: State, *, by: str, developer: bool, note: str) -> EndorsementRevoked:
    """What is written when an endorsement shall count no more.

    Raises:
        Invalid: There is none.
        Conflict: It was revoked already.
        Forbidden: It is not theirs.
    """
    endorsed = state.endorsed
    if endorsed is None:
        raise Invalid("no such endorsement; `dominie labels show` names those that stand")
    if by not in (endorsed.by, endorsed.user) and not developer:
        raise Forbidden(f"{endorsed.by} has endorsed that; they, {endorsed.user} or a developer can revoke it")
    if state.over:
        raise Conflict(f"{endorsed.id} was revoked already")
    return EndorsementRevoked(id=endorsed.id, by=by, run=endorsed.run, note=note)


def covers(endorsed: Endorsed, source: str, pointer: str) -> bool:
    """Whether the leaf at a pointer of a source is endorsed, and not only a part of its text."""
    return endorsed.whole and (endorsed.source, endorsed.pointer) == (source, pointer)


def label_of(endorsed: Endorsed) -> Label:
    """What it makes of its value: whoever rests on it names the endorsement."""
    return endorsed.label.model_copy(update={"sources": (f"endorsement:{endorsed.id}",)})


def forms_of(endorsed: Endorsed) -> dict[Form, Label]:
    """Its value in each form in which it is found; what is short is found by chance, and has to be referred to."""
    return dict.fromkeys((form for form in forms(endorsed.value) if not form.short), label_of(endorsed))


def view(endorsed: Endorsed) -> Endorsement:
    """An endorsement, for people."""
    to = endorsed.label.integrity
    assert to != "untrusted", "nobody endorses that something is untrusted"
    return Endorsement(
        id=endorsed.id,
        source=endorsed.source,
        pointer=endorsed.pointer,
        value=endorsed.value,
        whole=endorsed.whole,
        was=endorsed.was,
        to=to,
        scope=endorsed.scope,
        by=endorsed.by,
        run=endorsed.run,
        note=endorsed.note,
    )
