"""The callout's answers to questions of a broker that we play ourselves."""

import json
import time
from collections.abc import Callable, Mapping

import nkeys
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie.keys import KeyPair
from dominie_contracts.identity import Registered, Revoked, Suspended
from dominie_contracts.token import Grants
from dominie_identity.adapters.assertion import Proofs
from dominie_identity.adapters.callout import Callout
from dominie_identity.adapters.nats_jwt import decode, encode, to_base64
from dominie_identity.adapters.permissions import Permissions
from dominie_identity.adapters.system_account import ACCOUNT
from dominie_identity.aggregate import State, evolve
from dominie_identity.projection import Catalog, Offers, Principals
from dominie_identity.warden.crowds import Connection, Crowds
from dominie_kit.testing import assertion

ISSUER, USER, AGENT = KeyPair.generate(account=True), KeyPair.generate(), KeyPair.generate()
SERVER = KeyPair(nkeys.encode_seed(b"s" * 32, nkeys.PREFIX_BYTE_SERVER).decode())
NOW = time.time()
NONCE = "a-nonce"
REGISTERED = Registered(
    tenant="acme",
    principal="a-desk",
    nkey=AGENT.public,
    sponsor="u-dana",
    grants=Grants(tools=("refund",)),
    users=(),
    groups=(),
    by="u-dana",
)

HEAD = b'{"alg": "Ed25519"}'


def callout(*, revoked: bool = False, suspended: bool = False) -> Callout:
    principals = Principals()
    state = evolve(State(), REGISTERED)
    if revoked:
        state = evolve(state, Revoked(tenant="acme", principal="a-desk", by="u-dana", reason=""))
    if suspended:
        state = evolve(state, Suspended(tenant="acme", principal="a-desk", by="u-dana", reason=""))
    principals.put("acme", "a-desk", state)
    permissions = Permissions(Catalog(), Offers())
    crowds = Crowds(10)
    crowds.counted(("acme", "a-desk"), (), NOW)
    proofs = Proofs(principals)
    return Callout("", USER, ISSUER, proofs=proofs, permissions=permissions, crowds=crowds, count=nobody, rights_s=300)


async def nobody(tenant: str, principal: str, *, most: int) -> frozenset[Connection] | None:
    return frozenset()


def shown(keys: KeyPair = AGENT, **changed: object) -> str:
    """An assertion, made when this module's clock stands."""
    return assertion(keys, "acme", "a-desk", **{"iat": NOW, "exp": NOW + 60, **changed})


def question(
    options: Mapping[str, str] | None = None, *, server: KeyPair = SERVER, aud: str = "nats-authorization-request"
) -> bytes:
    right = {
        "auth_token": shown(),
        "nkey": AGENT.public,
        "sig": to_base64(AGENT.sign(NONCE.encode())),
    }
    asked: dict[str, JsonValue] = {
        "server_id": {"id": server.public, "name": "test"},
        "user_nkey": USER.public,
        "client_info": {"nonce": NONCE, "host": "127.0.0.1"},
        "connect_opts": {**right, **(options or {})},
    }
    return encode({"aud": aud, "nats": asked}, server).encode()


def outcome(answer: bytes | None) -> dict[str, JsonValue]:
    assert answer is not None
    claims = decode(answer.decode())
    assert (claims["iss"], claims["sub"], claims["aud"]) == (ISSUER.public, USER.public, SERVER.public)
    found = claims["nats"]
    assert isinstance(found, dict)
    return found


def test_a_proven_agent_gets_its_rights_for_a_while() -> None:
    asked = callout()
    found = outcome(asked.answer(question(), now_s=NOW))
    user = decode(str(found["jwt"]))
    assert (user["iss"], user["sub"], user["aud"]) == (ISSUER.public, USER.public, ACCOUNT)
    assert isinstance(user["exp"], int) and NOW + 300 <= user["exp"] < NOW + 301.1
    rights = user["nats"]
    assert isinstance(rights, dict)
    assert "cmd.acme.a-desk.tool.invoke.refund" in json.dumps(rights["pub"])
    assert rights["sub"] == {"allow": ["_INBOX.acme.a-desk.>", "out.acme.a-desk.*"]}
    assert (rights["type"], rights["version"]) == ("user", 2)
    assert "resp" not in rights
    assert asked.admitted == 1


def signed_by(keys: KeyPair, **claims: object) -> Callable[[], dict[str, str]]:
    return lambda: {"auth_token": shown(keys, **claims)}


