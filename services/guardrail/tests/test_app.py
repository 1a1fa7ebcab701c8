"""The service as it is put together."""

from pathlib import Path

from dominie_contracts.guardrail import COMMANDS
from dominie_guardrail import build
from dominie_guardrail.settings import Settings
from dominie_kit.keys.folder import KeyFolder


def test_every_command_is_served(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    service = build(Settings(keys=keys.path, state=tmp_path))
    assert {route.command for route in service.routes} == set(COMMANDS)
    assert [route.command.NAME for route in service.routes if not route.direct] == [
        "guardrail.publish",
        "guardrail.reserve",
    ]
