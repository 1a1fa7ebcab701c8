"""Looks at a value with the checks that are asked for; says which could, and what they found."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from pydantic import JsonValue

from dominie_kit.checks.apart import NotLooked, look_apart
from dominie_kit.checks.check import DENY, INJECTION, UNCHECKED, Check, check_of
from dominie_kit.checks.installed import Installed
from dominie_kit.checks.texts import Text, TooLarge, texts

ALL = "*"
"""Stands for every kind."""
CPU_S = 0.2
"""Of the processor's time, for a check that does not promise to be linear."""
_AT_ONCE = 16_384
"""Characters that are looked at without a thread: some 2 ms."""
_PATIENCE_S = 30.0
Asked = Callable[[Sequence[Text]], Awaitable[Iterable[str]]]
"""A check that waits for others; raises `NotLooked`."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a value.

    Attributes:
        at: The kinds by pointer.
        checked: The checks that looked.
        failed: Why the others that were asked for could not, by name.
    """

    at: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    checked: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    too_large: bool = False
    """Nobody looked, and nobody ever will."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind once; `unchecked` is one where a check could not look."""
        found = {kind for kinds in self.at.values() for kind in kinds}
        return tuple(sorted(found | {UNCHECKED} if self.failed else found))


class Looking:
    """The checks of this machine.

    Args:
        cpu_s: The processor's time that a check may take that does not promise to be linear.
    """

    def __init__(self, installed: Installed, *, cpu_s: float) -> None:
        self._installed = installed
        self._cpu_s = cpu_s

    async def look(
        self,
        value: JsonValue,
        sought: frozenset[str],
        *,
        lists: Mapping[str, Check] | None = None,
        asked: Mapping[str, Asked] | None = None,
    ) -> Found:
        """What those checks find that find a kind that is sought (`*`: all); what they do not say, they do not do."""
        lists, asked = lists or {}, asked or {}
        names = self._named(sought, {*lists, *asked})
        try:
            given = texts(value)
        except TooLarge as error:
            return Found(failed=dict.fromkeys(names, str(error)), too_large=True)
        found: dict[str, list[tuple[str, str]]] = {}
        failed: dict[str, str] = {}

        async def look(name: str) -> None:
            try:
                found[name] = await self._with(name, given, lists, asked)
            except NotLooked as error:
                failed[name] = str(error)

        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(look, name)
        return Found(_by_pointer(found.values()), tuple(sorted(found)), failed)

    def _named(self, sought: frozenset[str], others: set[str]) -> list[str]:
        """The checks that find what is sought; each deny list is one."""
        if ALL in sought:
            return sorted({*self._installed.checks, *self._installed.broken, *others})
        return sorted({name if (name := check_of(kind)) != DENY else kind for kind in sought} - {UNCHECKED})

    async def _with(
        self, name: str, given: Sequence[Text], lists: Mapping[str, Check], asked: Mapping[str, Asked]
    ) -> list[tuple[str, str]]:
        if name in asked:
            return [("", kind) for kind in await asked[name](given)]
        check = self._installed.checks.get(name) or lists.get(name)
        if check is None:
            raise NotLooked(self._installed.broken.get(name) or _absent(name))
        if not check.linear:
            rows = await look_apart(self._installed.found_at[name], [each.text for each in given], self._cpu_s)
        elif sum(len(each.text) for each in given) <= _AT_ONCE:
            rows = _look(check, given)
        else:
            rows = await _in_thread(check, given)
        return [(each.pointer, _known(check, kind)) for each, kinds in zip(given, rows, strict=True) for kind in kinds]


def _look(check: Check, given: Sequence[Text]) -> list[list[str]]:
    try:
        return [[*check.look(each.text)] for each in given]
    except Exception as error:  # a plug-in may raise anything; what it says may quote the text
        raise NotLooked(f"failed: {type(error).__name__}") from error


async def _in_thread(check: Check, given: Sequence[Text]) -> list[list[str]]:
    try:
        with anyio.fail_after(_PATIENCE_S):
            return await anyio.to_thread.run_sync(_look, check, given, abandon_on_cancel=True)
    except TimeoutError as late:
        raise NotLooked(f"no answer within {_PATIENCE_S:g} s") from late


def _known(check: Check, kind: str) -> str:
    """A finding is written down: one that was not announced could be the text itself."""
    if kind not in check.finds:
        raise NotLooked("found what it does not say that it finds")
    return kind


def _absent(name: str) -> str:
    if name == INJECTION:
        return "no model is set to look: DOMINIE_TOOL_CHECKS_MODEL"
    return "there is no such deny list" if name.startswith(f"{DENY}.") else "no such check is installed"


def _by_pointer(found: Iterable[list[tuple[str, str]]]) -> dict[str, tuple[str, ...]]:
    kinds: dict[str, set[str]] = {}
    for each in found:
        for pointer, kind in each:
            kinds.setdefault(pointer, set()).add(kind)
    return {pointer: tuple(sorted(found)) for pointer, found in sorted(kinds.items())}
