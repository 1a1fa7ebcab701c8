"""An issuer's keys: fetched ahead, kept while it is away, believed so long; and what can be configured."""

import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from pydantic import ValidationError

from dominie_contracts import Unauthenticated, Unavailable
from dominie_identity.people.issuers import Issuer
from dominie_identity.people.keys import ASKED_S, MAX_AGE_S, IssuerKeys, fits, read_key
from dominie_identity.people.tokens import check, check_algorithm, read
from dominie_identity.settings import Settings
from dominie_kit.issuer_testing import AUDIENCE, CONFIGURATION, JWKS, StaticIssuer, issuing

pytestmark = pytest.mark.anyio
WAIT_S = 60
RIGHT = {"url": "https://login.example.com", "tenant": "acme", "audience": "x"}


class Clock:
    """Monotonic time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def served() -> Iterator[StaticIssuer]:
    with issuing() as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(served: StaticIssuer, clock: Clock) -> IssuerKeys:
    return IssuerKeys("corp", configured(served), clock=clock)


def configured(served: StaticIssuer, **more: object) -> Issuer:
    return Issuer.model_validate({"url": served.url, "tenant": "acme", "audience": AUDIENCE, **more})


@asynccontextmanager
async def running(keys: IssuerKeys, *, fetches: int = 1) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(keys.run)
        with anyio.fail_after(WAIT_S):
            while keys.fetches < fetches:  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(0.01)
        yield
        group.cancel_scope.cancel()


async def test_an_unknown_key_has_the_issuer_asked_once_a_minute(
    keys: IssuerKeys, served: StaticIssuer, clock: Clock
) -> None:
    assert (await keys.look("first", "RS256")).kid == "first"
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            await keys.look("new", "RS256")
    assert served.asked[JWKS] == 1
    new = RSAKey.generate_key(2048, {"kid": "new"})
    served.keys.append(new.as_dict(private=False))
    clock.now_s += ASKED_S
    async with anyio.create_task_group() as group:
        for kid in ("new", "unknown"):
            group.start_soon(asked_for, keys, kid)
    assert served.asked[JWKS] == 2
    assert (await keys.look("new", "RS256")).kid == "new"


async def asked_for(keys: IssuerKeys, kid: str) -> None:
    try:
        await keys.look(kid, "RS256")
    except Unauthenticated:
        assert kid == "unknown"


async def test_keys_are_kept_while_the_issuer_is_away_for_a_day(
    keys: IssuerKeys, served: StaticIssuer, clock: Clock
) -> None:
    await keys.look("first", "RS256")
    served.answers[CONFIGURATION] = (500, {}, b"")
    clock.now_s += MAX_AGE_S - 1
    assert (await keys.look("first", "RS256")).kid == "first"
    with pytest.raises(Unauthenticated):
        await keys.look("new", "RS256")
    clock.now_s += 2
    with pytest.raises(Unavailable) as error:
        await keys.look("first", "RS256")
    assert error.value.retry_after_s


async def test_a_key_that_the_issuer_took_back_is_not_taken(
    keys: IssuerKeys, served: StaticIssuer, clock: Clock
) -> None:
    await keys.look("first", "RS256")
    served.keys = [RSAKey.generate_key(2048, {"kid": "new"}).as_dict(private=False)]
    clock.now_s += ASKED_S
    await keys.look("new", "RS256")
    with pytest.raises(Unauthenticated):
        await keys.look("first", "RS256")


async def test_keys_are_fetched_ahead_and_when_one_is_wanted(
    keys: IssuerKeys, served: StaticIssuer, clock: Clock
) -> None:
    async with running(keys):
        with anyio.fail_after(WAIT_S):
            while served.asked[JWKS] < 1:  # noqa: ASYNC110 - it tells nobody
                await anyio.sleep(0.01)
            assert not keys.want()
            clock.now_s += ASKED_S
            assert keys.want()
            while served.asked[JWKS] < 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)


async def test_a_cluster_is_asked_with_a_token(served: StaticIssuer, tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "token").write_text("mine\n")
    keys = IssuerKeys("cluster", configured(served, bearer_file=tmp_path / "token"), clock=clock)
    await keys.look("first", "RS256")
    assert [headers["authorization"] for headers in served.headers] == ["Bearer mine"] * 2
    (tmp_path / "token").unlink()
    clock.now_s += MAX_AGE_S + 1
    with pytest.raises(Unavailable, match="FileNotFoundError"):
        await keys.look("first", "RS256")


async def test_certificates_that_are_none_leave_the_issuer_away(
    served: StaticIssuer, tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    keys = IssuerKeys("cluster", configured(served, ca_file=tmp_path / "ca.pem"), clock=clock)
    with pytest.raises(Unavailable, match=ssl.SSLError.__name__):
        await keys.look("first", "RS256")


@pytest.mark.parametrize("path", ["/jw\x7fks", "/" + "a" * 70_000, "/\u2028"], ids=["a control", "long", "a line"])
@pytest.mark.parametrize("host", ["127.0.0.1:1", "exa\x7fmple", "xn--a"])
async def test_an_address_that_is_none_leaves_the_issuer_away(
    keys: IssuerKeys, served: StaticIssuer, host: str, path: str
) -> None:
    served.metadata["jwks_uri"] = f"https://{host}{path}"
    with pytest.raises(Unavailable, match="are not known"):
        await keys.look("first", "RS256")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b'{"keys": [' + b"{}," * 200 + b"{}]}", b"[" * 100_000],
    ids=["nothing", "a list", "no keys", "an object", "no text", "too many", "deeply nested"],
)
async def test_what_is_no_set_of_keys_is_not_taken(keys: IssuerKeys, served: StaticIssuer, body: bytes) -> None:
    served.answers[JWKS] = (200, {}, body)
    with pytest.raises(Unavailable):
        await keys.look("first", "RS256")


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", RSAKey.generate_key(2048, {"kid": "k"})),
        ("PS256", RSAKey.generate_key(2048, {"kid": "k"})),
        ("ES256", ECKey.generate_key("P-256", {"kid": "k"})),
        ("ES384", ECKey.generate_key("P-384", {"kid": "k"})),
        ("EdDSA", OKPKey.generate_key("Ed25519", {"kid": "k"})),
        ("Ed25519", OKPKey.generate_key("Ed25519", {"kid": "k"})),
    ],
    ids=["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"],
)
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_what_is_taken_by_configuration_is_taken(
    served: StaticIssuer, clock: Clock, algorithm: str, key: RSAKey | ECKey | OKPKey
) -> None:
    served.keys = [key.as_dict(private=False)]
    issuer = configured(served, algorithms=(algorithm,))
    shown = read(served.token(header={"alg": algorithm, "kid": "k"}, key=key))
    found = await IssuerKeys("corp", issuer, clock=clock).look(shown.kid, check_algorithm(shown, issuer))
    assert check(shown, issuer, found, now_s=time.time()).sub == "s-dana"
    assert not fits(found, "ES256" if algorithm != "ES256" else "ES384")


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        "x",
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "EC", "crv": "P-0", "x": "", "y": ""},
    ],
    ids=str,
)
def test_what_is_no_key_is_left_out(found: object) -> None:
    assert read_key(found) is None  # type: ignore[arg-type]  # whatever an issuer says


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://login.example.com"},
        {"url": "ftp://127.0.0.1"},
        {"url": "https://"},
        {"url": "https://me@login.example.com"},
        {"url": "http://127.0.0.1.example.com"},
        {"url": "http://[::1"},
        {"tenant": "svc"},
        {"audience": ""},
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("HS256",)},
        {"agents": {"shop:desk": "a-desk"}},
        {"kind": "kubernetes"},
        {"kind": "kubernetes", "agents": {"desk": "a-desk"}},
        {"kind": "kubernetes", "agents": {"shop:desk": "u-dana"}},
        {"login_s": 0},
        {"unheard_of": 1},
    ],
    ids=str,
)
def test_what_cannot_be_believed_cannot_be_configured(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"identity_issuers": {"corp": {**RIGHT, **changed}}})
    assert Settings.model_validate({"identity_issuers": {"corp": RIGHT}}).identity_issuers["corp"].tenant == "acme"
