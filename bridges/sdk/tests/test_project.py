"""Who a program is: by its environment, by the project it stands in, or nobody."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from dominie import AsyncClient, Conflict, Credentials, Invalid, Unavailable
from dominie._config import find
from dominie._project import Project
from dominie.keys import KeyPair
from dominie.testing import Broker, House
from dominie_contracts.identity import PrincipalView, Register


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    monkeypatch.setattr("sys.argv", ["my desk.py"])
    return tmp_path / "work"


def write_project(folder: Path, **changed: Any) -> KeyPair:
    (folder / ".dominie").mkdir()
    keys = KeyPair.generate()
    (folder / ".dominie" / "developer.seed").write_text(keys.seed)
    found = {"nats_url": "nats://127.0.0.1:1", "tenant": "acme", "developer": "u-dev", "seed_file": "developer.seed"}
    (folder / ".dominie" / "client.json").write_text(json.dumps({**found, "rights_s": 7, "later": 1, **changed}))
    return keys


def set_environment(monkeypatch: pytest.MonkeyPatch, principal: str = "a-desk", **changed: str) -> KeyPair:
    keys = KeyPair.generate()
    given = {"URL": "nats://h:1", "TENANT": "acme", "PRINCIPAL": principal, "SEED": keys.seed, **changed}
    for name, value in given.items():
        monkeypatch.setenv(f"DOMINIE_{name}", value)
    return keys


def test_nothing_there_says_what_to_do() -> None:
    with pytest.raises(Unavailable, match="dominie up"):
        find("a", None)


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch, clean: Path) -> None:
    write_project(clean)
    keys = set_environment(monkeypatch, RIGHTS_S="2", USER="dana")
    who = find("a", None).credentials
    assert (who.url, who.tenant, who.principal, who.rights_s, who.user) == ("nats://h:1", "acme", "a-desk", 2, "u-dana")
    assert who.keys.public == keys.public
    assert find("a", "desk").project is None and find("a", "other").project is not None


def test_a_seed_can_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = set_environment(monkeypatch, SEED="", SEED_FILE=str(tmp_path / "seed"))
    (tmp_path / "seed").write_text(f"{keys.seed}\n")
    assert find("a", "desk").credentials.keys.public == keys.public


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"TENANT": ""}, "DOMINIE_TENANT"),
        ({"SEED": ""}, "SEED"),
        ({"SEED": "x"}, "nkey"),
        ({"RIGHTS_S": "x"}, "seconds"),
    ],
)
def test_a_bad_environment_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    set_environment(monkeypatch, **changed)
    with pytest.raises(Invalid, match=said):
        find("a", None)


def test_another_identity_is_not_taken_for_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch)
    for kind, name in (("a", "other"), ("w", None)):
        with pytest.raises(Invalid, match="a-desk"):
            find(kind, name)  # type: ignore[arg-type]  # both are kinds


def test_the_project_is_found_upwards_and_the_key_made_once(clean: Path) -> None:
    write_project(clean)
    first, again = find("a", None), find("a", None)
    path = clean / ".dominie" / "agents" / "a-my-desk.seed"
    assert (first.credentials.principal, first.credentials.user, first.credentials.rights_s) == (
        "a-my-desk",
        "u-dev",
        7,
    )
    assert first.new and not again.new and first.credentials.keys.public == again.credentials.keys.public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"nats_url": 1}'])
def test_a_broken_project_says_so(clean: Path, text: str) -> None:
    write_project(clean)
    (clean / ".dominie" / "client.json").write_text(text)
    with pytest.raises(Invalid, match=r"client\.json"):
        Project.find()


def view(command: Register) -> PrincipalView:
    return PrincipalView(
        tenant="acme",
        principal=command.principal,
        nkey=command.nkey,
        sponsor="u-dev",
        grants=command.grants,
        users=command.users,
        groups=(),
        revoked=False,
    )


@pytest.mark.anyio
async def test_a_new_agent_is_registered_before_it_connects(clean: Path, broker: Broker, house: House) -> None:
    write_project(clean, nats_url=broker.url)
    house.on(Register, lambda command, asked: view(command))
    for _ in range(2):
        async with AsyncClient("desk") as client:
            assert client.agent == "a-desk" and client.run().user == "u-dev"
    (asked,) = house.commands(Register)
    assert (asked.subject.principal, asked.command.principal) == ("u-dev", "a-desk")
    assert asked.command.grants.tools == ("*",) and asked.command.users == ("u-dev",)
    assert asked.command.nkey == client.credentials.keys.public


@pytest.mark.anyio
async def test_why_it_cannot_be_registered_is_said(clean: Path, broker: Broker, house: House) -> None:
    def no(command: Register, asked: object) -> PrincipalView:
        raise Conflict("a-desk has been revoked for good")

    write_project(clean, nats_url=broker.url)
    house.on(Register, no)
    with pytest.raises(Conflict, match="revoked"):
        async with AsyncClient("desk"):
            pass


@pytest.mark.anyio
async def test_a_broker_that_is_not_there_is_named(credentials: Credentials, broker: Broker) -> None:
    broker.kill()
    with pytest.raises(Unavailable, match="dominie up"):
        async with AsyncClient(credentials=credentials, timeout_s=0.3):
            pass
