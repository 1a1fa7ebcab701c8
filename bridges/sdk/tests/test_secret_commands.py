"""`dominie secret`: what is kept is said, its value never."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dominie.cli import build
from dominie.testing import House
from dominie_contracts.secrets import KeepSecret, ListSecrets, RemoveSecret, Secrets, SecretView

VALUE = "s3cr3t-of-dana"
VIEW = SecretView(name="API_KEY", hosts=("api.example.org",), tools=("fetch",), by="u-dev", since_ms=1_795_286_355_276)


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(build(), ["secret", *arguments], input=given)


def data(*arguments: str, given: str | None = None) -> dict[str, Any]:
    done = run(*arguments, "--json", given=given)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_secret_is_read_from_standard_input_and_never_said(project: Path, open_house: House) -> None:
    open_house.on(KeepSecret, lambda command, asked: Secrets(secrets=(VIEW,)))
    said = run(
        "set",
        "API_KEY",
        "--host",
        "api.example.org",
        "--host",
        "*.example.com",
        "--tool",
        "fetch",
        given=f"{VALUE}\r\n",
    )
    assert said.exit_code == 0 and said.stdout == "" and "API_KEY goes to api.example.org, *.example.com" in said.stderr
    command = open_house.commands(KeepSecret)[0].command
    assert (command.value, command.hosts, command.tools) == (VALUE, ("api.example.org", "*.example.com"), ("fetch",))
    assert VALUE not in said.output and VALUE not in repr(command)
    found = data("set", "API_KEY", "--host", "api.example.org", given=VALUE)
    assert found == {"secrets": [VIEW.model_dump(mode="json")]}


@pytest.mark.parametrize(
    ("arguments", "given", "why"),
    [
        (("set", "API_KEY", "--host", "api.example.org"), "", "no secret was given"),
        (("set", "API_KEY", "--host", "*"), VALUE, "a host is a whole name"),
        (("set", "API_KEY", "--host", "127.0.0.1"), VALUE, "a host is a whole name"),
        (("set", "api-key", "--host", "api.example.org"), VALUE, "a secret's name is like API_KEY"),
        (("remove", "api-key"), None, "no secret has a name like"),
    ],
)
def test_what_is_no_secret_is_not_asked_for(
    project: Path, open_house: House, arguments: tuple[str, ...], given: str | None, why: str
) -> None:
    said = run(*arguments, given=given)
    assert said.exit_code != 0 and why in str(said.exception) + said.output
    assert VALUE not in said.output and not open_house.commands(KeepSecret)


def test_secrets_are_listed_and_removed(project: Path, open_house: House) -> None:
    open_house.on(ListSecrets, lambda command, asked: Secrets(secrets=(VIEW,)))
    open_house.on(RemoveSecret, lambda command, asked: Secrets(secrets=()))
    shown = run("list").stdout
    assert all(each in shown for each in ("API_KEY", "api.example.org", "fetch", "u-dev", "2026-11-21"))
    assert data("list") == {"secrets": [VIEW.model_dump(mode="json")]}
    assert data("remove", "API_KEY") == {"removed": "API_KEY"}
    open_house.on(ListSecrets, lambda command, asked: Secrets(secrets=()))
    assert "No secrets are kept" in run("list").stdout
