"""People sign in with a real OpenID provider, by the commands that they type, and what they let agents do is theirs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import dominie
from dominie._device import Device, sign_in
from dominie._signing_in import proof
from dominie.discovery import discover
from dominie.keys import KeyPair
from dominie_contracts import Forbidden, Unauthenticated
from dominie_contracts.identity import PrincipalView, Register, SignIn
from dominie_contracts.people import IssuerView
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.token import EVERYTHING, Grants
from dominie_identity.adapters.nats_jwt import from_base64
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(300)
WAIT_S = 60.0
CLIENT = "dominie-cli"


@dataclass
class Provider:
    """The provider's process."""

    url: str

    def approve(self, user_code: str, name: str, **claims: object) -> None:
        said = {"user_code": user_code, "sub": f"s-{name}", "claims": {"preferred_username": name, **claims}}
        self._say("approve", said)

    def deny(self, user_code: str) -> None:
        self._say("approve", {"user_code": user_code, "sub": "s-nobody", "deny": True})

    def expire(self, user_code: str) -> None:
        self._say("expire", {"user_code": user_code})

    def _say(self, what: str, said: Mapping[str, object]) -> None:
        httpx.post(f"{self.url}/test/{what}", json=said, timeout=WAIT_S).raise_for_status()


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    program = [sys.executable, str(Path(__file__).with_name("openid_provider.py"))]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Provider(process.stdout.readline().strip())
        finally:
            process.kill()


