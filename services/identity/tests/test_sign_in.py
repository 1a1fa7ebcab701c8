"""ID tokens that are forged, old, for others, of others or none at all: refused, counted, and nothing written."""

import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from dominie._signing_in import proof
from dominie.keys import KeyPair
from dominie.returning import Returning
from dominie_contracts import Conflict, Problem, StreamName, Unavailable
from dominie_contracts.identity import PRINCIPAL, REFUSALS, Done, Erased, Refused, Registered, Revoke, SignIn, Suspend
from dominie_contracts.people import SignedIn
from dominie_contracts.registry import parse_own
from dominie_contracts.subjects import PLATFORM, service_inbox_prefix
from dominie_identity import build
from dominie_identity.adapters.nats_jwt import from_base64, to_base64
from dominie_identity.aggregate import State, evolve
from dominie_identity.people.aggregate import decide_sign_in
from dominie_identity.people.issuers import Issuer
from dominie_identity.people.vouching import Person
from dominie_identity.settings import Settings
from dominie_kit import Service
from dominie_kit.issuer_testing import AUDIENCE, CONFIGURATION, JWKS, StaticIssuer, issuing
from dominie_kit.testing import House, Peer, connected, house, is_refused, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
ISSUERS = ("corp", "abroad", "elsewhere", "moved", "keys_moved", "huge", "away", "email", "cluster")
WAIT_S = 120
KEYS = KeyPair.generate()
TWIN = ECKey.generate_key("P-256", {"kid": "twin"})
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass
class Scene:
    """Identity, several issuers, and the gateway's connection."""

    house: House
    service: Service
    issuers: dict[str, StaticIssuer]
    gateway: Peer
    tried: int = field(default=0)

    @property
    def corp(self) -> StaticIssuer:
        return self.issuers["corp"]

    async def sign_in(self, token: str, *, issuer: str = "corp", keys: KeyPair = KEYS, **changed: object) -> SignedIn:
        command = SignIn(issuer=issuer, subject_token=token, nkey=keys.public, proof=proof(token, keys))
        return await self.gateway.ask(command.model_copy(update=changed), SignedIn, timeout_s=WAIT_S)

    async def first(self) -> None:
        """Somebody signs in; on a busy machine the issuer's keys may take a while."""
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    await self.sign_in(self.corp.token(name="erin", sub="s-erin"), keys=KeyPair.generate())
                    return
                except Unavailable:
                    await anyio.sleep(0.5)

    async def events(self) -> int:
        """How many events there are of people who sign in here."""
        names = [("acme", name) for name in ("u-dana", "u-erin", "u-gone", "u-kept")] + [("abroad", "u-dana")]
        found = [await self.service.store.read(StreamName(tenant, PRINCIPAL, name)) for tenant, name in names]
        return sum(map(len, found))


def issuer(served: StaticIssuer, **more: object) -> Issuer:
    right: dict[str, object] = {"url": served.url, "tenant": "acme", "audience": AUDIENCE, "user_claim": "name"}
    return Issuer.model_validate({**right, "groups": {"devs": ("developers",)}, **more})


