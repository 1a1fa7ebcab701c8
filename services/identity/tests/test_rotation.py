"""Keys are replaced while they are used: the old one is taken for a while, then never again."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from joserfc.jwk import OKPKey

from dominie.keys import KeyPair
from dominie.returning import Returning
from dominie_contracts import Conflict, Forbidden, Invalid, Problem, Unauthenticated, Unavailable
from dominie_contracts.identity import Done, PrincipalView, Register, Revoke, Rotate
from dominie_contracts.keys import Keys, Replacement, RotateKeys
from dominie_contracts.runs import ExchangeRun, MintRunToken, RunToken
from dominie_contracts.subjects import JWKS_SUBJECT, KEYS_STREAM, SERVICES
from dominie_identity.adapters.nats_jwt import from_base64
from dominie_kit.house.operator import Operator
from dominie_kit.keys.public import read_keys
from dominie_kit.keys.rotation import rotate_signer
from dominie_kit.testing import House, Peer, connected, is_refused

pytestmark = pytest.mark.anyio
OVERLAP_S = 4


async def test_an_agents_old_key_is_taken_until_the_overlap_ends(acme: House) -> None:
    old, new = await acme.register("a-turns"), KeyPair.generate()
    await acme.register("a-helps")
    mint, hand_on = MintRunToken(user="u-a-turns", run="turns"), ExchangeRun(agent="a-helps", run="helps")
    async with connected(acme.url, old, "acme", "a-turns") as agent:
        token = (await agent.ask(mint, RunToken)).token
        rotate = Rotate(principal="a-turns", nkey=new.public, tenant="acme", overlap_s=OVERLAP_S)
        begun = time.time()
        assert (await acme.operator.ask(rotate, PrincipalView)).nkey == new.public
        await acme.operator.ask(rotate, PrincipalView)
        for keys in (old, new):
            assert not await is_refused(acme.url, keys, "acme", "a-turns")
        async with connected(acme.url, old, "acme", "a-turns") as late:
            await agent.ask(hand_on, RunToken, token=token)
            with anyio.fail_after(OVERLAP_S + 40):
                for peer in (late, agent):
                    await peer.ended.wait()
        assert time.time() - begun >= OVERLAP_S - 1
    assert await is_refused(acme.url, old, "acme", "a-turns")
    async with connected(acme.url, new, "acme", "a-turns") as agent:
        with pytest.raises(Unauthenticated, match="another key"):
            await agent.ask(hand_on, RunToken, token=token)
        await agent.ask(hand_on, RunToken, token=(await agent.ask(mint, RunToken)).token)


@pytest.mark.parametrize("how", ["rotated", "registered"])
async def test_what_connected_with_a_key_that_is_not_taken_any_more_is_out(acme: House, how: str) -> None:
    """At once, and not when its rights end: identity would bind its tokens to the new key."""
    name = f"a-stolen-{how}"
    old, new = await acme.register(name), KeyPair.generate()
    change = (
        Rotate(principal=name, nkey=new.public, tenant="acme", overlap_s=0)
        if how == "rotated"
        else Register(principal=name, nkey=new.public, tenant="acme", sponsor="u-sponsor")
    )
    async with connected(acme.url, old, "acme", name) as thief:
        await acme.operator.ask(change, PrincipalView)
        async with connected(acme.url, new, "acme", name) as agent:
            with anyio.fail_after(60):
                await thief.ended.wait()
            await agent.ask(MintRunToken(user=f"u-{name}", run=how), RunToken)
            assert not agent.ended.is_set()
    assert await is_refused(acme.url, old, "acme", name)


async def test_what_connected_with_a_key_two_before_is_out_though_its_overlap_goes_on(acme: House) -> None:
    """Whoever connected when it was the one before has rights until that overlap ends."""
    old = await acme.register("a-twice")
    second, third = KeyPair.generate(), KeyPair.generate()
    await acme.operator.ask(Rotate(principal="a-twice", nkey=second.public, tenant="acme"), PrincipalView)
    async with connected(acme.url, old, "acme", "a-twice") as thief:
        await acme.operator.ask(Rotate(principal="a-twice", nkey=third.public, tenant="acme"), PrincipalView)
        async with connected(acme.url, second, "acme", "a-twice") as agent:
            with anyio.fail_after(60):
                await thief.ended.wait()
            await agent.ask(MintRunToken(user="u-a-twice", run="twice"), RunToken)
            assert not agent.ended.is_set()
    assert await is_refused(acme.url, old, "acme", "a-twice")


async def test_registering_the_rotated_key_again_keeps_the_overlap(acme: House) -> None:
    old, new = await acme.register("a-again"), KeyPair.generate()
    await acme.operator.ask(Rotate(principal="a-again", nkey=new.public, tenant="acme"), PrincipalView)
    again = Register(principal="a-again", nkey=new.public, tenant="acme", sponsor="u-sponsor")
    await acme.operator.ask(again, PrincipalView)
    assert not await is_refused(acme.url, old, "acme", "a-again")


@pytest.mark.parametrize(
    ("principal", "nkey", "overlap_s", "problem"),
    [
        ("a-mine", "UNO", 1, Invalid),
        pytest.param("a-mine", KeyPair.generate(account=True).public, 1, Invalid, id="an account's key"),
        ("a-mine", "old", 1, Conflict),
        ("a-mine", "new", -1, Invalid),
        ("a-mine", "new", 31 * 86400, Invalid),
        ("a-sponsors", "new", 1, Forbidden),
        ("a-nobody", "new", 1, Invalid),
        ("u-rota", "new", 1, Forbidden),
        ("a-lost", "new", 1, Conflict),
    ],
)
async def test_what_is_not_rotated(
    acme: House, principal: str, nkey: str, overlap_s: int, problem: type[Problem]
) -> None:
    rota = await acme.register("u-rota", groups=("developers",))
    mine = await acme.register("a-mine", sponsor="u-rota")
    await acme.register("a-sponsors")
    if principal == "a-lost":
        lost = Register(principal="a-lost", nkey=mine.public, tenant="acme", sponsor="u-rota")
        with suppress(Conflict):
            await acme.operator.ask(lost, PrincipalView)
        await acme.operator.ask(Revoke(principal="a-lost", tenant="acme"), Done)
    async with connected(acme.url, rota, "acme", "u-rota") as person:
        await person.ask(Rotate(principal="a-mine", nkey=KeyPair.generate().public), PrincipalView)
        given = {"old": mine.public, "new": KeyPair.generate().public}.get(nkey, nkey)
        with pytest.raises(problem):
            command = Rotate.model_construct(principal=principal, nkey=given, overlap_s=overlap_s)
            await person.ask(command, PrincipalView)


async def rotated(acme: House, *, overlap_s: int) -> Keys:
    """The signer, replaced as `dominie keys rotate signer` does it."""
    return await rotate_signer(Operator(acme.operator.client), acme.keys, overlap_s=overlap_s)


async def until_published(acme: House, position: int) -> list[dict[str, Any]]:
    with anyio.fail_after(30):
        while (found := await read_keys(acme.operator.client))["position"] <= position:
            pass
    return list(found["keys"])


async def published(acme: House) -> dict[str, Any]:
    with anyio.fail_after(30):
        while True:
            with suppress(Unavailable):
                return await read_keys(acme.operator.client)


async def test_a_signer_takes_the_place_of_another_and_tokens_of_both_hold(acme: House) -> None:
    """The folder is read at each start, so that what was rotated is still so."""
    await acme.register("a-helps")
    keys = await acme.register("a-signed")
    mint, hand_on = MintRunToken(user="u-a-signed", run="signed"), ExchangeRun(agent="a-helps", run="of-signed")
    before = (await published(acme))["position"]
    async with connected(acme.url, keys, "acme", "a-signed") as agent:
        old = (await agent.ask(mint, RunToken)).token
        said = await rotated(acme, overlap_s=1)
        assert [key.until_s is None for key in said.keys] == [False, True]
        with anyio.fail_after(30):
            while key_of(new := (await agent.ask(mint, RunToken)).token) == key_of(old):
                await agent.ask(hand_on, RunToken, token=old)
        assert (key_of(old), key_of(new)) == tuple(key.kid for key in said.keys)
        for token in (old, new):
            await agent.ask(hand_on, RunToken, token=token)
        with anyio.fail_after(30), pytest.raises(Unauthenticated):
            while True:
                await agent.ask(hand_on, RunToken, token=old)
        await agent.ask(hand_on, RunToken, token=new)
    found = await until_published(acme, before)
    assert [(key["kid"], key["alg"], key["kty"]) for key in found] == [(k.kid, "Ed25519", "OKP") for k in said.keys]
    assert OKPKey.import_key(found[1]).thumbprint() == key_of(new) and "d" not in found[1]


def key_of(token: str) -> str:
    return str(json.loads(from_base64(token.partition(".")[0]))["kid"])


async def test_nobody_but_identity_writes_the_keys(acme: House) -> None:
    before = await published(acme)
    forged = b'{"keys": [], "position": 0}'
    for principal in ("a-forger", "u-forger", "w-forger"):
        groups = ("developers", "auditors", "operators", "privacy") if principal == "u-forger" else ()
        keys = await acme.register(principal, groups=groups)
        async with connected(acme.url, keys, "acme", principal) as peer:
            for subject in (JWKS_SUBJECT, "$KV.KEYS.other", "$KV.KEYS.>", f"$JS.API.STREAM.PURGE.{KEYS_STREAM}"):
                assert not await peer.may_publish(subject, forged)
    others = [acme.keys.service(name) for name in SERVICES if name != "identity"]
    static = [
        acme.keys.operator,
        acme.keys.service("identity").edge,
        *(key for e in others for key in (e.edge, e.inner)),
    ]
    for keys in static:
        async with as_static(acme, keys) as peer:
            assert not await peer.may_publish(JWKS_SUBJECT, forged)
    assert await published(acme) == before


@asynccontextmanager
async def as_static(acme: House, keys: KeyPair) -> AsyncIterator[Peer]:
    """A connection of one whom the broker knows from its configuration."""
    client = Returning()
    peer = Peer(client)

    async def note(error: Exception) -> None:
        peer.refused.append(str(error))

    await client.connect(acme.url, nkeys_seed_str=keys.seed, allow_reconnect=False, error_cb=note)
    try:
        yield peer
    finally:
        await client.close()


@pytest.mark.parametrize("wrong", ["not here", "no key", "the same", "not the last"])
async def test_a_signer_that_identity_cannot_use_is_not_taken(acme: House, wrong: str) -> None:
    present = (await published(acme))["keys"][-1]["nkey"]
    here, elsewhere = acme.keys.new_signer().public, KeyPair.generate().public
    nkey = {"not here": elsewhere, "no key": "../../x", "the same": present, "not the last": here}[wrong]
    previous = elsewhere if wrong == "not the last" else present
    asked = RotateKeys(keys=(Replacement(use="signer", name="identity", nkey=nkey, previous=previous),))
    if wrong == "the same":
        assert present in [key.nkey for key in (await acme.operator.ask(asked, Keys)).keys]
    else:
        with pytest.raises(Conflict if wrong == "not the last" else Invalid):
            await acme.operator.ask(asked, Keys)
    assert (await published(acme))["keys"][-1]["nkey"] == present
