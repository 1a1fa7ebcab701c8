"""The protocol on the wire."""

from collections.abc import AsyncIterator

import httpx
import pytest

from dominie.cosignatures import Cosigner
from dominie_witness.http import MAX_BODY_BYTES, application
from dominie_witness.state import State
from dominie_witness.testing import OURS, Log
from dominie_witness.witness import Witness

pytestmark = pytest.mark.anyio
LOG = Log.of(9)


@pytest.fixture
async def client(witness: Witness) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(witness))
    async with httpx.AsyncClient(transport=transport, base_url="http://witness") as found:
        yield found


async def test_it_answers_with_a_line(client: httpx.AsyncClient, cosigner: Cosigner) -> None:
    answer = await client.post("/add-checkpoint", content=LOG.body(0, 7))
    assert answer.status_code == 200
    assert answer.text.startswith(f"\u2014 {cosigner.key.name} ") and answer.text.count("\n") == 1


async def test_it_says_which_size_it_has(client: httpx.AsyncClient) -> None:
    await client.post("/add-checkpoint", content=LOG.body(0, 7))
    answer = await client.post("/add-checkpoint", content=LOG.body(0, 9))
    assert (answer.status_code, answer.text) == (409, "7\n")
    assert answer.headers["content-type"] == "text/x.tlog.size"


async def test_a_refusal_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/add-checkpoint", content=b"old")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["type"] == "urn:dominie:problem:invalid"
    forked = LOG.body(0).replace(b"dominie/test\n9", b"dominie/other\n9")
    assert (await client.post("/add-checkpoint", content=forked)).status_code == 404


async def test_a_long_body_is_not_read_to_its_end(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1000 + 1):
            yield bytes(1000)
        pytest.fail("it reads on")

    assert (await client.post("/add-checkpoint", content=endless())).status_code == 413


async def test_only_what_is_served_is_served(client: httpx.AsyncClient) -> None:
    assert (await client.get("/add-checkpoint")).status_code == 405
    assert (await client.get("/")).status_code == 404
    assert (await client.get("/healthz")).text == "ok\n"


async def test_what_it_cannot_write_down_it_does_not_sign(
    client: httpx.AsyncClient, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    (state.folder / "logs").rmdir()
    answer = await client.post("/add-checkpoint", content=LOG.body(0))
    assert answer.status_code == 503 and "\u2014" not in answer.text
    assert "FileNotFoundError" in capsys.readouterr().err
    (state.folder / "logs").mkdir()
    state.store(OURS.name, "damaged")
    assert (await client.post("/add-checkpoint", content=LOG.body(0))).status_code == 503