@pytest.fixture(scope="module")
def issuers() -> Iterator[dict[str, StaticIssuer]]:
    with ExitStack() as stack:
        one, other = (RSAKey.generate_key(2048, {"kid": "first"}) for _ in range(2))
        found = {name: stack.enter_context(issuing(other if name == "abroad" else one)) for name in ISSUERS}
        found["elsewhere"].metadata["issuer"] = found["corp"].url
        found["moved"].answers[CONFIGURATION] = (302, {"location": found["corp"].url + CONFIGURATION}, b"")
        found["keys_moved"].answers[JWKS] = (307, {"location": found["corp"].url + JWKS}, b"")
        found["huge"].answers[JWKS] = (200, {}, json.dumps({"keys": [], "pad": "x" * 300_000}).encode())
        found["away"].answers[CONFIGURATION] = (503, {}, b"")
        corp = found["corp"]
        with pytest.warns(SecurityWarning):
            weak = RSAKey.generate_key(1024, {"kid": "weak"})
        corp.keys += [
            RSAKey.generate_key(2048, {"kid": "second"}).as_dict(private=False),
            TWIN.as_dict(private=False),
            weak.as_dict(private=False),
            {**corp.key.as_dict(private=False), "kid": "sealing", "use": "enc"},
            {**corp.key.as_dict(private=False), "kid": "ps", "alg": "PS256"},
            {"kty": "oct", "kid": "shared", "k": to_base64(b"s" * 32)},
            {"kty": "of a later time", "kid": "later"},
        ]
        corp.weak = weak  # type: ignore[attr-defined]  # for one case
        yield found


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, issuers: dict[str, StaticIssuer]) -> AsyncIterator[Scene]:
    configured = {name: issuer(served) for name, served in issuers.items()}
    configured["abroad"] = issuer(issuers["abroad"], tenant="abroad")
    configured["email"] = issuer(issuers["email"], user_claim="email")
    configured["cluster"] = issuer(issuers["cluster"], kind="kubernetes", agents={"shop:desk": "a-desk"})
    async with house(tmp_path_factory.mktemp("house")) as found:
        state = found.keys.path / "state"
        settings = Settings(nats_url=found.url, keys=found.keys.path, state=state, identity_issuers=configured)
        async with serving(build(settings)) as service:
            client = Returning()
            inbox = f"{service_inbox_prefix('gateway')}.inner".encode()
            await client.connect(found.url, nkeys_seed_str=found.keys.service("gateway").inner.seed, inbox_prefix=inbox)
            scene = Scene(found, service, issuers, Peer(client))
            await found.register("u-kept")
            await scene.first()
            yield scene
            await client.close()


def public_pem(key: RSAKey) -> bytes:
    return key.as_pem(private=False)


def unsigned(claims: dict[str, Any], algorithm: str = "none") -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "kid": "first"}, claims)]
    return ".".join((*map(to_base64, parts), ""))


def shared(scene: Scene, secret: bytes) -> str:
    """Signed with what everybody knows, as if it were a secret."""
    body = unsigned(scene.corp.claims(), "HS256").rstrip(".")
    return f"{body}.{to_base64(hmac.digest(secret, body.encode(), 'sha256'))}"


def ages(seconds: int, **more: int) -> dict[str, Any]:
    """Issued and ending so much later than now; `more` after that."""
    now = int(time.time())
    return {"iat": now + seconds, "exp": now + seconds + 60, **{name: now + after for name, after in more.items()}}


