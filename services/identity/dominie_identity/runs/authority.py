"""What one may do on behalf of another: the most of several bounds, and less of it. Pure.

Each type of `authorization_details` has its own order. Grants: each name that is granted, `*` all of them. A ceiling:
the amount, of the same run. An entry of another type never gets here; its contract refuses it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.runs import RunWidened
from dominie_contracts.token import EVERYTHING, Authorization, Ceiling, Detail, Grants

KINDS = ("tools", "models", "namespaces")


@dataclass(frozen=True, slots=True)
class Authority:
    """What a run token may say: its grants, and what it and the runs that it is part of may spend."""

    grants: Grants
    ceilings: tuple[Ceiling, ...] = ()
    until_s: float = math.inf
    """Unix time until when what people gave lasts."""
    shared: tuple[Ceiling, ...] = ()
    """What of that is just what the runs that it is part of may spend: looked at anew each time."""

    @property
    def own(self) -> tuple[Ceiling, ...]:
        """What it may spend beside what those runs may."""
        return tuple(ceiling for ceiling in self.ceilings if ceiling not in self.shared)

    @property
    def details(self) -> tuple[Detail, ...]:
        """As `authorization_details`."""
        return (Authorization(grants=self.grants), *self.ceilings)

    def within(self, grants: Grants) -> "Authority":
        """No more than these grants."""
        return replace(self, grants=meet(self.grants, grants))

    def below(self, grants: Grants | None, ceilings: tuple[Ceiling, ...]) -> "Authority":
        """No more than these grants, where there are any, and these ceilings beside its own."""
        least: dict[str, Ceiling] = {}
        for ceiling in (*self.ceilings, *ceilings):
            stands = least.setdefault(ceiling.run, ceiling)
            least[ceiling.run] = min(stands, ceiling, key=lambda each: each.max_cost_usd)
        found = self if grants is None else self.within(grants)
        return replace(found, ceilings=tuple(least.values()))

    def widened(self, run: str, by: Iterable[RunWidened]) -> "Authority":
        """With what people allowed a run beyond this, and what they let it spend instead: the most of that."""
        found = self
        for more in by:
            found = replace(found, grants=joined(found.grants, more.grants))
            if more.max_cost_usd is not None:
                others = tuple(each for each in found.ceilings if each.run != run)
                own = max([more.max_cost_usd, *(each.max_cost_usd for each in found.ceilings if each.run == run)])
                found = replace(found, ceilings=(*others, Ceiling(run=run, max_cost_usd=own)))
        return found

    def without(self, by: Iterable[RunWidened]) -> "Authority":
        """Less what people allowed one run: it is handed on by its name alone."""
        found = self.grants
        for more in by:
            found = Grants(**{kind: _less(getattr(found, kind), getattr(more.grants, kind)) for kind in KINDS})
        return replace(self, grants=found)

    def narrowed(self, narrow: Grants | None, max_cost_usd: float | None, run: str) -> "Authority":
        """What was asked for, which has to be less.

        Raises:
            Forbidden: It is more.
        """
        found = self if narrow is None else replace(self, grants=narrowed(self.grants, narrow))
        if max_cost_usd is None:
            return found
        return replace(found, ceilings=lowered(self.ceilings, Ceiling(run=run, max_cost_usd=max_cost_usd)))


def meet(one: Grants, other: Grants) -> Grants:
    """What both grant."""
    return Grants(**{kind: _both(getattr(one, kind), getattr(other, kind)) for kind in KINDS})


def joined(one: Grants, other: Grants) -> Grants:
    """What either grants."""
    return Grants(**{kind: tuple(dict.fromkeys((*getattr(one, kind), *getattr(other, kind)))) for kind in KINDS})


def missing(grants: Grants, wanted: Grants) -> Grants:
    """What is wanted and not granted."""
    return Grants(**{kind: _more(getattr(grants, kind), getattr(wanted, kind)) for kind in KINDS})


def narrowed(grants: Grants, narrow: Grants) -> Grants:
    """Less than these grants.

    Raises:
        Forbidden: It is more; a person would have to grant that first.
    """
    for kind in KINDS:
        granted: tuple[str, ...] = getattr(grants, kind)
        more = _more(granted, getattr(narrow, kind))
        if more:
            raise Forbidden(f"a run token only narrows: {kind} {more[0]!r} is not granted")
    return narrow


def lowered(ceilings: tuple[Ceiling, ...], ceiling: Ceiling) -> tuple[Ceiling, ...]:
    """With one more ceiling, which may not be above one of the same run.

    Raises:
        Forbidden: It is.
    """
    for stands in ceilings:
        if ceiling.max_cost_usd > stands.max_cost_usd:
            raise Forbidden(f"a run token only narrows: {ceiling.max_cost_usd} USD is above {stands.max_cost_usd}")
    return (*(stands for stands in ceilings if stands.run != ceiling.run), ceiling)


def said(details: Iterable[Detail], run: str) -> tuple[Grants, float | None]:
    """What a user said that a run may do and spend.

    Raises:
        Invalid: It is about another run, or says one thing twice.
    """
    found = tuple(details)
    grants = [detail.grants for detail in found if isinstance(detail, Authorization)]
    ceilings = [detail for detail in found if isinstance(detail, Ceiling)]
    if len(grants) > 1 or len(ceilings) > 1 or any(ceiling.run != run for ceiling in ceilings):
        raise Invalid(f"authorization_details hold one entry of each type, about run {run!r}")
    return (grants[0] if grants else Grants()), (ceilings[0].max_cost_usd if ceilings else None)


def _less(granted: tuple[str, ...], gone: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in granted if name not in gone)


def _more(granted: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return () if EVERYTHING in granted else tuple(name for name in dict.fromkeys(wanted) if name not in granted)


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    if EVERYTHING in one:
        return other
    return one if EVERYTHING in other else tuple(name for name in one if name in other)
