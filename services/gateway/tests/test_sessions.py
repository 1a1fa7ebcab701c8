"""Sessions and sign-ins end by the clock, and over https their cookies are that host's alone."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from dominie_contracts import Draft, Recorded, Unauthenticated
from dominie_contracts.envelope import GENESIS
from dominie_contracts.identity import Resumed, Suspended
from dominie_contracts.people import IssuerView, Vouched
from dominie_gateway.adapters.people import People
from dominie_gateway.people.clients import Clients
from dominie_gateway.people.code_flow import BEGUN_S, CodeFlow, challenge
from dominie_gateway.people.entrance import Entrance
from dominie_gateway.people.sessions import MAX_S, MAX_SESSIONS, Sessions
from dominie_gateway.settings import Settings
from dominie_kit.edge.standing import Standing
from dominie_kit.issuer_testing import StaticIssuer, issuing

pytestmark = pytest.mark.anyio
DAY_S = 86_400


class Clock:
    """The time, as a test has it."""

    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def dana(until_s: float) -> Vouched:
    return Vouched(tenant="acme", principal="u-dana", groups=("developers",), issuer="corp", until_s=int(until_s))


@pytest.mark.parametrize(("token_s", "lasts_s"), [(300, 300), (DAY_S, MAX_S), (-5, 0)])
def test_a_session_ends_with_its_token_or_after_eight_hours(clock: Clock, token_s: int, lasts_s: int) -> None:
    clock.now_s = float(int(clock.now_s))
    sessions = Sessions(Standing(), clock=clock)
    id_, said_s = sessions.open(dana(clock.now_s + token_s))
    assert said_s == lasts_s and (sessions.find(id_) is not None) == (lasts_s > 0)
    clock.now_s += lasts_s - 1
    assert (sessions.find(id_) is not None) == (lasts_s > 0)
    clock.now_s += 1
    assert sessions.find(id_) is None
    clock.now_s -= lasts_s
    assert sessions.find(id_) is None


def test_whoever_is_suspended_signs_in_again_once_resumed(clock: Clock) -> None:
    standing = Standing()
    sessions = Sessions(standing, clock=clock)
    id_, _ = sessions.open(dana(clock.now_s + 300))
    standing.apply(event(Suspended(tenant="acme", principal="u-dana", by="operator", reason="away")))
    assert sessions.find(id_) is None
    standing.apply(event(Resumed(tenant="acme", principal="u-dana", by="operator")))
    assert sessions.find(id_) is None and sessions.find(sessions.open(dana(clock.now_s + 300))[0]) is not None


def event(payload: Suspended | Resumed) -> Recorded:
    draft = Draft(
        id="e",
        source="dominie/identity",
        type=f"principal.{payload.KIND}",
        time=datetime(2026, 7, 2, tzinfo=UTC),
        actor="operator",
        data=payload.model_dump_json(),
    )
    return Recorded(1, draft.seal("acme.principal.u-dana", "acme", version=1, prev=GENESIS))


def test_there_are_so_many_sessions_and_the_oldest_goes(clock: Clock) -> None:
    sessions = Sessions(Standing(), clock=clock)
    ids = [sessions.open(dana(clock.now_s + 300))[0] for _ in range(MAX_SESSIONS + 1)]
    assert len(set(ids)) == len(ids) and sessions.find(ids[0]) is None and sessions.find(ids[1]) is not None


@pytest.fixture(scope="module")
def issuer() -> Iterator[StaticIssuer]:
    with issuing() as served:
        yield served


async def test_what_a_browser_began_is_good_for_ten_minutes(clock: Clock, issuer: StaticIssuer) -> None:
    flow = CodeFlow(Clients({}), clock=clock)
    view = IssuerView(name="corp", url=issuer.url, client_id="dominie", scopes="openid")
    address, cookie = await flow.begin(view, "https://house.example/callback", "/")
    _, late = await flow.begin(view, "https://house.example/callback", "/")
    state = next(part.removeprefix("state=") for part in address.split("&") if part.startswith("state="))
    clock.now_s += BEGUN_S - 1
    assert f"code_challenge={challenge(flow.take(cookie, QueryParams(state=state)).verifier)}" in address
    with pytest.raises(Unauthenticated, match="ten minutes"):  # sealed by another
        CodeFlow(Clients({}), clock=clock).take(late, QueryParams(state=state))
    clock.now_s += 2
    with pytest.raises(Unauthenticated, match="ten minutes"):
        flow.take(late, QueryParams(state=state))


def test_rfc_7636_appendix_b() -> None:
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    ("public_url", "cookie"),
    [
        ("https://house.example/live", "__Host-dominie_session=x; HttpOnly; Max-Age=60; Path=/; SameSite=lax; Secure"),
        ("http://127.0.0.1:8080", "dominie_session=x; HttpOnly; Max-Age=60; Path=/; SameSite=lax"),
    ],
)
def test_over_https_a_cookie_is_that_hosts_alone(people: People, public_url: str, cookie: str) -> None:
    entrance = Entrance(people, Sessions(Standing()), token=None, public_url=public_url)
    answer = Response()
    entrance.let_in(answer, "x", 60)
    assert answer.headers["set-cookie"] == cookie
    assert entrance.base(Request({"type": "http", "headers": [(b"host", b"evil.example")]})) == public_url


@pytest.fixture
def people() -> People:
    class Nobody:
        async def call(self, *_: object, **__: object) -> object:
            raise AssertionError("nobody is asked")

    async def body(request: Request) -> bytes:
        raise AssertionError("nobody reads it")

    return People(Nobody(), Clients({}), body)  # type: ignore[arg-type]  # not called


def test_a_public_address_is_https_or_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMINIE_GATEWAY_PUBLIC_URL", "https://house.example/live/")
    assert Settings().gateway_public_url == "https://house.example/live"
    for bad in ("http://house.example", "house.example", "https://a@house.example", "https://house.example/?a=b", ""):
        monkeypatch.setenv("DOMINIE_GATEWAY_PUBLIC_URL", bad)
        with pytest.raises(ValidationError):
            Settings()
