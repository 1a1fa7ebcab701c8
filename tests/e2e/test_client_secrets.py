"""Issuers that insist on a secret: the gateway alone has it, and people sign in with a browser and without one.

The issuer is a real one (oidc-provider-mock, Authlib); by one of its names it takes secrets in the form alone.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from dominie._device import Relay, sign_in
from dominie._signing_in import Place
from dominie._signing_in import sign_in as log_in
from dominie_contracts import Unavailable
from dominie_contracts.people import Issuers, IssuerView
from dominie_gateway import build as build_gateway
from dominie_gateway.settings import Settings as GatewaySettings
from dominie_identity import build as build_identity
from dominie_identity.people.issuers import Issuer
from dominie_identity.settings import Settings as IdentitySettings
from dominie_kit.testing import House, house, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
WAIT_S = 60.0
SECRETS = {"post": "s3cret: with% all+sorts&of=signs \u00e9"}
SECRET = "s3cret.of-signs_that-need~no-encoding"
"""Authlib takes what is shown in a header as it is, without undoing RFC 6749's encoding."""
GROUPS = {"engineers": ["developers"]}
NAMES = {"basic": "127.0.0.1", "post": "localhost", "wrong": "127.0.0.1", "open": "127.0.0.1"}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of the issuer's process."""
    program = [sys.executable, str(Path(__file__).with_name("openid_provider.py"))]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().strip().rpartition(":")[2])
        finally:
            process.kill()


@dataclass
class Scene:
    """Identity, and the gateway, which has secrets."""

    house: House
    gateway: str
    port: int

    async def issuer(self, name: str) -> IssuerView:
        async with httpx.AsyncClient() as client:
            found = (await client.get(f"{self.gateway}/people/issuers", timeout=WAIT_S)).content
        return next(each for each in Issuers.model_validate_json(found).issuers if each.name == name)

    def say(self, what: str, **said: object) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/test/{what}", json=said, timeout=WAIT_S).raise_for_status()

    def approve(self, user_code: str, name: str) -> None:
        self.say("approve", user_code=user_code, sub=f"s-{name}", claims=claims(name))


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, port: int) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("secrets")
    for name in NAMES:
        (folder / name).write_text(("another" if name == "wrong" else SECRETS.get(name, SECRET)) + "\n")
    issuers = {name: issuer(name, f"http://{host}:{port}") for name, host in NAMES.items()}
    secrets = {name: folder / name for name in NAMES if name != "open"}
    async with house(tmp_path_factory.mktemp("house")) as found:
        common = {"nats_url": found.url, "keys": found.keys.path, "state": folder}
        identity = build_identity(IdentitySettings.model_validate({**common, "identity_issuers": issuers}))
        gateway = build_gateway(GatewaySettings.model_validate({**common, "gateway_client_secret_files": secrets}))
        async with serving(identity), serving(gateway):
            url = str(json.loads((folder / "gateway.json").read_bytes())["url"])
            scene = Scene(found, url, port)
            for name in NAMES:
                method = f"client_secret_{'post' if name == 'post' else 'basic'}"
                scene.say(
                    "client",
                    id=f"client-{name}",
                    secret=SECRETS.get(name, SECRET),
                    method=method,
                    callback=f"{url}/callback",
                )
            yield scene


def claims(name: str) -> dict[str, object]:
    """Of a person at an issuer: a name is only ever one's."""
    return {"preferred_username": f"dana-{name}", "groups": ["engineers"]}


def issuer(name: str, url: str) -> Issuer:
    right = {"tenant": "acme", "scopes": "openid profile", "user_claim": "preferred_username", "groups": GROUPS}
    return Issuer.model_validate({**right, "url": url, "audience": f"client-{name}"})


async def browser_signs_in(scene: Scene, name: str) -> httpx.Response:
    """What the gateway says in the end."""
    async with httpx.AsyncClient(base_url=scene.gateway, timeout=WAIT_S) as client:
        await client.put(f"http://127.0.0.1:{scene.port}/users/s-{name}", json=claims(name))
        sent = (await client.get("/login", params={"issuer": name})).headers["location"]
        back = (await client.post(sent, data={"sub": f"s-{name}"})).headers["location"]
        assert urlsplit(back).path == "/callback", back
        answer = await client.get(back)
        return await client.get("/") if answer.status_code == 303 else answer


@pytest.mark.parametrize("name", ["basic", "post"])
async def test_people_sign_in_without_a_browser_at_an_issuer_that_wants_a_secret(
    scene: Scene, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = await log_in(
        Place(scene.gateway, scene.house.url), name, show=lambda device, _: scene.approve(device.user_code, name)
    )
    assert (found.who.principal, found.who.issuer) == (f"u-dana-{name}", name)


@pytest.mark.parametrize("name", ["basic", "post"])
async def test_people_sign_in_with_a_browser_at_an_issuer_that_wants_a_secret(scene: Scene, name: str) -> None:
    assert "Sign out" in (await browser_signs_in(scene, name)).text


@pytest.mark.parametrize("name", ["wrong", "open"])
async def test_with_another_secret_or_none_nobody_signs_in(scene: Scene, name: str) -> None:
    refused = await browser_signs_in(scene, name)
    assert (refused.status_code, "does not take this gateway" in refused.text) == (503, True)
    found = await scene.issuer(name)
    assert found.relayed is (name == "wrong")
    issuer = f"http://127.0.0.1:{scene.port}"
    at = Relay.of(scene.gateway, found) if found.relayed else Relay(f"{issuer}/oauth2/device", f"{issuer}/oauth2/token")
    async with httpx.AsyncClient() as client:
        with anyio.fail_after(WAIT_S), pytest.raises(Unavailable, match="'invalid_client'"):
            await sign_in(client, at, found, show=lambda device: scene.approve(device.user_code, name))


async def test_the_gateway_asks_an_issuer_for_nothing_else(scene: Scene) -> None:
    """Nor for whom it has no secret; and nothing it hands on is a secret, or lets anybody do more than sign in."""
    async with httpx.AsyncClient(base_url=f"{scene.gateway}/people/issuers", timeout=WAIT_S) as client:
        for path in ("/open/device", "/open/token", "/nobody/token", "/basic/authorize"):
            assert (await client.post(path, data={"device_code": "c"})).status_code == 404
        for form in (
            {},
            {"device_code": ""},
            {"device_code": "c" * 10_001},
            {"grant_type": "authorization_code", "code": "c"},
        ):
            assert (await client.post("/basic/token", data=form)).status_code == 400
        tried = {"device_code": "c", "grant_type": "client_credentials", "client_id": "client-open", "scope": "all"}
        assert (await client.post("/basic/token", data=tried)).json() == {"error": "invalid_request"}
        begun = (await client.post("/basic/device", data={"scope": "all", "client_id": "client-open"})).json()
        scene.approve(begun["user_code"], "basic")
        given = (await client.post("/basic/token", data={"device_code": begun["device_code"]})).json()
        known = (await client.get("")).text
    assert set(given) == {"id_token"}
    assert not any(secret in f"{begun}{given}{known}" for secret in (SECRET, *SECRETS.values()))