Make = Callable[[Scene], str]
NOT, NO, AWAY, BAD, TAKEN = "unauthenticated", "forbidden", "unavailable", "invalid", "conflict"
CASES: dict[str, tuple[str, Make]] = {
    "no token": (NOT, lambda s: "not a token"),
    "no JSON": (NOT, lambda s: "e30.!!!.e30"),
    "a list": (NOT, lambda s: ".".join(["W10", "W10", "W10"])),
    "deeply nested": (NOT, lambda s: "e30." + to_base64(b"[" * 9000) + ".e30"),
    "wrong issuer": (NOT, lambda s: s.corp.token(iss="https://login.example.com")),
    "its issuer with a slash more": (NOT, lambda s: s.corp.token(iss=s.corp.url + "/")),
    "wrong audience": (NOT, lambda s: s.corp.token(aud="another")),
    "no audience": (NOT, lambda s: s.corp.token(aud=None)),
    "an audience of numbers": (NOT, lambda s: s.corp.token(aud=[1, 2])),
    "several audiences, no azp": (NOT, lambda s: s.corp.token(aud=[AUDIENCE, "another"])),
    "several audiences, another azp": (NOT, lambda s: s.corp.token(aud=[AUDIENCE, "another"], azp="another")),
    "one audience, another azp": (NOT, lambda s: s.corp.token(azp="another")),
    "alg none": (NOT, lambda s: unsigned(s.corp.claims())),
    "alg None": (NOT, lambda s: unsigned(s.corp.claims(), "None")),
    "no signature": (NOT, lambda s: s.corp.token().rpartition(".")[0] + "."),
    "another signature": (NOT, lambda s: s.corp.token().rpartition(".")[0] + "." + "A" * 342),
    "other claims": (
        NOT,
        lambda s: ".".join((*s.corp.token(name="root").split(".")[:2], s.corp.token().split(".")[2])),
    ),
    "HS256 with the public key": (NOT, lambda s: shared(s, public_pem(s.corp.key))),
    "HS256 with the shared key of the set": (NOT, lambda s: shared(s, b"s" * 32)),
    "an algorithm that is not taken": (NOT, lambda s: s.corp.token(header={"alg": "PS256", "kid": "ps"})),
    "an algorithm of another kind of key": (
        NOT,
        lambda s: s.corp.token(header={"alg": "ES256"}, key=ECKey.generate_key("P-256")),
    ),
    "Ed25519, which is not taken": (
        NOT,
        lambda s: s.corp.token(header={"alg": "Ed25519"}, key=OKPKey.generate_key("Ed25519")),
    ),
    "unknown kid": (NOT, lambda s: s.corp.token(header={"kid": "nobody's"})),
    "no kid, and several keys": (NOT, lambda s: s.corp.token(header={"kid": None})),
    "a key of another issuer": (NOT, lambda s: s.corp.token(key=s.issuers["abroad"].key)),
    "a key that is too short": (NOT, lambda s: s.corp.token(header={"kid": "weak"}, key=s.corp.weak)),  # type: ignore[attr-defined]
    "a key to seal with": (NOT, lambda s: s.corp.token(header={"kid": "sealing"})),
    "a key for another algorithm": (NOT, lambda s: s.corp.token(header={"kid": "ps"})),
    "expired": (NOT, lambda s: s.corp.token(**ages(-300))),
    "not yet valid": (NOT, lambda s: s.corp.token(**ages(0, nbf=120))),
    "issued later": (NOT, lambda s: s.corp.token(**ages(120))),
    "ends before it begins": (NOT, lambda s: s.corp.token(**ages(0, exp=-5))),
    "never ends": (NOT, lambda s: s.corp.token(exp=None)),
    "ends in words": (NOT, lambda s: s.corp.token(exp="tomorrow")),
    "ends at the end of numbers": (NOT, lambda s: s.corp.token(exp=1e999)),
    "from long ago": (NOT, lambda s: s.corp.token(**ages(-3000, exp=600))),
    "signed in later": (NOT, lambda s: s.corp.token(**ages(0, auth_time=120))),
    "an access token by its type": (NOT, lambda s: s.corp.token(header={"typ": "at+jwt"})),
    "an access token by its scope": (NOT, lambda s: s.corp.token(scope="openid")),
    "an access token in one provider's way": (NOT, lambda s: s.corp.token(typ="Bearer")),
    "an access token in another's": (NOT, lambda s: s.corp.token(token_use="access")),
    "a notice of a logout": (NOT, lambda s: s.corp.token(events={"http://schemas.openid.net/event/backchannel": {}})),
    "critical headers": (NOT, lambda s: critical(s)),
    "another tenant's": (NOT, lambda s: s.issuers["abroad"].token()),
    "groups in words": (NOT, lambda s: s.corp.token(groups="devs")),
    "too many groups": (NOT, lambda s: s.corp.token(groups=["x"] * 1001)),
    "nobody": (BAD, lambda s: s.corp.token(name=None)),
    "a path for a name": (BAD, lambda s: s.corp.token(name="../dana")),
    "a wildcard for a name": (BAD, lambda s: s.corp.token(name="*")),
    "a service user's name": (BAD, lambda s: s.corp.token(name="a-desk")),
    "a list for a name": (BAD, lambda s: s.corp.token(name=["dana"])),
    "somebody with a key of the operator's": (TAKEN, lambda s: s.corp.token(name="kept")),
    "another person of that name": (TAKEN, lambda s: s.corp.token(name="erin", sub="s-other")),
}