OTHER = KeyPair.generate()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (lambda: {"auth_token": ""}, "no assertion"),
        (lambda: {"auth_token": "x"}, "not an assertion"),
        (lambda: {"auth_token": "e30.e30.e30"}, "not an assertion"),
        (lambda: {"auth_token": "x" * 5000}, "not an assertion"),
        (lambda: {"auth_token": "é.é.é"}, "not an assertion"),
        (lambda: {"auth_token": f"{to_base64(HEAD)}.{to_base64(b'[' * 24_000)}.e30"}, "not an assertion"),
        (lambda: {"auth_token": f"{to_base64(b'[' * 24_000)}.e30.e30"}, "not an assertion"),
        (signed_by(AGENT, tenant="other"), "not registered"),
        (signed_by(AGENT, sub="a-other"), "not registered"),
        (signed_by(AGENT, sub=7), "not an assertion"),
        (signed_by(AGENT, exp=True), "not an assertion"),
        (signed_by(OTHER), "not signed by its key"),
        (signed_by(AGENT, aud="dominie"), "another audience"),
        (signed_by(AGENT, aud=["dominie-connect"]), "not an assertion"),
        (signed_by(AGENT, iat=NOW - 60, exp=NOW - 6), "expired"),
        (signed_by(AGENT, iat=NOW, exp=NOW + 121), "lives too long"),
        (signed_by(AGENT, iat=NOW + 60, exp=NOW + 120), "lives too long"),
        (signed_by(AGENT, iat=NOW, exp=float("inf")), "lives too long"),
        (signed_by(AGENT, iat=float("nan"), exp=NOW), "lives too long"),
        (lambda: {"nkey": ""}, "another key"),
        (lambda: {"nkey": OTHER.public, "sig": to_base64(OTHER.sign(NONCE.encode()))}, "another key"),
        (lambda: {"sig": ""}, "the challenge is not signed"),
        (lambda: {"sig": "é"}, "the challenge is not signed"),
        (lambda: {"sig": to_base64(OTHER.sign(NONCE.encode()))}, "the challenge is not signed"),
        (lambda: {"sig": to_base64(AGENT.sign(b"an older nonce"))}, "the challenge is not signed"),
    ],
)
def test_who_does_not_prove_it_is_refused(options: Callable[[], dict[str, str]], why: str) -> None:
    asked = callout()
    assert outcome(asked.answer(question(options()), now_s=NOW)).get("error") == why
    assert (asked.refused[why], asked.admitted) == (1, 0)


@pytest.mark.parametrize("alg", ["none", "HS256"])
def test_no_other_algorithm_is_taken(alg: str) -> None:
    _, claims, _ = shown().split(".")
    token = f"{to_base64(json.dumps({'alg': alg}).encode())}.{claims}."
    assert "error" in outcome(callout().answer(question({"auth_token": token}), now_s=NOW))


def test_who_is_revoked_is_refused() -> None:
    assert outcome(callout(revoked=True).answer(question(), now_s=NOW))["error"] == "revoked"


def test_who_is_suspended_is_refused() -> None:
    assert outcome(callout(suspended=True).answer(question(), now_s=NOW))["error"] == "suspended"


def test_an_assertion_may_be_as_late_as_the_clocks_are_apart() -> None:
    late = shown(iat=NOW - 60, exp=NOW - 4)
    assert "jwt" in outcome(callout().answer(question({"auth_token": late}), now_s=NOW))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"a.b.c",
        question(aud="another"),
        question(server=AGENT),
        question()[:-4] + b"AAAA",
        encode({"aud": "nats-authorization-request", "nats": {}}, SERVER).encode(),
    ],
    ids=["empty", "no text", "no token", "another audience", "not a server's", "badly signed", "nothing asked"],
)
def test_what_is_no_question_of_a_server_gets_no_answer(data: bytes) -> None:
    asked = callout()
    assert asked.answer(data, now_s=NOW) is None
    assert asked.refused["no question"] == 1


@settings(max_examples=50)
@given(auth_token=st.text(), nkey=st.text(), sig=st.text())
def test_nothing_a_client_says_lets_it_in_or_breaks_us(auth_token: str, nkey: str, sig: str) -> None:
    asked = callout()
    assert "error" in outcome(asked.answer(question({"auth_token": auth_token, "nkey": nkey, "sig": sig}), now_s=NOW))
    assert asked.refused["failed"] == 0


@settings(max_examples=50)
@given(header=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)), claims=st.binary(max_size=60))
def test_no_token_of_any_shape_breaks_us(header: dict[str, object], claims: bytes) -> None:
    token = f"{to_base64(json.dumps({**header, 'alg': 'Ed25519'}).encode())}.{to_base64(claims)}.{to_base64(b's' * 64)}"
    asked = callout()
    assert "error" in outcome(asked.answer(question({"auth_token": token}), now_s=NOW))
    assert asked.refused["failed"] == 0
