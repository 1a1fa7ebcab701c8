"""What a caller says an argument is: that leaf of that action's result. Believed only where the record says so, too."""

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from dominie_contracts import Invalid, StreamName
from dominie_contracts.action import Finished, fold
from dominie_contracts.digests import digest_json
from dominie_contracts.endorsing import Endorsed
from dominie_contracts.labels import escaped, is_artifact
from dominie_contracts.provenance import NOTHING, Label, join
from dominie_contracts.registry import parse_own
from dominie_contracts.results import label_at
from dominie_contracts.things import NEW
from dominie_contracts.tool import TOOL
from dominie_eventstore import EventStore
from dominie_kit import Context
from dominie_tool.endorsing.aggregate import covers, label_of
from dominie_tool.provenance.pointers import NOTHING_THERE, Nothing, at, unescaped

_WHERE = re.compile(r"([0-9a-f]{32})#((?:/[^#]*)?)")


class References:
    """Looks up the results that callers refer to."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def labels(
        self,
        references: Mapping[str, str],
        arguments: Mapping[str, JsonValue],
        context: Context,
        endorsed: Sequence[Endorsed] = (),
        things: Mapping[str, str] = {},
    ) -> dict[str, Label]:
        """The labels of the arguments that are referred to, by name.

        Raises:
            Invalid: There is no such argument, no such result in this run, or it is another value.
        """
        return {
            name: await self._label(name, arguments, where, context, endorsed, things.get(name))
            for pointer, where in references.items()
            for name in (unescaped(pointer.removeprefix("/")),)
        }

    async def _label(
        self,
        name: str,
        arguments: Mapping[str, JsonValue],
        where: str,
        context: Context,
        endorsed: Sequence[Endorsed],
        of: str | None,
    ) -> Label:
        named = _WHERE.fullmatch(where)
        if named is None or name not in arguments:
            raise Invalid(f"a reference is of an argument, to ACTION#/pointer; {name!r}: {where!r} is none")
        id_, pointer = named[1], named[2]
        finished = await self._finished(id_, context)
        value = at(finished.result, pointer) if finished is not None else NOTHING_THERE
        if finished is None or isinstance(value, Nothing):
            raise Invalid(f"no call {id_!r} of this run has a result at {pointer!r}")
        if digest_json(value) != digest_json(arguments[name]):
            raise Invalid(f"{name!r} is not what stands at {pointer!r} of the result of {id_!r}")
        if value in ([], {}):
            return NOTHING
        named_here = [*_parts(value, pointer)]
        if of is not None and any(finished.things.get(leaf, "").removeprefix(NEW) != of for leaf in named_here):
            raise Invalid(f"{name!r} is the name of a {of}, and what stands at {pointer!r} of {id_!r} names none")
        source = f"{TOOL}:{id_}"
        own = [each for each in endorsed if each.source == source]
        return join(
            _best(label_at(leaf, finished.labels, finished.readers, source), own, source, leaf) for leaf in named_here
        )

    async def _finished(self, id_: str, context: Context) -> Finished | None:
        """How an action of this run went, if it went well."""
        recorded = await self._store.read(StreamName(context.tenant, TOOL, id_))
        if not recorded or recorded[0].envelope.correlation_id != context.run:
            return None
        finished = fold(parse_own(event) for event in recorded).finished
        return finished if finished is not None and finished.problem is None else None


def _parts(value: JsonValue, pointer: str) -> Iterator[str]:
    """The pointers of what a value says: of its leaves, and of all that is empty, since its name may say something."""
    if isinstance(value, dict) and value and not is_artifact(value):
        for key, part in value.items():
            yield from _parts(part, f"{pointer}/{escaped(key)}")
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _parts(part, f"{pointer}/{index}")
    else:
        yield pointer


def _best(label: Label, endorsed: Sequence[Endorsed], source: str, pointer: str) -> Label:
    """The label of a leaf, or a better one that a person has given to it."""
    better = [label_of(each) for each in endorsed if covers(each, source, pointer)]
    return max((label, *better), key=lambda each: each.level)
