"""People sign in with a browser, at an issuer that checks PKCE, and see their tenant's events; whatever else is tried.

One loop holds identity and the gateway, on a real broker; a browser is a client with its own jar of cookies.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx
import pytest
from joserfc.jwk import RSAKey

from dominie_contracts import Draft, StreamName
from dominie_contracts.identity import PRINCIPAL, Done, Revoke
from dominie_eventstore import JetStreamEventStore
from dominie_gateway import build as build_gateway
from dominie_gateway.settings import Settings as GatewaySettings
from dominie_identity import build as build_identity
from dominie_identity.people.issuers import Issuer
from dominie_identity.settings import Settings as IdentitySettings
from dominie_kit import Service
from dominie_kit.bus import Inner
from dominie_kit.issuer_testing import AUDIENCE, TOKEN, StaticIssuer, issuing
from dominie_kit.testing import House, house, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
WAIT_S = 60.0
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "first"})
EVIL = "<script>alert(1)</script>"
Params = dict[str, str]


@dataclass
class Scene:
    """Two tenants' issuers, identity, the gateway, and what happened in both tenants."""

    house: House
    identity: Service
    url: str
    issuers: dict[str, StaticIssuer]

    @property
    def corp(self) -> StaticIssuer:
        return self.issuers["corp"]


@dataclass
class Browser:
    """Somebody's browser."""

    scene: Scene
    client: httpx.AsyncClient
    asked: Params = field(default_factory=dict)
    """What it came to the issuer with."""

    async def begin(self, issuer: str = "corp", **query: str) -> Params:
        """Go to the issuer."""
        sent = await self.client.get("/login", params={"issuer": issuer, **query})
        assert sent.status_code == 303, sent.text
        address = urlsplit(sent.headers["location"])
        assert f"{address.scheme}://{address.netloc}{address.path}" == f"{self.scene.issuers[issuer].url}/authorize"
        self.asked = dict(parse_qsl(address.query, strict_parsing=True))
        return self.asked

    def answer(self, issuer: str = "corp", **claims: object) -> Params:
        """What the issuer sends them back with."""
        served = self.scene.issuers[issuer]
        said: dict[str, Any] = {"nonce": self.asked["nonce"], "groups": ["devs"], **claims}
        token = served.token(**said)
        return {"state": self.asked["state"], "code": served.code(self.asked, token)}

    async def come_back(self, params: Any) -> httpx.Response:
        return await self.client.get("/callback", params=params)

    async def sign_in(self, issuer: str = "corp", **claims: object) -> httpx.Response:
        await self.begin(issuer)
        back = await self.come_back(self.answer(issuer, **claims))
        assert back.status_code == 303, back.text
        return back


@pytest.fixture(scope="module")
def issuers() -> Iterator[dict[str, StaticIssuer]]:
    key = RSAKey.generate_key(2048, {"kid": "first"})
    with issuing(key) as corp, issuing(key) as abroad:
        yield {"corp": corp, "abroad": abroad}


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, issuers: dict[str, StaticIssuer]) -> AsyncIterator[Scene]:
    right = {"audience": AUDIENCE, "user_claim": "name", "groups": {"devs": ("developers",)}}
    tenants = {"corp": "acme", "abroad": "abroad"}
    configured = {
        name: Issuer.model_validate({**right, "url": issuers[name].url, "tenant": tenant})
        for name, tenant in tenants.items()
    }
    state = tmp_path_factory.mktemp("state")
    async with house(tmp_path_factory.mktemp("house")) as found:
        keys = found.keys.path
        identity = build_identity(
            IdentitySettings(nats_url=found.url, keys=keys, state=state, identity_issuers=configured)
        )
        gateway = build_gateway(GatewaySettings(nats_url=found.url, keys=keys, state=state))
        async with serving(identity), serving(gateway):
            for tenant in tenants.values():
                await happen(gateway, tenant, f"at-{tenant}")
            await found.register("u-kept")
            yield Scene(found, identity, address(state), issuers)


