"""The service as it is put together."""

from pathlib import Path

import pytest

from dominie_contracts.tool import COMMANDS
from dominie_kit.keys import KeyFolder
from dominie_tool import build
from dominie_tool.settings import Settings


def test_what_an_owner_may_is_what_all_may_but_for_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMINIE_TOOL_SANDBOX_OWNERS", '{"u-dana": {"memory_mb": 4096}}')
    settings = Settings()
    assert settings.most_of("u-dana").memory_mb == 4096
    assert settings.most_of("u-dana").processes == settings.most_of("w-ledger").processes == 128
    assert settings.most_of("w-ledger").memory_mb == 1024


def test_every_command_is_served(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    service = build(Settings(keys=keys.path, state=tmp_path))
    assert {route.command for route in service.routes} == set(COMMANDS)
    assert [route.command.NAME for route in service.routes if route.resource] == ["tool.invoke"]
    without = {route.command.NAME for route in service.routes if not route.token}
    servers = {f"tool.{each}" for each in ("mount", "review", "servers", "unmount")}
    assert without == {"tool.register", "tool.list", "tool.put", "tool.keep", "tool.fetch", *servers}
