"""Pods connect with what their cluster says of them, and a key of their own process; nothing else gets in so."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from joserfc.jwk import RSAKey

import dominie
from dominie._config import from_environment
from dominie.keys import KeyPair
from dominie_contracts import Invalid, Problem, StreamName, Unauthenticated, Unavailable
from dominie_contracts.identity import REFUSALS, Done, Refused, Suspend
from dominie_contracts.registry import parse_own
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_identity import build
from dominie_identity.people.issuers import Issuer
from dominie_identity.settings import Settings
from dominie_kit import Service
from dominie_kit.issuer_testing import CONFIGURATION, JWKS, StaticIssuer, issuing
from dominie_kit.testing import House, assertion, connected, house, is_refused, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
WAIT_S = 120
DESK, OTHER = "system:serviceaccount:shop:desk", "system:serviceaccount:shop:other"
MINT = MintRunToken(user="u-a-desk", run="r")


@dataclass
class Scene:
    """Identity, two clusters of two tenants, one that is away, and a provider for people."""

    house: House
    service: Service
    clusters: dict[str, StaticIssuer]

    def token(self, *, cluster: str = "shop", **changed: Any) -> str:
        return bound(self.clusters[cluster], **changed)

    async def is_refused(self, token: str, *, principal: str = "a-desk", tenant: str = "acme") -> bool:
        keys = KeyPair.generate()
        shown = assertion(keys, tenant, principal, token=token)
        return await is_refused(self.house.url, keys, tenant, principal, token=shown)

    def environment(self, file: Path, **more: str) -> dict[str, str]:
        who = {"DOMINIE_TENANT": "acme", "DOMINIE_PRINCIPAL": "a-desk"}
        return {"DOMINIE_URL": self.house.url, **who, "DOMINIE_WORKLOAD_TOKEN_FILE": str(file), **more}


def bound(cluster: StaticIssuer, *, sub: str = DESK, **changed: Any) -> str:
    """A token as a cluster projects it into a pod."""
    _, _, namespace, name = sub.split(":") if sub.count(":") == 3 else ("", "", "shop", "desk")
    said = {"namespace": namespace, "serviceaccount": {"name": name, "uid": "u"}, "pod": {"name": "p", "uid": "v"}}
    right = {"aud": ["dominie"], "sub": sub, "kubernetes.io": said, "name": None}
    return cluster.token(**{**right, **changed})


@pytest.fixture(scope="module")
def clusters() -> Iterator[dict[str, StaticIssuer]]:
    with issuing() as shop, issuing() as abroad, issuing() as away, issuing() as corp:
        away.answers[CONFIGURATION] = (503, {}, b"")
        yield {"shop": shop, "abroad": abroad, "away": away, "corp": corp}


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, clusters: dict[str, StaticIssuer]) -> AsyncIterator[Scene]:
    agents = {"shop:desk": "a-desk", "shop:idle": "a-unheard-of", "shop:tools": "w-tools"}
    configured = {
        name: Issuer(url=served.url, tenant="acme", audience="dominie", kind="kubernetes", agents=agents)
        for name, served in clusters.items()
    }
    configured["abroad"] = configured["abroad"].model_copy(update={"tenant": "abroad"})
    configured["corp"] = Issuer(url=clusters["corp"].url, tenant="acme", audience="dominie")
    async with house(tmp_path_factory.mktemp("house")) as found:
        settings = Settings(
            nats_url=found.url, keys=found.keys.path, state=found.keys.path / "state", identity_issuers=configured
        )
        async with serving(build(settings)) as service:
            for tenant in ("acme", "abroad"):
                await found.register("a-desk", tenant=tenant)
            await found.register("a-other")
            scene = Scene(found, service, clusters)
            with anyio.fail_after(WAIT_S):
                while await scene.is_refused(scene.token()):  # noqa: ASYNC110 - its keys are being fetched
                    await anyio.sleep(0.1)
            yield scene


CASES: dict[str, dict[str, Any]] = {
    "no token": {"key": RSAKey.generate_key(2048)},
    "another audience": {"aud": ["https://kubernetes.default.svc"]},
    "another service account": {"sub": OTHER},
    "one that is another agent": {"sub": "system:serviceaccount:shop:tools"},
    "one whose agent is not registered": {"sub": "system:serviceaccount:shop:idle"},
    "a person": {"sub": "dana"},
    "a name in another namespace": {"sub": "system:serviceaccount:other:desk"},
    "a part of a name": {"sub": "system:serviceaccount:shop:desk:x"},
    "bound to another account than its own": {"kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "x"}}},
    "bound to nothing": {"kubernetes.io": None},
    "bound in words": {"kubernetes.io": "shop:desk"},
    "a key that nobody knows": {"header": {"kid": "unknown"}},
    "expired": {"iat": 1_000_000, "exp": 1_003_600},
    "never ends": {"exp": None},
    "an access token": {"header": {"typ": "at+jwt"}},
    "another cluster's name": {"iss": "https://kubernetes.default.svc"},
}


@pytest.mark.parametrize("name", CASES)
async def test_a_token_lets_nobody_in(scene: Scene, name: str) -> None:
    assert await scene.is_refused(scene.token(**CASES[name]))


async def test_a_token_is_of_its_cluster_tenant_and_agent(scene: Scene) -> None:
    assert not await scene.is_refused(scene.token())
    assert await scene.is_refused(scene.token(), principal="a-other")
    assert await scene.is_refused(scene.token(), tenant="abroad")
    assert await scene.is_refused(scene.token(cluster="abroad"))
    assert await scene.is_refused(scene.token(cluster="corp"))
    assert not await scene.is_refused(scene.token(cluster="abroad"), tenant="abroad")
    assert await scene.is_refused("x" * 40_000)


async def test_an_assertion_is_worth_nothing_without_the_key_of_its_process(scene: Scene) -> None:
    keys, thief = KeyPair.generate(), KeyPair.generate()
    shown = assertion(keys, "acme", "a-desk", token=scene.token())
    assert await is_refused(scene.house.url, thief, "acme", "a-desk", token=shown)
    assert await is_refused(scene.house.url, keys, "acme", "a-desk", token=assertion(keys, "acme", "a-desk"))
    stale = assertion(keys, "acme", "a-desk", token=scene.token(), iat=time.time() - 600, exp=time.time() - 500)
    assert await is_refused(scene.house.url, keys, "acme", "a-desk", token=stale)
    assert not await is_refused(scene.house.url, keys, "acme", "a-desk", token=shown)


async def test_a_pod_runs_with_no_key_file_and_reads_its_token_anew(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(scene.token() + "\n")
    credentials = from_environment(scene.environment(file))
    async with dominie.AsyncClient(credentials=credentials) as agent:
        assert (await agent.ask(MINT, RunToken)).run == "r"
    file.write_text("not one any more")
    await is_not_let_in(credentials, Unauthenticated)
    file.write_text(scene.token())
    async with dominie.AsyncClient(credentials=credentials) as agent:
        assert (await agent.ask(MINT, RunToken)).run == "r"


async def is_not_let_in(credentials: dominie.Credentials, problem: type[Problem]) -> None:
    agent = dominie.AsyncClient(credentials=credentials, timeout_s=6 if problem is Unavailable else WAIT_S)
    with pytest.raises(problem):
        await agent.open()
    await agent.aclose()


async def test_a_connection_ends_with_its_token(scene: Scene) -> None:
    keys, now = KeyPair.generate(), int(time.time())
    shown = assertion(keys, "acme", "a-desk", token=scene.token(iat=now, exp=now + 4))
    async with connected(scene.house.url, keys, "acme", "a-desk", token=shown) as peer:
        with anyio.fail_after(WAIT_S):
            await peer.ended.wait()
    assert time.time() >= now + 3


async def test_a_token_that_is_not_there_is_named(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="FileNotFoundError"):
        from_environment(scene.environment(tmp_path / "token"))
    with pytest.raises(Invalid, match="DOMINIE_WORKLOAD_TOKEN_FILE"):
        from_environment({**scene.environment(tmp_path / "token"), "DOMINIE_WORKLOAD_TOKEN_FILE": ""})


async def test_a_cluster_that_is_away_is_waited_for(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(scene.token(cluster="away"))
    await is_not_let_in(from_environment(scene.environment(tmp_path / "token")), Unavailable)


async def test_unknown_keys_have_the_cluster_asked_once_a_minute(scene: Scene) -> None:
    before = scene.clusters["shop"].asked[JWKS]
    for number in range(20):
        assert await scene.is_refused(scene.token(header={"kid": f"k{number}"}))
    assert scene.clusters["shop"].asked[JWKS] <= before + 1


async def test_refusals_are_counted_with_their_agent(scene: Scene) -> None:
    assert await scene.is_refused(scene.token(sub=OTHER))
    stream, wanted = StreamName("acme", REFUSALS, "a-desk"), "connect: its cluster does not vouch for it"

    async def counted() -> bool:
        events = [parse_own(event) for event in await scene.service.store.read(stream)]
        return any(each.what == wanted for event in events if isinstance(event, Refused) for each in event.counts)

    with anyio.fail_after(WAIT_S * 2):
        while not await counted():  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.1)


async def test_an_agent_that_was_suspended_stays_out_whatever_its_cluster_says(scene: Scene) -> None:
    await scene.house.register("w-tools")
    right = scene.token(sub="system:serviceaccount:shop:tools")
    assert not await scene.is_refused(right, principal="w-tools")
    await scene.house.operator.ask(Suspend(principal="w-tools", tenant="acme"), Done)
    assert await scene.is_refused(right, principal="w-tools")