def critical(scene: Scene) -> str:
    parts = scene.corp.token().split(".")
    head = {"alg": "RS256", "kid": "first", "crit": ["exp"], "exp": 1}
    return ".".join((to_base64(json.dumps(head).encode()), *parts[1:]))


async def refused(scene: Scene, problem: str, token: str, **more: Any) -> Problem:
    """It is refused so, and nothing is written."""
    before = await scene.events()
    with pytest.raises(Problem) as error:
        await scene.sign_in(token, **more)
    assert error.value.type == problem, error.value.detail
    assert await scene.events() == before
    scene.tried += error.value.type != AWAY
    return error.value


@pytest.mark.parametrize("name", CASES)
async def test_a_token_is_refused(scene: Scene, name: str) -> None:
    problem, make = CASES[name]
    await refused(scene, problem, make(scene))


@pytest.mark.parametrize("name", ["elsewhere", "moved", "keys_moved", "huge", "away"])
async def test_an_issuer_that_cannot_be_believed_is_away(scene: Scene, name: str) -> None:
    served = scene.issuers[name]
    found = await refused(scene, AWAY, served.token(), issuer=name)
    assert found.retry_after_s


async def test_only_a_provider_that_is_configured_signs_people_in(scene: Scene) -> None:
    await refused(scene, NO, scene.corp.token(), issuer="unheard-of")
    await refused(scene, NO, scene.issuers["cluster"].token(), issuer="cluster")
    await refused(scene, NOT, scene.corp.token(), issuer="abroad")


async def test_an_address_counts_once_it_is_verified(scene: Scene) -> None:
    served = scene.issuers["email"]
    for verified in (None, False, "true"):
        token = served.token(email="dana@example.com", email_verified=verified)
        await refused(scene, NOT, token, issuer="email")
    found = await scene.sign_in(served.token(email="dana@example.com", email_verified=True), issuer="email")
    assert found.principal == "u-dana@example.com"


async def test_whoever_signs_in_shows_that_the_key_is_theirs(scene: Scene) -> None:
    token, other = scene.corp.token(), KeyPair.generate()
    await refused(scene, NOT, token, proof=proof(token, other))
    await refused(scene, NOT, token, proof=proof(scene.corp.token(), KEYS))
    await refused(scene, NOT, token, proof="x")
    await refused(scene, BAD, token, nkey="U" * 56)
    await refused(scene, BAD, token, keys=KeyPair.generate(account=True))


async def test_a_flood_of_unknown_keys_has_the_issuer_asked_once_a_minute(scene: Scene) -> None:
    before = scene.corp.asked[JWKS]
    for number in range(60):
        await refused(scene, NOT, scene.corp.token(header={"kid": f"k{number}"}))
    assert scene.corp.asked[JWKS] <= before + 1


async def test_a_person_signs_in_connects_and_is_known_by_their_groups(scene: Scene) -> None:
    keys = KeyPair.generate()
    found = await scene.sign_in(scene.corp.token(groups=["devs", "unheard-of", 7]), keys=keys)
    assert (found.tenant, found.principal, found.groups) == ("acme", "u-dana", ("developers",))
    async with connected(scene.house.url, keys, "acme", "u-dana") as peer:
        assert await peer.may_publish("cmd.acme.u-dana.identity.list")


async def test_a_token_is_good_for_one_key(scene: Scene) -> None:
    token = scene.corp.token()
    first = await scene.sign_in(token)
    before = await scene.events()
    assert await scene.sign_in(token) == first and await scene.events() == before
    await refused(scene, TAKEN, token, keys=KeyPair.generate())
    await scene.sign_in(scene.corp.token())
    await refused(scene, TAKEN, token)


