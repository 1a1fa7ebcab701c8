"""A service's connection, and what it waits for."""

from pathlib import Path

import pytest
from nats.errors import UnexpectedEOF

from dominie.wire import Wire
from dominie_kit.bus import Connection
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.settings import KitSettings

pytestmark = pytest.mark.anyio


class Ending(Wire):
    """Ends while it is flushed, and while it comes back, for as often as it is told."""

    def __init__(self, ends: int) -> None:
        super().__init__()
        self.ends, self.asked = ends, 0

    @property
    def is_connected(self) -> bool:
        self.asked += 1
        return self.asked % 2 == 0

    async def flush(self, timeout: int = 10) -> None:  # noqa: ASYNC109 - nats-py has it
        self.ends -= 1
        if self.ends >= 0:
            raise UnexpectedEOF


async def test_what_was_written_is_flushed_on_the_next_connection_where_one_ended(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    connection = Connection("tool", "edge", KitSettings(keys=keys.path, state=tmp_path))
    client = connection.client = Ending(2)
    await connection.flushed()
    assert (client.ends, client.asked) == (-1, 6)
