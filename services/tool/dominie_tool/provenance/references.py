"""What a caller says an argument is: that leaf of that action's result. Believed only where the record says so, too."""

import re
from collections.abc import Mapping

from pydantic import JsonValue

from dominie_contracts import Invalid, StreamName
from dominie_contracts.action import Finished, fold
from dominie_contracts.digests import digest_json
from dominie_contracts.labels import leaves
from dominie_contracts.provenance import Label, join
from dominie_contracts.registry import parse_own
from dominie_contracts.results import label_at
from dominie_contracts.tool import TOOL
from dominie_eventstore import EventStore
from dominie_kit import Context

_WHERE = re.compile(r"([0-9a-f]{32})#((?:/[^#]*)?)")
_NONE = object()


class References:
    """Looks up the results that callers refer to."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def labels(
        self, references: Mapping[str, str], arguments: Mapping[str, JsonValue], context: Context
    ) -> dict[str, Label]:
        """The labels of the arguments that are referred to, by name.

        Raises:
            Invalid: There is no such argument, no such result in this run, or it is another value.
        """
        return {
            name: await self._label(name, arguments, where, context)
            for pointer, where in references.items()
            for name in (_unescaped(pointer.removeprefix("/")),)
        }

    async def _label(self, name: str, arguments: Mapping[str, JsonValue], where: str, context: Context) -> Label:
        named = _WHERE.fullmatch(where)
        if named is None or name not in arguments:
            raise Invalid(f"a reference is of an argument, to ACTION#/pointer; {name!r}: {where!r} is none")
        id_, pointer = named[1], named[2]
        finished = await self._finished(id_, context)
        value = _at(finished.result, pointer) if finished is not None else _NONE
        if finished is None or value is _NONE:
            raise Invalid(f"no call {id_!r} of this run has a result at {pointer!r}")
        if digest_json(value) != digest_json(arguments[name]):  # type: ignore[arg-type]  # not `_NONE`
            raise Invalid(f"{name!r} is not what stands at {pointer!r} of the result of {id_!r}")
        below = [at for at, _ in leaves(finished.result) if at == pointer or at.startswith(f"{pointer}/")]
        return join(label_at(at, finished.labels, finished.readers, f"{TOOL}:{id_}") for at in below)

    async def _finished(self, id_: str, context: Context) -> Finished | None:
        """How an action of this run went, if it went well."""
        recorded = await self._store.read(StreamName(context.tenant, TOOL, id_))
        if not recorded or recorded[0].envelope.correlation_id != context.run:
            return None
        finished = fold(parse_own(event) for event in recorded).finished
        return finished if finished is not None and finished.problem is None else None


def _at(value: JsonValue, pointer: str) -> JsonValue | object:
    """What stands at a pointer (RFC 6901); `_NONE` where nothing does."""
    for part in pointer.split("/")[1:]:
        key = _unescaped(part)
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,9}", part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return _NONE
    return value


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
