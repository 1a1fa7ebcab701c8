"""What checks find in the arguments of a call, where a policy looks at it, and in its result, where that is set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from pydantic import JsonValue

from dominie_contracts import Invalid, Problem, Unavailable
from dominie_contracts.labels import is_artifact, leaves
from dominie_contracts.provenance import Label, join
from dominie_contracts.results import MAX_LEAVES, MAX_POINTERS_BYTES, Labels
from dominie_contracts.tool import ToolSpec
from dominie_kit import Actions, Context, Question
from dominie_kit.checks.check import DENY, INJECTION, UNCHECKED, check_of
from dominie_kit.checks.looking import Asked, Found, Looking
from dominie_kit.policy.looked_for import told
from dominie_kit.policy.shapes import FOUND
from dominie_tool.adapters.classifier import Classifier

_SECRET = "secret"
_VOUCHES_NOT = (_SECRET, INJECTION, UNCHECKED)
"""What holds such a thing is as good as anybody's text."""


class Checking:
    """Looks at arguments and results.

    Args:
        looking: The checks of this machine.
        actions: What decides, and so says what is looked for.
        results: The checks that look at results, by name.
        classifier: Asks a model, where one is set.
    """

    def __init__(
        self, looking: Looking, actions: Actions, *, results: Sequence[str] = (), classifier: Classifier | None = None
    ) -> None:
        self._looking = looking
        self._actions = actions
        self._results = frozenset(results)
        self._classifier = classifier

    @property
    def restricts(self) -> bool:
        """Whether results may turn out to be for nobody's eyes."""
        return _SECRET in self._results

    async def told(self, question: Question, whole: dict[str, JsonValue], spec: ToolSpec, context: Context) -> Question:
        """The same question, with what was found where a policy looks at it.

        Raises:
            Invalid: There is too much to look at, in a call that changes something.
            Unavailable: A check that is asked for could not look, in such a call.
        """
        policies = self._actions.policies(context)
        if FOUND not in policies.looks_at(question):
            return question
        sought, asked = policies.seeks(question), self._asked(context, "arguments")
        found = await self._looking.look(whole, sought, lists=policies.lists, asked=asked)
        if spec.effect != "read":
            _insist(spec.name, found)
        return replace(question, context={**question.context, **told(found, sought)})

    async def found(self, result: JsonValue, context: Context) -> dict[str, tuple[str, ...]]:
        """What is in a result, by pointer; it has happened, so what cannot be told is `unchecked`."""
        if not self._results:
            return {}
        try:
            lists = self._actions.policies(context).lists if DENY in self._results else {}
        except Problem:
            return {"": (UNCHECKED,)}
        sought = (self._results - {DENY}) | lists.keys()
        found = await self._looking.look(result, sought, lists=lists, asked=self._asked(context, "result"))
        apart = {at: (UNCHECKED,) for at, leaf in leaves(result) if isinstance(leaf, dict) and is_artifact(leaf)}
        failed = {"": tuple(sorted({*found.at.get("", ()), UNCHECKED}))} if found.failed else {}
        return _bounded({**found.at, **apart, **failed})

    def _asked(self, context: Context, what: str) -> Mapping[str, Asked]:
        if self._classifier is None:
            return {}
        key = f"{self._actions.open(context).id}:{INJECTION}:{what}"
        return {INJECTION: partial(self._classifier.look, context=context, key=key)}


def relabelled(labels: Labels, found: Mapping[str, tuple[str, ...]]) -> Labels:
    """The labels of a result in which something was found: a secret is for nobody, and what is doubtful vouches not."""
    if not found:
        return labels
    integrity, readers, whole = dict(labels.integrity), dict(labels.readers), [labels.whole]
    for at, kinds in found.items():
        names = {check_of(kind) for kind in kinds}
        if names & {*_VOUCHES_NOT}:
            integrity = {known: level for known, level in integrity.items() if not _is_within(known, at)}
            whole.append(Label(integrity="untrusted"))
            integrity |= {at: "untrusted"} if any(_is_within(at, known) for known in integrity) else {}
        if _SECRET in names:
            readers = {known: who for known, who in readers.items() if not _is_within(known, at)}
            readers[at] = ()
            whole.append(Label(integrity="untrusted", readers=()))
    return Labels(integrity, readers, join(whole))


def _bounded(found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Where it is found at too many places to name, it is found somewhere."""
    if len(found) <= MAX_LEAVES and sum(map(len, found)) <= MAX_POINTERS_BYTES:
        return found
    return {"": tuple(sorted({kind for kinds in found.values() for kind in kinds}))}


def _is_within(pointer: str, above: str) -> bool:
    return pointer == above or pointer.startswith(f"{above}/")


def _insist(name: str, found: Found) -> None:
    why = "; ".join(f"{check}: {each}" for check, each in sorted(found.failed.items()))
    if found.too_large:
        raise Invalid(f"{name}: policies look at what checks find, and the arguments have {why}")
    if why:
        raise Unavailable(f"{name}: policies look at what checks find, and not all could look: {why}", retry_after_s=1)
