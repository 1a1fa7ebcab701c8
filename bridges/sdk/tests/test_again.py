"""A program under `dominie fork`: the run that it opens is the fork, and it opens no other."""

import json

import pytest

from dominie import AsyncClient, Credentials, Diverged, Invalid
from dominie._again import FORK

AGAIN = json.dumps({"of": "r1", "run": "f1"})
pytestmark = pytest.mark.anyio


@pytest.fixture
def client(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> AsyncClient:
    monkeypatch.setenv(FORK, AGAIN)
    return AsyncClient(credentials=credentials)


async def opened(client: AsyncClient, *ids: str | None) -> list[str]:
    try:
        return [client.run("dana", id=id).id for id in ids]
    finally:
        await client.aclose()


async def test_the_run_that_is_made_again_is_the_fork_whenever_it_is_taken_up(client: AsyncClient) -> None:
    assert await opened(client, "r1", "r1") == ["f1", "f1"]


async def test_a_program_that_names_no_run_means_this_one(client: AsyncClient) -> None:
    assert await opened(client, None) == ["f1"]


@pytest.mark.parametrize("ids", [("r2",), ("r1", "r2"), (None, None)])
async def test_no_other_run_is_opened(client: AsyncClient, ids: tuple[str | None, ...]) -> None:
    with pytest.raises(Diverged) as caught:
        await opened(client, *ids)
    assert caught.value.extra["expected"] == ["run r1"]


async def test_without_a_fork_runs_are_what_they_are_called(credentials: Credentials) -> None:
    assert await opened(AsyncClient(credentials=credentials), "r1", "r2") == ["r1", "r2"]


async def test_what_cannot_be_read_is_said(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORK, "r1")
    with pytest.raises(Invalid, match=FORK):
        AsyncClient(credentials=credentials)
