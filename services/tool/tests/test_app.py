"""The service as it is put together."""

from pathlib import Path

from dominie_contracts.tool import COMMANDS
from dominie_kit.keys import KeyFolder
from dominie_tool import build
from dominie_tool.settings import Settings


def test_every_command_is_served(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    service = build(Settings(keys=keys.path, state=tmp_path))
    assert {route.command for route in service.routes} == set(COMMANDS)
    assert [route.command.NAME for route in service.routes if route.resource] == ["tool.invoke"]
    without = {route.command.NAME for route in service.routes if not route.token}
    assert without == {"tool.register", "tool.list", "tool.put", "tool.keep", "tool.fetch"}
