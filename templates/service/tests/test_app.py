"""What the service is made of."""

from pathlib import Path

from dominie_contracts.newservice import COMMANDS
from dominie_eventstore import MemoryEventStore
from dominie_kit.keys.folder import KeyFolder
from dominie_newservice import build
from dominie_newservice.settings import Settings


def test_it_serves_every_command_of_its_contract(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path).create(["newservice"])
    service = build(Settings(keys=keys.path), MemoryEventStore())
    assert {route.command for route in service.routes} == set(COMMANDS)
