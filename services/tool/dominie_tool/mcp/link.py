"""How a server is reached: what its session asks of either way."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from dominie_tool.mcp.ears import Ears

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

    Streams = AbstractAsyncContextManager[TransportStreams]


class Link(Protocol):
    """The way to one server, for one session."""

    @property
    def ears(self) -> Ears:
        """What is heard of it."""

    @property
    def lingers(self) -> bool:
        """Whether calls that are under way go on where another one has found it broken."""

    @property
    def pins(self) -> Mapping[str, str]:
        """What it is, beside what it says of itself: each part with its digest."""

    def open(self) -> AbstractAsyncContextManager["Streams"]:
        """Start it, or get ready to reach it, for as long as this is open.

        Raises:
            Invalid: There is no such program.
            Unavailable: This machine cannot hold it.
            OSError: It could not be started.
        """

    async def changed(self) -> bool:
        """Whether it is not what was opened any more; what it is now is in `pins`.

        Raises:
            Invalid: It is not there any more.
            Broken: It changes at this moment.
        """

    def calling(self) -> AbstractAsyncContextManager[None]:
        """What it needs while a tool of it is called."""

    def explain(self, error: Exception) -> str:
        """What went wrong, for people."""