def address(state: Path) -> str:
    return str(json.loads((state / "gateway.json").read_bytes())["url"])


async def happen(service: Service, tenant: str, why: str) -> None:
    """Write an event as the tool service does."""
    tool = Inner("tool", service.settings)
    await tool.open()
    draft = Draft(
        id=why,
        source="dominie/tool",
        type="tool.unknown.v1",
        time=datetime.now(UTC),
        actor="a-desk",
        data=json.dumps({"why": why}),
        correlation_id=f"r-{why}",
    )
    await JetStreamEventStore(tool.client).append(StreamName(tenant, "tool", why), [draft], expected_version=0)
    await tool.close()


@asynccontextmanager
async def a_browser(scene: Scene) -> AsyncIterator[Browser]:
    async with httpx.AsyncClient(base_url=scene.url, timeout=WAIT_S) as client:
        yield Browser(scene, client)


@pytest.fixture
async def browser(scene: Scene) -> AsyncIterator[Browser]:
    async with a_browser(scene) as found:
        yield found


@pytest.fixture
async def stranger(scene: Scene) -> AsyncIterator[Browser]:
    async with a_browser(scene) as found:
        yield found


async def shown(browser: Browser, words: str) -> str:
    """The page, once it tells of something; events arrive a moment after they are written."""
    with anyio.fail_after(WAIT_S):
        while True:
            page = await browser.client.get("/")
            assert page.status_code == 200, page.text
            if words in page.text:
                return page.text
            await anyio.sleep(0.02)


async def test_who_signs_in_sees_their_tenant_and_nobody_elses(browser: Browser, stranger: Browser) -> None:
    first = await browser.client.get("/", params={"run": "r-1"})
    assert (first.status_code, first.headers["location"]) == (303, "login?next=%2F%3Frun%3Dr-1")
    choice = (await browser.client.get(first.headers["location"])).text
    assert "Sign in with corp" in choice and "Sign in with abroad" in choice
    asked = await browser.begin(next="/?run=r-1")
    assert (asked["response_type"], asked["code_challenge_method"], asked["scope"]) == ("code", "S256", "openid")
    back = await browser.come_back(browser.answer())
    assert back.headers["location"] == f"{browser.scene.url}/?run=r-1"
    session = next(each for each in back.headers.get_list("set-cookie") if each.startswith("dominie_session="))
    assert "HttpOnly" in session and "SameSite=lax" in session and "Secure" not in session
    page = await shown(browser, "at-acme")
    assert "at-abroad" not in page and "dana" in page
    await stranger.sign_in("abroad")
    assert "at-acme" not in await shown(stranger, "at-abroad")


async def test_a_page_is_told_of_its_own_tenant_alone_until_its_person_leaves(browser: Browser) -> None:
    await browser.sign_in()
    async with browser.client.stream("GET", "/events") as reply:
        lines = reply.aiter_lines()
        await told(lines, "at-acme")
        await happen(browser.scene.identity, "abroad", "later-abroad")
        await happen(browser.scene.identity, "acme", "later-acme")
        assert "abroad" not in await told(lines, "later-acme")
        left = await browser.client.post("/logout")
        assert (left.status_code, left.headers["location"]) == (303, "login?ask")
        await happen(browser.scene.identity, "acme", "last-acme")
        assert "last-acme" not in await told(lines, "event: over")
    assert (await browser.client.get("/")).status_code == 303
    assert (await browser.client.get("/events")).status_code == 401


async def told(lines: AsyncIterator[str], words: str) -> str:
    """Wait until a stream tells of something; all that it told until then."""
    said = ""
    with anyio.fail_after(WAIT_S):
        async for line in lines:
            said += line
            if words in line:
                return said
    raise AssertionError(f"it ended after {said!r}")


async def test_another_sites_request_signs_nobody_out(browser: Browser, stranger: Browser) -> None:
    await browser.sign_in()
    assert "set-cookie" not in (await stranger.client.post("/logout")).headers
    assert (await browser.client.get("/logout")).status_code == 405
    await shown(browser, "at-acme")


