"""The service as it is put together."""

from pathlib import Path

from dominie_contracts.judge import COMMANDS
from dominie_judge import build
from dominie_judge.settings import Settings
from dominie_kit.keys.folder import KeyFolder


def test_every_command_is_served(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    service = build(Settings(keys=keys.path, state=tmp_path))
    assert {route.command for route in service.routes} == set(COMMANDS)
    assert all(route.token for route in service.routes)
