"""What a run has been given, and what that says of where an argument came from (decision 0030). Pure.

An argument has the join of everything that its run was given, since whoever made it may have made it of any of that.
Only a whole value that is found in a better source has that source's label: a leaf of a result, or the user's words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from pydantic import JsonValue

from dominie_contracts.action import Finished
from dominie_contracts.doubts import loose, said_by_chance
from dominie_contracts.labels import is_artifact, leaves
from dominie_contracts.problems import PROBLEM_BASE
from dominie_contracts.provenance import NOTHING, Label, both, join
from dominie_contracts.results import is_large, label_at, labelled, untrusted_names
from dominie_contracts.things import NEW, name_forms
from dominie_contracts.typed import Form, Unit, forms, sums
from dominie_contracts.words import Words

LOST = Label(integrity="untrusted", readers=())
"""Of what nobody knows any more: it may have been anything."""
MADE = Label(integrity="agent")
"""Of what an agent makes of nothing worse."""
MAX_FORMS = 50_000
"""So many values of one run can vouch, or be doubted; whatever comes after that vouches for nothing."""
MAX_PARTS = 256
"""Of one argument are looked for; one that has more is what its run was given."""
Endorsed = Mapping[Form, Label]
"""Values that people have endorsed, in each of their forms."""
NONE: Endorsed = {}
_AT_ONCE = 200
"""Leaves that are read before others have their turn."""
_OWN = tuple(
    PROBLEM_BASE + each
    for each in ("forbidden", "invalid", "conflict", "quota-exceeded", "budget-exceeded", "deadline-exceeded")
)
"""The problems that the platform states in its own words; of any other the text may be a tool's."""


def given(finished: Finished, source: str) -> Label:
    """The label of a whole outcome, for the run that it was given to."""
    if finished.problem is not None:
        return of_problem(finished.problem.type, source)
    whole = finished.label
    if whole is None:
        return Label(integrity="untrusted", sources=(source,))
    return whole.model_copy(update={"sources": (source,)})


def of_problem(type_: str, source: str) -> Label:
    """Of what a failure says: its text may be the tool's."""
    return Label(integrity="platform" if type_ in _OWN else "untrusted", sources=(source,))


class Argument(NamedTuple):
    """A value whose label is asked for."""

    value: JsonValue
    unit: Unit | None = None
    """Of an amount."""
    of: str | None = None
    """The kind of thing that it is the name of, where its tool says so: it is found among such names alone."""


class _Thing(NamedTuple):
    """Something by its name."""

    label: Label
    made: bool
    """By this run."""


