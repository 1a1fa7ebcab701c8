"""Read models: what events add up to. Dropping one and rebuilding it from the log gives the same answers."""

from typing import Protocol, Self, runtime_checkable

from dominie_contracts.envelope import Recorded


class Projection(Protocol):
    """A read model; synchronous, and told of each event of its category once, in order."""

    @property
    def position(self) -> int:
        """Of the last event that was applied, and stored where it stores them; 0 before the first one."""
        ...

    def apply(self, event: Recorded) -> None:
        """Take in one event; the position becomes this event's."""
        ...

    def reset(self) -> None:
        """Forget everything; the position becomes 0."""
        ...

    def fresh(self) -> Self:
        """One that knows nothing, or what an interrupted rebuild had come to, to be built while this one serves."""
        ...

    def become(self, built: Self) -> None:
        """Take over all that the built one knows, at once; whoever holds this one sees the new answers."""
        ...


class InMemory:
    """A read model in its process's memory: all that it knows is in its attributes.

    One that needs arguments, or that others wait at, says itself how it is made anew and what it takes over.
    """

    position = 0

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)()

    def become(self, built: Self) -> None:
        """Take over all that the built one knows."""
        vars(self).update(vars(built))

    def reset(self) -> None:
        """Forget everything."""
        self.become(self.fresh())


@runtime_checkable
class Stored(Protocol):
    """A read model that outlives its process."""

    @property
    def outdated(self) -> bool:
        """What is stored is another version's: it has to be built anew before an event can be applied."""
        ...

    @property
    def serves(self) -> bool:
        """Though it is outdated, what is stored can be read."""
        ...

    @property
    def unfinished(self) -> bool:
        """A rebuild was under way when its process ended."""
        ...

    def hold(self) -> None:
        """Events are coming: store them together."""
        ...

    def release(self) -> None:
        """Store what was held, and from now on each event by itself."""
        ...

    def close(self) -> None:
        """Store what was held; nothing is applied any more."""
        ...