@dataclass
class Desk:
    """A deployment where people sign in, and a person's machine beside it."""

    system: System
    provider: Provider
    home: Path
    command: str

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
        return {**own, "XDG_CONFIG_HOME": str(self.home), "PYTHONWARNINGS": "error"}

    def run(self, *words: str, good: bool = True) -> Any:
        """A command with `--json`; what it prints, or else what it says went wrong."""
        done = subprocess.run(
            [self.command, *words, "--json"],
            cwd=self.system.plan.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S * 2,
        )
        assert (done.returncode == 0) == good, done.stderr
        return json.loads(done.stdout) if good else done.stderr

    def login(self, name: str, **claims: object) -> Any:
        """`dominie login`, with the person approving in their browser; what it prints."""
        with subprocess.Popen(
            [self.command, "login", "--json"],
            cwd=self.system.plan.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            try:
                said = process.stderr.readline()
                found = re.search(r"open (\S+) and type (\S+)$", said)
                assert found is not None, said + process.stderr.read()
                assert found[1] == f"{self.provider.url}/device"
                self.provider.approve(found[2], name, **claims)
                out, said = process.communicate(timeout=WAIT_S)
            finally:
                process.kill()
        assert process.returncode == 0, said
        return json.loads(out)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("login")
    (folder / "project").mkdir()
    corp = {
        "url": provider.url,
        "tenant": "local",
        "audience": CLIENT,
        "scopes": "openid profile",
        "user_claim": "preferred_username",
        "groups": {"support": ["finance"], "engineers": ["developers"]},
    }
    given = {"DOMINIE_IDENTITY_ISSUERS": json.dumps({"corp": corp})}
    services = ("identity", "gateway", "audit")
    with System(folder / "project", keys=folder / "keys", services=services, environment=given) as system:
        yield system


@pytest.fixture
def desk(system: System, provider: Provider, tmp_path: Path, dominie_command: str) -> Desk:
    return Desk(system, provider, tmp_path, dominie_command)


def test_a_person_signs_in_lets_an_agent_act_for_them_and_logs_out(desk: Desk) -> None:
    assert desk.run("whoami") == {"logged_in": False, "principal": "u-dev", "tenant": "local"}
    found = desk.login("dana", groups=["support", "unheard-of"])
    assert (found["principal"], found["tenant"], found["groups"]) == ("u-dana", "local", ["finance"])
    assert desk.run("whoami") == found

    seed = KeyPair.load(desk.system.state.path / "dev.seed")
    with dominie.Client(credentials=dominie.Credentials(desk.system.nats_url, "local", "u-dev", seed)) as client:
        keys = KeyPair.generate()
        everything = Grants(tools=(EVERYTHING,), models=(EVERYTHING,), namespaces=(EVERYTHING,))
        client.ask(Register(principal="a-desk", nkey=keys.public, grants=everything), PrincipalView)
    shown = desk.run("agent", "token", "desk", "--run", "t-17", "--max-cost-usd", "5")
    assert shown["user"] == "u-dana"
    who = dominie.Credentials(desk.system.nats_url, "local", "a-desk", keys)
    with dominie.Client(credentials=who) as agent:
        minted = agent.ask(MintRunToken(user="u-dana", run="t-17", subject_token=shown["token"]), RunToken)
    claims = json.loads(from_base64(minted.token.split(".")[1]))
    assert claims["sub"] == "u-dana" and claims["act"]["sub"].endswith("/agent/desk")
    opened = desk.run("audit", "search", "--type", "run.opened.v1")["entries"]
    assert [event["data"]["basis"] for event in opened if event["data"]["run"] == "t-17"] == ["subject-token"]

    assert desk.run("delegate", "desk", "--for", "2h")["delegations"][0]["agent"] == "a-desk"
    assert desk.run("logout") == {"logged_out": True}
    assert not list((desk.home / "dominie/logins").iterdir())
    assert desk.run("whoami")["logged_in"] is False


def test_a_login_is_kept_where_nobody_else_reads_it_and_is_over_in_time(desk: Desk) -> None:
    desk.login("erin")
    [file] = (desk.home / "dominie/logins").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    file.chmod(0o644)
    assert "others can read" in desk.run("whoami", good=False)
    file.chmod(0o600)
    before = json.loads(file.read_text())
    desk.login("erin")
    after = json.loads(file.read_text())
    assert after["seed"] == before["seed"]  # what was signed with it still counts
    file.write_text(json.dumps({**after, "who": {**after["who"], "until_s": 1}}))
    assert desk.run("whoami")["logged_in"] is False
    assert "the login of u-erin is over" in desk.run("delegations", good=False)


def test_an_issuer_that_is_not_there_is_named(desk: Desk) -> None:
    assert "--issuer corp" in desk.run("login", "--issuer", "unheard-of", good=False)
    assert "neither https" in desk.run("login", "--gateway", "http://gateway.example.com", good=False)


def test_what_the_gateway_is_shown_has_to_hold(desk: Desk) -> None:
    keys = KeyPair.generate()
    command = SignIn(issuer="corp", subject_token="x", nkey=keys.public, proof=proof("x", keys))
    with httpx.Client(base_url=str(desk.system.gateway_url), timeout=WAIT_S) as client:
        refused = client.post("/people/sign-in", content=command.model_dump_json())
        assert (refused.status_code, refused.json()["type"]) == (401, "urn:dominie:problem:unauthenticated")
        for body in ("", "[]", '{"issuer": "corp"}', command.model_dump_json()[:-1] + ', "more": 1}'):
            bad = client.post("/people/sign-in", content=body)
            assert (bad.status_code, bad.json()["type"]) == (400, "urn:dominie:problem:invalid")
        assert client.post("/people/sign-in", content=b"x" * 300_000).status_code == 413
        assert [each["name"] for each in client.get("/people/issuers").json()["issuers"]] == ["corp"]


@dataclass
class Flow:
    """The device flow alone, with what it waited."""

    provider: Provider
    waited: list[float]

    async def run(self, meanwhile: Any, *, sleep_s: float = 0.05) -> str:
        """Sign in; `meanwhile` is what happens once the code is shown."""
        issuer = IssuerView(name="corp", url=self.provider.url, client_id=CLIENT, scopes="openid")

        async def sleep(seconds: float) -> None:
            self.waited.append(seconds)
            await anyio.sleep(sleep_s)

        def show(device: Device) -> None:
            meanwhile(device.user_code)

        async with httpx.AsyncClient() as client:
            return await sign_in(client, await discover(client, issuer.url), issuer, show=show, sleep=sleep)


@pytest.fixture
def flow(provider: Provider) -> Flow:
    return Flow(provider, [])


def test_whoever_asks_too_often_asks_less_often(flow: Flow) -> None:
    def meanwhile(user_code: str) -> None:
        flow.code = user_code  # type: ignore[attr-defined]

    async def run() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(flow.run, meanwhile)
            while len(flow.waited) < 3:  # noqa: ASYNC110 - the flow tells nobody
                await anyio.sleep(0.01)
            await anyio.to_thread.run_sync(flow.provider.approve, flow.code, "dana")  # type: ignore[attr-defined]

    with_limit(run)
    assert flow.waited[0] == 1 and flow.waited[2] >= 6 and flow.waited == sorted(flow.waited)


def test_who_says_no_is_not_signed_in(flow: Flow) -> None:
    with pytest.raises(Forbidden, match="told not to"):
        with_limit(lambda: flow.run(flow.provider.deny))


def test_a_code_that_is_over_signs_nobody_in(flow: Flow) -> None:
    with pytest.raises(Unauthenticated, match="not good any more"):
        with_limit(lambda: flow.run(flow.provider.expire))


def with_limit(work: Any) -> None:
    async def limited() -> None:
        with anyio.fail_after(WAIT_S):
            await work()

    anyio.run(limited)
