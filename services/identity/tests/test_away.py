"""Rights run out; identity and the broker go away and come back."""

import os
import signal
import time
from collections.abc import AsyncIterator

import anyio
import pytest
from nats.errors import NoRespondersError

from dominie_contracts import Unavailable
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_identity import build
from dominie_identity.settings import Settings
from dominie_kit.testing import House, Peer, connected, house, is_refused, serving

pytestmark = pytest.mark.anyio
MINT = MintRunToken(user="u-a-desk", run="r")


@pytest.fixture(scope="module")
async def acme(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A house with no service yet."""
    async with house(tmp_path_factory.mktemp("house")) as found:
        yield found


def settings(acme: House, *, rights_s: float = 300) -> Settings:
    return Settings(nats_url=acme.url, keys=acme.keys.path, state=acme.keys.path / "state", identity_rights_s=rights_s)


async def test_a_connection_ends_with_its_rights(acme: House) -> None:
    async with serving(build(settings(acme, rights_s=1))):
        keys = await acme.register("a-brief")
        begun = time.time()
        async with connected(acme.url, keys, "acme", "a-brief") as agent:
            with anyio.fail_after(30):
                await agent.ended.wait()
        assert 0.9 <= time.time() - begun <= 15


async def test_a_live_agent_goes_on_without_identity_and_a_new_one_comes_in_when_it_is_back(acme: House) -> None:
    async with serving(build(settings(acme))):
        keys = await acme.register("a-desk")
        living = connected(acme.url, keys, "acme", "a-desk")
        agent = await living.__aenter__()
    try:
        assert await is_refused(acme.url, keys, "acme", "a-desk")
        assert await agent.may_publish("cmd.acme.a-desk.identity.token")
        async with serving(build(settings(acme))):
            assert not await is_refused(acme.url, keys, "acme", "a-desk")
            assert (await agent.ask(MINT, RunToken)).run == "r"
    finally:
        await living.__aexit__(None, None, None)


async def test_identity_answers_again_after_the_broker_was_killed(acme: House) -> None:
    async with serving(build(settings(acme))):
        keys = await acme.register("a-late")
        os.kill(acme.broker.pid, signal.SIGKILL)
        acme.broker.start()
        with anyio.fail_after(15):
            while await is_refused(acme.url, keys, "acme", "a-late"):
                pass
            async with connected(acme.url, keys, "acme", "a-late") as agent:
                while not await _answers(agent):
                    pass


async def _answers(agent: Peer) -> bool:
    try:
        await agent.ask(MintRunToken(user="u-a-late", run="r-late"), RunToken)
    except (NoRespondersError, Unavailable):
        return False
    return True