@pytest.mark.parametrize("groups", [[], ["unheard-of"]])
async def test_who_may_not_read_trails_sees_none(browser: Browser, groups: list[str]) -> None:
    await browser.sign_in(groups=groups)
    page = await browser.client.get("/")
    assert page.status_code == 403 and "at-acme" not in page.text and "Sign out" in page.text
    assert (await browser.client.get("/events")).status_code == 403


async def test_whoever_is_revoked_sees_nothing_more(browser: Browser) -> None:
    await browser.scene.house.register("u-gone", tenant="elsewhere")  # the same name in another tenant
    await browser.sign_in(name="gone", sub="s-gone")
    await shown(browser, "at-acme")
    await browser.scene.house.operator.ask(Revoke(principal="u-gone", tenant="elsewhere"), Done)
    await shown(browser, "at-acme")
    await browser.scene.house.register("u-gone")
    await browser.scene.house.operator.ask(Revoke(principal="u-gone", tenant="acme"), Done)
    with anyio.fail_after(WAIT_S):
        while (await browser.client.get("/")).status_code == 200:  # noqa: ASYNC110 - the page tells nobody
            await anyio.sleep(0.02)
    assert (await browser.client.get("/events")).status_code == 401
    await browser.begin()
    assert (await browser.come_back(browser.answer(name="gone", sub="s-gone"))).status_code == 403


async def test_signing_in_with_a_browser_writes_nothing(browser: Browser) -> None:
    await browser.sign_in(name="quiet", sub="s-quiet")
    assert await browser.scene.identity.store.read(StreamName("acme", PRINCIPAL, "u-quiet")) == []


@dataclass
class Try:
    """One thing that is tried, and the answer's status."""

    status: int
    claims: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Browser, Params], Any] = lambda browser, params: params
    cookie: str | None = None
    """Instead of what this browser was given; empty for none."""


def without(name: str) -> Callable[[Browser, Params], Params]:
    return lambda browser, params: {key: value for key, value in params.items() if key != name}


def with_(**changed: str) -> Callable[[Browser, Params], Params]:
    return lambda browser, params: {**params, **changed}


def of_another(**asked: str) -> Callable[[Browser, Params], Params]:
    """A code that was given for something else than was asked."""

    def change(browser: Browser, params: Params) -> Params:
        corp = browser.scene.corp
        _, token = corp.codes.pop(params["code"])
        return {**params, "code": corp.code({**browser.asked, **asked}, token)}

    return change


def signed_by_another(browser: Browser, params: Params) -> Params:
    token = browser.scene.corp.token(key=OTHER_KEY, nonce=browser.asked["nonce"])
    return {**params, "code": browser.scene.corp.code(browser.asked, token)}


def gives(token: str) -> Callable[[Browser, Params], Params]:
    return lambda browser, params: {**params, "code": browser.scene.corp.code(browser.asked, token)}


