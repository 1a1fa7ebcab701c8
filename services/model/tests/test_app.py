"""The service as it is put together."""

from pathlib import Path

from dominie_contracts.model import COMMANDS
from dominie_kit.keys.folder import KeyFolder
from dominie_model import build
from dominie_model.app import Providers
from dominie_model.settings import Settings


def test_every_command_is_served_to_agents_and_to_services(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    service = build(Settings(keys=keys.path, state=tmp_path))
    assert {route.command for route in service.routes} == set(COMMANDS)
    assert all(route.direct and route.between for route in service.routes)
    assert [route.command.NAME for route in service.routes if route.token] == ["model.chat"]


def test_without_offers_a_scripted_model_is_offered_and_is_free() -> None:
    targets = Providers(Settings()).targets
    assert {name: target.model for name, target in targets.items()} == {
        "auto": "openai/scripted",
        "scripted": "openai/scripted",
    }
    assert {(target.input_cost_per_token, target.output_cost_per_token) for target in targets.values()} == {(0, 0)}


def test_offers_are_read_from_one_setting() -> None:
    settings = Settings.model_validate(
        {"model_offers": {"auto": {"model": "openai/gpt-4.1-mini", "slots": 2, "api_key": "sk-1"}}}
    )
    target = Providers(settings).targets["auto"]
    assert (target.model, settings.model_offers["auto"].slots) == ("openai/gpt-4.1-mini", 2)
    assert "sk-1" not in repr(target)
