"""The service as it is put together."""

from pathlib import Path

from dominie_contracts.scheduler import COMMANDS, ListCeilings
from dominie_kit.keys.folder import KeyFolder
from dominie_scheduler import build
from dominie_scheduler.settings import Settings


def test_permits_are_for_services_alone(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    service = build(Settings(keys=keys.path, state=tmp_path))
    assert {route.command for route in service.routes} == set(COMMANDS)
    assert [route.command for route in service.routes if route.direct] == [ListCeilings]