async def test_an_old_token_does_not_bring_back_who_was_erased() -> None:
    who = Person("acme", "u-dana", (), subject="s", token="t", auth_time=1000, expires_s=2000)
    [registered] = decide_sign_in(State(), who, "U", issuer="corp", login_s=60, now_s=1000)
    state = evolve(State(), registered)
    assert decide_sign_in(state, who, "U", issuer="corp", login_s=60, now_s=1001) == []
    state = evolve(state, Erased(tenant="acme", principal="u-dana", keys=("k",), by="u-privacy"))
    with pytest.raises(Conflict):
        decide_sign_in(state, who, "U", issuer="corp", login_s=60, now_s=1002)
    [again] = decide_sign_in(state, replace(who, token="new"), "U", issuer="corp", login_s=60, now_s=1003)
    assert again.login is not None and evolve(state, again).erased is None


async def test_another_signature_of_the_same_token_is_good_for_no_other_key(scene: Scene) -> None:
    """An ECDSA signature (r, s) holds as (r, n - s), too."""
    token = scene.corp.token(header={"alg": "ES256", "kid": "twin"}, key=TWIN)
    first = await scene.sign_in(token)
    body, _, signature = token.rpartition(".")
    r, s = from_base64(signature)[:32], int.from_bytes(from_base64(signature)[32:], "big")
    flipped = f"{body}.{to_base64(r + (P256_ORDER - s).to_bytes(32, 'big'))}"
    await refused(scene, TAKEN, flipped, keys=KeyPair.generate())
    assert await scene.sign_in(flipped) == first


async def test_the_key_of_another_machine_is_taken_until_its_own_login_is_over(scene: Scene) -> None:
    one, other = KeyPair.generate(), KeyPair.generate()
    await scene.sign_in(scene.corp.token(), keys=one)
    await scene.sign_in(scene.corp.token(), keys=other)
    for keys in (one, other):
        assert not await is_refused(scene.house.url, keys, "acme", "u-dana")
    assert await is_refused(scene.house.url, KeyPair.generate(), "acme", "u-dana")


async def test_who_was_stopped_does_not_come_back_by_signing_in(scene: Scene) -> None:
    await scene.sign_in(scene.corp.token(name="gone", sub="s-gone"))
    await scene.house.operator.ask(Suspend(principal="u-gone", tenant="acme"), Done)
    await refused(scene, NO, scene.corp.token(name="gone", sub="s-gone"))
    await scene.house.operator.ask(Revoke(principal="u-gone", tenant="acme"), Done)
    await refused(scene, NO, scene.corp.token(name="gone", sub="s-gone"))


async def test_what_is_written_names_neither_the_token_nor_the_issuers_name_for_them(scene: Scene) -> None:
    token = scene.corp.token(name="erin", sub="s-erin")
    await scene.sign_in(token)
    last = (await scene.service.store.read(StreamName("acme", PRINCIPAL, "u-erin")))[-1]
    assert b"s-erin" not in last.raw and token.split(".")[2].encode() not in last.raw
    registered = parse_own(last)
    assert isinstance(registered, Registered) and registered.login is not None and registered.by == "issuer corp"


async def test_refusals_are_counted(scene: Scene) -> None:
    await refused(scene, NOT, "not a token")
    stream = StreamName(PLATFORM, REFUSALS, "nobody")

    async def counted() -> int:
        events = [parse_own(event) for event in await scene.service.store.read(stream)]
        counts = [each for event in events if isinstance(event, Refused) for each in event.counts]
        wanted = {f"identity: {problem}" for problem in (NOT, NO, BAD, TAKEN)}
        return sum(each.count for each in counts if each.what in wanted)

    with anyio.fail_after(WAIT_S * 2):
        while await counted() < scene.tried:  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.1)
