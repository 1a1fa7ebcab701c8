"""What checks find in the arguments of a call, where a policy looks at it."""

from dataclasses import replace

from pydantic import JsonValue

from dominie_contracts import Invalid, Unavailable
from dominie_contracts.tool import ToolSpec
from dominie_kit import Actions, Context, Question
from dominie_kit.checks.looking import Found, Looking
from dominie_kit.policy.looked_for import told
from dominie_kit.policy.shapes import FOUND


class Checking:
    """Looks at arguments.

    Args:
        looking: The checks of this machine.
        actions: What decides, and so says what is looked for.
    """

    def __init__(self, looking: Looking, actions: Actions) -> None:
        self._looking = looking
        self._actions = actions

    async def told(self, question: Question, whole: dict[str, JsonValue], spec: ToolSpec, context: Context) -> Question:
        """The same question, with what was found where a policy looks at it.

        Raises:
            Invalid: There is too much to look at, in a call that changes something.
            Unavailable: A check that is asked for could not look, in such a call.
        """
        policies = self._actions.policies(context)
        if FOUND not in policies.looks_at(question):
            return question
        sought = policies.seeks(question)
        found = await self._looking.look(whole, sought, lists=policies.lists)
        if spec.effect != "read":
            _insist(spec.name, found)
        return replace(question, context={**question.context, **told(found, sought)})


def _insist(name: str, found: Found) -> None:
    why = "; ".join(f"{check}: {each}" for check, each in sorted(found.failed.items()))
    if found.too_large:
        raise Invalid(f"{name}: policies look at what checks find, and the arguments have {why}")
    if why:
        raise Unavailable(f"{name}: policies look at what checks find, and not all could look: {why}", retry_after_s=1)
