"""The checks that are installed, each found by its entry point; one that cannot be loaded is named, not hidden."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from dominie_kit.checks.check import GROUP, KIND, UNCHECKED, Check


@dataclass(frozen=True, slots=True)
class Installed:
    """The checks of this machine.

    Attributes:
        checks: By name.
        broken: Why the others cannot look, by name.
        found_at: What to load each by, where it is looked with apart.
    """

    checks: Mapping[str, Check] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    found_at: Mapping[str, EntryPoint] = field(default_factory=dict)


@cache
def installed() -> Installed:
    """Load every check that is installed."""
    checks, broken, found_at = dict[str, Check](), dict[str, str](), dict[str, EntryPoint]()
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            checks[entry.name] = load(entry)
            found_at[entry.name] = entry
        except Exception as error:  # somebody else's module may raise anything
            broken[entry.name] = f"{type(error).__name__}: {error}"
    return Installed(checks, broken, found_at)


def load(entry: EntryPoint) -> Check:
    """A check by its entry point: a class without arguments, or a function that makes one.

    Raises:
        ValueError: What it may find is not named after it.
        Exception: Whatever its module raises.
    """
    made: Check = entry.load()()
    strange = [kind for kind in made.finds if not _is_of(entry.name, kind)]
    if strange or not made.finds or not isinstance(made.linear, bool):
        raise ValueError(f"what it finds must be called {entry.name!r} or '{entry.name}.KIND', not {strange or made!r}")
    return made


def _is_of(name: str, kind: str) -> bool:
    found = KIND.fullmatch(kind)
    return found is not None and found["check"] == name != UNCHECKED
