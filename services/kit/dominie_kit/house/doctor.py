"""What a machine must have for Dominie. Each installed service may ask for things (entry points `dominie.doctor`)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points

GROUP = "dominie.doctor"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    holds: bool
    found: str = ""
    """What is there, where it holds."""
    todo: str = ""
    """What to do, where it does not."""
    needed: bool = True
    """Whether Dominie lacks something without it, as it is set."""

    @property
    def fine(self) -> bool:
        """Whether nothing has to be done."""
        return self.holds or not self.needed


def examine() -> Iterator[Check]:
    """Everything that the installed services look at on this machine."""
    for probe in sorted(entry_points(group=GROUP), key=lambda probe: probe.name):
        look: Callable[[], Iterable[Check]] = probe.load()
        yield from look()