class Seen:
    """The sources of one run."""

    def __init__(self) -> None:
        self.join = MADE
        self.full = False
        """There was more than is kept: every short value may have stood in something untrusted."""
        self._known: dict[Form, Label] = {}
        self._things: dict[tuple[str, Form], _Thing] = {}
        self._doubtful: set[Form] = set()

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return 400 * (len(self._known) + len(self._things) + len(self._doubtful))

    def take(self, finished: Finished, source: str) -> None:
        """An outcome that was given to the run."""
        for _ in self.taking(finished, source):
            pass

    def taking(self, finished: Finished, source: str) -> Iterator[None]:
        """As `take`, in steps of some milliseconds. Taken again from its beginning it changes nothing."""
        self.join = join((self.join, given(finished, source)))
        if finished.problem is not None:
            yield from self._doubt(finished.problem.detail)
        elif is_large(finished.result):
            self.full = self.full or given(finished, source).level == 0
        else:
            for number, (leaf, label) in enumerate(
                labelled(finished.result, finished.labels, finished.readers, source)
            ):
                yield from self._doubt(leaf) if label.level == 0 else self._vouch(leaf, label)
                if number % _AT_ONCE == 0:
                    yield
            for name in untrusted_names(finished.result, finished.labels):
                yield from self._doubt(name)
            self._name(finished, source)

    def lose(self) -> None:
        """Nothing is known of what came before: it may have been anything."""
        self.full = True
        self.join = join((self.join, LOST))

    def doubts(self, form: Form) -> bool:
        """Whether something untrusted may have said a short value."""
        return self.full or loose(form) in self._doubtful

    def label(
        self,
        argument: Argument,
        *,
        more: Label = NOTHING,
        words: Words | None = None,
        beside: Sequence["Seen"] = (),
        endorsed: Endorsed = NONE,
    ) -> Label:
        """Where an argument came from: of all its leaves, each as the best source that has it whole.

        Args:
            more: What else the run was given, that nothing is found in.
            words: The user's, in this request.
            beside: What other runs were given that share it with this one: they cast doubt, and vouch for nothing.
            endorsed: The values that people have endorsed here.
        """
        made = join((self.join, more))
        parts = list(islice(_parts(argument.value), MAX_PARTS + 1))
        if len(parts) > MAX_PARTS:
            return made
        doubting = (self, *beside)
        found = [self._best(argument._replace(value=part), made, words, doubting, endorsed) for part in parts]
        return join(found) if found else NOTHING

    def _vouch(self, leaf: JsonValue, label: Label) -> tuple[()]:
        for form in forms(leaf):
            known = self._known.get(form)
            if known is None or _better(label, known):
                self._keep(form, label)
        return ()

    def _name(self, finished: Finished, source: str) -> None:
        """Note the things that a result names, of each kind; not those that something untrusted names."""
        for pointer, leaf in leaves(finished.result) if finished.things else ():
            said = finished.things.get(pointer)
            label = label_at(pointer, finished.labels, finished.readers, source)
            for form in name_forms(leaf) if said is not None and label.level > 0 else ():
                assert said is not None
                kind, made = said.removeprefix(NEW), said.startswith(NEW)
                before = self._things.get((kind, form))
                if before is not None and not _better(label, before.label):
                    label, made = before.label, made or before.made
                if before is not None or len(self._things) < MAX_FORMS:
                    self._things[kind, form] = _Thing(label, made)

    def _keep(self, form: Form, label: Label) -> None:
        if len(self._known) < MAX_FORMS:
            self._known[form] = label
        else:
            self.full = True

    def _doubt(self, leaf: JsonValue) -> Iterator[None]:
        """Note the short values of an untrusted leaf, wherever in its text they stand; an artifact may say any."""
        self._doubtful.update(loose(form) for form in forms(leaf) if form.short)
        self.full = self.full or is_artifact(leaf) or len(self._doubtful) > MAX_FORMS
        for found in said_by_chance(leaf) if isinstance(leaf, str) and not self.full else ():
            self._doubtful.update(found or ())
            self.full = found is None or len(self._doubtful) > MAX_FORMS
            yield
            if self.full:
                return

    def _best(
        self,
        argument: Argument,
        made: Label,
        words: Words | None,
        doubting: Sequence["Seen"],
        endorsed: Endorsed,
    ) -> Label:
        best, doubtful = made, False
        asked = forms(argument.value) if argument.unit is None else sums(argument.value, argument.unit)
        doubted = any(form.short and any(seen.doubts(form) for seen in doubting) for form in asked)
        for form in sorted(asked if argument.of is None else name_forms(argument.value)):
            own, ours = self._own(form, argument.of)
            said = words.label if words is not None and words.hold(form) else own
            for known in (said, endorsed.get(form)):
                if known is None or not _better(known, best):
                    continue
                if form.short and doubted and not ours:
                    doubtful = True
                else:
                    best = (
                        known if not ours else known.model_copy(update={"readers": both(known.readers, made.readers)})
                    )
        return best if best is not made or not doubtful else made.model_copy(update={"doubtful": True})

    def _own(self, form: Form, of: str | None) -> tuple[Label | None, bool]:
        """The best label of a value in what the run was given, and whether it names what the run has made."""
        if of is None:
            return self._known.get(form), False
        found = self._things.get((of, form))
        return (None, False) if found is None else found


def _better(label: Label, other: Label) -> bool:
    if label.level != other.level:
        return label.level > other.level
    return label.readers is None and other.readers is not None


def _parts(value: JsonValue) -> Iterable[JsonValue]:
    """All that an argument says: its leaves, and the names in its objects. Null, and an empty list, say nothing."""
    if isinstance(value, dict) and not is_artifact(value):
        for key, part in value.items():
            yield key
            yield from _parts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _parts(part)
    elif value is not None:
        yield value


def label_arguments(
    arguments: Mapping[str, JsonValue],
    names: Iterable[str],
    units: Mapping[str, Unit],
    seen: Seen,
    *,
    more: Label = NOTHING,
    words: Words | None = None,
    beside: Sequence[Seen] = (),
    endorsed: Endorsed = NONE,
    things: Mapping[str, str] = {},
) -> dict[str, Label]:
    """The label of each named argument that is there."""
    asked = {name: Argument(arguments[name], units.get(name), things.get(name)) for name in names if name in arguments}
    return {
        name: seen.label(argument, more=more, words=words, beside=beside, endorsed=endorsed)
        for name, argument in asked.items()
    }
