"""The whole service on a real broker: people, agents and workers connect, ask, and are revoked."""

import hashlib
from contextlib import AsyncExitStack

import anyio
import pytest
from nats.errors import Error

from dominie.keys import KeyPair
from dominie_contracts.identity import (
    Done,
    ListPrincipals,
    Principals,
    PrincipalView,
    Register,
    Resume,
    Revoke,
    Suspend,
)
from dominie_contracts.keys import ApiKey, ExchangeApiKey, IssueApiKey
from dominie_contracts.problems import Forbidden, Unauthenticated
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.token import Grants
from dominie_kit.bus import Inner
from dominie_kit.context import Context, deadline_in
from dominie_kit.edge.run_tokens import RunTokenVerifier
from dominie_kit.settings import KitSettings
from dominie_kit.testing import House, connected, is_refused

pytestmark = pytest.mark.anyio
GRANTS = Grants(tools=("refund",), models=("auto",))


async def test_a_developer_registers_an_agent_that_acts_for_them(acme: House) -> None:
    dana, desk = await acme.register("u-dana", groups=("developers",)), KeyPair.generate()
    command = Register(principal="a-desk", nkey=desk.public, users=("u-dana",), grants=GRANTS)
    async with connected(acme.url, dana, "acme", "u-dana") as person:
        assert (await person.ask(command, PrincipalView)).sponsor == "u-dana"
        listed = await person.ask(ListPrincipals(), Principals)
        assert {"a-desk", "u-dana"} <= {found.principal for found in listed.principals}
    async with connected(acme.url, desk, "acme", "a-desk") as agent:
        token = await agent.ask(MintRunToken(user="u-dana", run="r-1", session="s"), RunToken)
        with pytest.raises(Forbidden):
            await agent.ask(MintRunToken(user="u-erin", run="r-2"), RunToken)
    claims = RunTokenVerifier(acme.keys.signer).verify(token.token)
    assert (claims.sub, claims.agent, claims.tenant, claims.run) == ("u-dana", "a-desk", "acme", "r-1")
    assert (claims.cnf.nkey, claims.grants, claims.session) == (desk.public, GRANTS, "s")


async def test_a_person_without_the_group_registers_nothing(acme: House) -> None:
    frank = await acme.register("u-frank", groups=("finance",))
    async with connected(acme.url, frank, "acme", "u-frank") as person:
        assert not await person.may_publish("cmd.acme.u-frank.identity.register")


async def test_the_gateway_exchanges_an_api_key_until_it_is_revoked(acme: House) -> None:
    gus, shop = await acme.register("u-gus", groups=("developers",)), KeyPair.generate()
    gateway = Inner("gateway", KitSettings(nats_url=acme.url, keys=acme.keys.path))
    await gateway.open()
    try:
        async with connected(acme.url, gus, "acme", "u-gus") as person:
            await person.ask(Register(principal="a-shop", nkey=shop.public, users=("u-gus",)), PrincipalView)
            issued = await person.ask(IssueApiKey(principal="a-shop", user="u-gus"), ApiKey)
            asked = ExchangeApiKey(key=issued.key, run="r-http")
            exchanged = await gateway.call(_context(), asked, RunToken)
            assert RunTokenVerifier(acme.keys.signer).verify(exchanged.token).agent == "a-shop"
            await person.ask(Revoke(principal="a-shop"), Done)
        with pytest.raises(Unauthenticated):
            await gateway.call(_context(key="again"), asked, RunToken)
    finally:
        await gateway.close()


async def test_who_is_revoked_connects_no_more_and_never_comes_back(acme: House) -> None:
    keys = await acme.register("a-gone")
    assert not await is_refused(acme.url, keys, "acme", "a-gone")
    await acme.operator.ask(Revoke(principal="a-gone", tenant="acme", reason="a test"), Done)
    assert await is_refused(acme.url, keys, "acme", "a-gone")


async def test_who_is_suspended_connects_again_once_it_is_resumed(acme: House) -> None:
    ida = await acme.register("u-ida", groups=("developers",))
    pause = KeyPair.generate()
    async with connected(acme.url, ida, "acme", "u-ida") as person:
        await person.ask(Register(principal="a-pause", nkey=pause.public, users=("u-ida",)), PrincipalView)
        async with connected(acme.url, pause, "acme", "a-pause") as agent:
            await person.ask(Suspend(principal="a-pause", reason="a test"), Done)
            with pytest.raises((Forbidden, Error)):
                await agent.ask(MintRunToken(user="u-ida", run="r-pause"), RunToken)
        assert await is_refused(acme.url, pause, "acme", "a-pause")
        (found,) = [
            each for each in (await person.ask(ListPrincipals(), Principals)).principals if each.principal == "a-pause"
        ]
        assert found.suspended == "by u-ida: a test"
        await person.ask(Resume(principal="a-pause"), Done)
    async with connected(acme.url, pause, "acme", "a-pause") as agent:
        await agent.ask(MintRunToken(user="u-ida", run="r-pause"), RunToken)


async def test_a_changed_key_takes_the_old_one_away(acme: House) -> None:
    old = await acme.register("a-moved")
    new = await acme.register("a-moved")
    assert await is_refused(acme.url, old, "acme", "a-moved")
    assert not await is_refused(acme.url, new, "acme", "a-moved")


async def test_many_connect_at_once(acme: House) -> None:
    keys = await acme.register("a-crowd")
    async with AsyncExitStack() as stack, anyio.create_task_group() as group:

        async def one() -> None:
            await stack.enter_async_context(connected(acme.url, keys, "acme", "a-crowd"))

        for _ in range(50):
            group.start_soon(one)


async def test_no_secret_is_in_the_log(acme: House) -> None:
    hans = await acme.register("u-hans", groups=("developers",))
    async with connected(acme.url, hans, "acme", "u-hans") as person:
        nkey = KeyPair.generate().public
        await person.ask(Register(principal="a-hans", nkey=nkey, users=("u-hans",)), PrincipalView)
        issued = await person.ask(IssueApiKey(principal="a-hans", user="u-hans"), ApiKey)
    last = await acme.operator.client.jetstream().get_last_msg("EVENTS_0", "evt.0.acme.principal.a-hans")
    assert last.data is not None
    assert issued.key.encode() not in last.data
    assert hashlib.sha256(issued.key.encode()).hexdigest().encode() in last.data


async def test_a_stranger_is_refused(acme: House) -> None:
    with pytest.raises(Error):
        async with connected(acme.url, KeyPair.generate(), "acme", "a-nobody"):
            pass


def _context(*, key: str = "k") -> Context:
    return Context(tenant="acme", principal="svc-gateway", key=key, deadline=deadline_in(5))