TRIES: dict[str, Try] = {
    "no state": Try(400, change=without("state")),
    "an empty state": Try(400, change=with_(state="")),
    "a wrong state": Try(401, change=with_(state="x" * 43)),
    "a state that is not ASCII": Try(401, change=with_(state="é" * 43)),
    "two states": Try(400, change=lambda b, p: [*p.items(), ("state", p["state"])]),
    "no cookie": Try(401, cookie=""),
    "a forged cookie": Try(401, cookie="gAAAAAB" + "x" * 93),
    "no code": Try(400, change=without("code")),
    "two codes": Try(400, change=lambda b, p: [*p.items(), ("code", "x")]),
    "an unknown code": Try(401, change=with_(code="x")),
    "a huge code": Try(400, change=with_(code="x" * 5000)),
    "the verifier of another (PKCE)": Try(401, change=of_another(code_challenge="x" * 43)),
    "a code of another client": Try(401, change=of_another(client_id="another")),
    "a code for elsewhere": Try(401, change=of_another(redirect_uri="https://evil.example/callback")),
    "the answer of another issuer": Try(401, change=with_(iss="https://evil.example")),
    "another nonce": Try(401, {"nonce": "x" * 43}),
    "no nonce": Try(401, {"nonce": None}),
    "a nonce that is no text": Try(401, {"nonce": 5}),
    "a token of another issuer": Try(401, {"iss": "https://evil.example"}),
    "a token for another audience": Try(401, {"aud": "another"}),
    "a token that is over": Try(401, {"iat": int(time.time()) - 300, "exp": int(time.time()) - 60}),
    "a token of long ago": Try(401, {"iat": int(time.time()) - 7200}),
    "a token signed by another": Try(401, change=signed_by_another),
    "a token signed by nobody": Try(401, change=gives("eyJhbGciOiJub25lIn0.e30.")),
    "no token": Try(401, change=gives("")),
    "a huge token": Try(401, change=gives("x" * 20_000)),
    "the name of somebody with a key": Try(409, {"name": "kept", "sub": "s-kept"}),
    "a name that nobody can have": Try(400, {"name": EVIL}),
    "a refusal": Try(403, change=with_(error="access_denied")),
    "a refusal in HTML": Try(403, change=with_(error=EVIL, error_description=EVIL)),
}


@pytest.mark.parametrize("name", TRIES)
async def test_what_does_not_hold_signs_nobody_in(browser: Browser, name: str) -> None:
    tried = TRIES[name]
    await browser.begin()
    params = tried.change(browser, browser.answer(**tried.claims))
    if tried.cookie is not None:
        browser.client.cookies.set("dominie_login", tried.cookie, domain="127.0.0.1")
    back = await browser.come_back(params)
    assert back.status_code == tried.status, back.text
    assert "dominie_session" not in str(back.headers.get_list("set-cookie")) and "<script" not in back.text
    assert (await browser.client.get("/events")).status_code == 401


async def test_an_answer_is_for_the_browser_that_began_and_once(browser: Browser, stranger: Browser) -> None:
    await browser.begin()
    await stranger.begin()
    params = browser.answer()
    assert (await stranger.come_back(params)).status_code == 401
    cookie = browser.client.cookies["dominie_login"]
    assert (await browser.come_back(params)).status_code == 303
    asked = browser.scene.corp.asked[TOKEN]
    stranger.client.cookies.set("dominie_login", cookie, domain="127.0.0.1")
    for again in (params, {**params, "code": browser.answer()["code"]}):
        refused = await stranger.come_back(again)
        assert refused.status_code == 401 and "answered before" in refused.text
    assert browser.scene.corp.asked[TOKEN] == asked


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/\\evil.example", "/x\r\nset-cookie: a=b"])
async def test_nobody_is_sent_elsewhere(browser: Browser, path: str) -> None:
    await browser.begin(next=path)
    back = await browser.come_back(browser.answer())
    assert back.headers["location"] == f"{browser.scene.url}/" and "a=b" not in str(back.headers)


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"x-forwarded-for": "10.0.0.9"}])
async def test_where_the_gateway_is_for_others_is_not_what_a_request_says(
    browser: Browser, headers: dict[str, str]
) -> None:
    refused = await browser.client.get("/login", params={"issuer": "corp"}, headers=headers)
    assert refused.status_code == 403 and "location" not in refused.headers


@pytest.mark.parametrize("session", ["", "x" * 43, "../../etc/passwd"])
async def test_a_forged_session_is_none(browser: Browser, session: str) -> None:
    browser.client.cookies.set("dominie_session", session, domain="127.0.0.1")
    assert (await browser.client.get("/events")).status_code == 401


async def test_an_issuer_that_is_not_there_signs_nobody_in(browser: Browser) -> None:
    refused = await browser.client.get("/login", params={"issuer": EVIL})
    assert refused.status_code == 404 and "<script" not in refused.text
