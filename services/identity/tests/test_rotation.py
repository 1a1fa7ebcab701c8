"""Keys are replaced while they are used: the old one is taken for a while, then never again."""

import time
from contextlib import suppress

import anyio
import pytest

from dominie.keys import KeyPair
from dominie_contracts import Conflict, Forbidden, Invalid, Problem, Unauthenticated
from dominie_contracts.identity import (
    Done,
    ExchangeRun,
    MintRunToken,
    PrincipalView,
    Register,
    Revoke,
    Rotate,
    RunToken,
)
from dominie_kit.testing import House, connected, is_refused

pytestmark = pytest.mark.anyio
OVERLAP_S = 2


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
            with anyio.fail_after(OVERLAP_S + 4):
                await late.ended.wait()
        assert time.time() - begun >= OVERLAP_S - 1
        with pytest.raises(Unauthenticated, match="another key"):
            await agent.ask(hand_on, RunToken, token=token)
    assert await is_refused(acme.url, old, "acme", "a-turns")
    async with connected(acme.url, new, "acme", "a-turns") as agent:
        await agent.ask(hand_on, RunToken, token=(await agent.ask(mint, RunToken)).token)


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
        ("a-mine", KeyPair.generate(account=True).public, 1, Invalid),
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
