"""The service as it is put together."""

from pathlib import Path

import pytest

from dominie_contracts.egress import Network
from dominie_contracts.tool import COMMANDS
from dominie_kit.keys.folder import KeyFolder
from dominie_tool import build
from dominie_tool.settings import Settings


def test_what_an_owner_may_is_what_all_may_but_for_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMINIE_TOOL_SANDBOX_OWNERS", '{"u-dana": {"memory_mb": 4096}}')
    settings = Settings()
    assert settings.most_of("u-dana").memory_mb == 4096
    assert settings.most_of("u-dana").processes == settings.most_of("w-ledger").processes == 128
    assert settings.most_of("w-ledger").memory_mb == 1024
    assert settings.most_of("u-dana").network == Network(hosts=("*",), ports=(443,))


def test_what_the_bus_and_the_log_are_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMINIE_NATS_URL", "nats://one.example.net:4222,nats://10.0.0.2:4222,tls://[fd00::3]:4222")
    monkeypatch.setenv("DOMINIE_STORE", "kurrentdb://log.example.net:2113?tls=false")
    assert Settings().bus_hosts == ("one.example.net", "10.0.0.2", "fd00::3", "log.example.net")


def test_every_command_is_served(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    service = build(Settings(keys=keys.path, state=tmp_path))
    assert {route.command for route in service.routes} == set(COMMANDS)
    assert [route.command.NAME for route in service.routes if route.resource] == ["tool.invoke"]
    without = {route.command.NAME for route in service.routes if not route.token}
    servers = {f"tool.{each}" for each in ("mount", "review", "servers", "unmount", "show", "deprecate")}
    secrets = {f"tool.{each}" for each in ("keep_secret", "remove_secret", "secrets")}
    labels = {f"tool.{each}" for each in ("endorse", "revoke_endorsement", "labels")}
    artifacts = {f"tool.{each}" for each in ("put", "keep", "fetch")}
    assert without == {"tool.register", "tool.list", *artifacts, *servers, *secrets, *labels}
