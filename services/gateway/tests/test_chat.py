"""A client asks over HTTP; the services answer as recorded here."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import httpx
import pytest
from pydantic import JsonValue

from dominie_contracts import Command, Draft, Forbidden, Message, Problem, Recorded, Unauthenticated, Unavailable
from dominie_contracts.digests import digest_bytes
from dominie_contracts.envelope import GENESIS
from dominie_contracts.identity import Revoked
from dominie_contracts.judge import Review, Verdict, Vote
from dominie_contracts.keys import ExchangeApiKey, KeyIssued, KeyRevoked
from dominie_contracts.model import Chat, Completion, ListModels, Models, Offer
from dominie_contracts.runs import RunToken
from dominie_eventstore import StoreUnavailable
from dominie_gateway.adapters.http import Api, application
from dominie_gateway.adapters.live import LivePage
from dominie_gateway.adapters.people import People
from dominie_gateway.handlers import Handlers
from dominie_gateway.people.clients import Clients
from dominie_gateway.people.code_flow import CodeFlow
from dominie_gateway.people.devices import Devices
from dominie_gateway.people.entrance import Entrance
from dominie_gateway.people.sessions import Sessions
from dominie_gateway.people.signing_in import SigningIn
from dominie_gateway.projection import Keys, Recent
from dominie_gateway.settings import Settings
from dominie_kit import Context
from dominie_kit.edge.standing import Standing

R = TypeVar("R", bound=Message)
pytestmark = pytest.mark.anyio
CHAT: dict[str, JsonValue] = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
CALLS: list[JsonValue] = [{"id": "c1", "type": "function", "function": {"name": "refund", "arguments": "{}"}}]


def completed(content: str | None, tool_calls: list[JsonValue] | None = None) -> Completion:
    message: dict[str, JsonValue] = {"role": "assistant", "content": content, "tool_calls": tool_calls}
    choices: list[JsonValue] = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body: dict[str, JsonValue] = {"id": "x", "object": "chat.completion", "choices": choices, "usage": {"n": 3}}
    return Completion(
        completion=body, model="auto", cost_usd=0.0004, input_tokens=2, output_tokens=1, waited_ms=0, action="a1"
    )


def judged(verdict: str, *votes: Vote) -> Verdict:
    return Verdict.model_validate({"verdict": verdict, "votes": votes, "action": "v1"})


@dataclass
class Services:
    """The other services: each command has one answer, or raises one problem."""

    answers: dict[type[Command], Message | Problem]
    asked: list[tuple[Command, Context, str]] = field(default_factory=list)

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        self.asked.append((command, context, key or context.key))
        found = self.answers[type(command)]
        if isinstance(found, Problem):
            raise found
        assert isinstance(found, reply)
        return found

    def commands(self, kind: type[Command]) -> list[Command]:
        return [command for command, _, _ in self.asked if isinstance(command, kind)]

    @property
    def kinds(self) -> list[str]:
        return [command.NAME for command, _, _ in self.asked]


@pytest.fixture
def services() -> Services:
    token = RunToken(token="token", expires_s=int(time.time()) + 300, run="r")
    return Services(
        {
            ExchangeApiKey: token,
            Chat: completed("Done, all of it."),
            Review: judged("released"),
            ListModels: Models(models=(Offer(name="auto", provider="p", slots=1),)),
        }
    )


@pytest.fixture
def keys() -> Keys:
    return Keys()


async def log_end() -> int:
    return 4096


@asynccontextmanager
async def connected(
    services: Services, keys: Keys, settings: Settings, *, log_end: Callable[[], Awaitable[int]] = log_end
) -> AsyncIterator[httpx.AsyncClient]:
    api = Api(Handlers(services, keys, log_end), settings, lambda: True)
    clients, sessions = Clients({}), Sessions(Standing())
    people = People(services, clients, api.body)
    entrance = Entrance(people, sessions, token=None, public_url=None)
    signing_in, devices = SigningIn(people, entrance, sessions, CodeFlow(clients)), Devices(entrance, clients, api.body)
    transport = httpx.ASGITransport(application(api, LivePage(Recent(5), entrance), people, devices, signing_in))
    headers = {"authorization": "Bearer sk-1"}
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
        yield client


@pytest.fixture
async def client(services: Services, keys: Keys) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(services, keys, Settings()) as found:
        yield found


async def test_an_answer_is_judged_and_given(client: httpx.AsyncClient, services: Services) -> None:
    reply = await client.post("/v1/chat/completions", json=CHAT, headers={"x-dominie-run": "r-1"})
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"] == {"role": "assistant", "content": "Done, all of it."}
    assert reply.headers["x-dominie-run"] == "r-1"
    assert (reply.headers["x-dominie-action"], reply.headers["x-dominie-cost-usd"]) == ("a1", "0.000400")
    assert services.kinds == ["identity.exchange", "model.chat", "judge.review"]
    assert services.commands(Review) == [Review(output="Done, all of it.")]


async def test_the_services_are_asked_with_the_run_token_and_the_clients_key(
    client: httpx.AsyncClient, services: Services
) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = {"idempotency-key": "k-1", "x-dominie-session": "s-1", "traceparent": traceparent}
    await client.post("/v1/chat/completions", json=CHAT, headers=headers)
    (exchange, unsigned, fresh), (_, asking, key), (_, reviewing, _) = services.asked
    assert isinstance(exchange, ExchangeApiKey)
    assert (exchange.key, exchange.session, unsigned.token, fresh != "k-1") == ("sk-1", "s-1", None, True)
    assert (asking.token, key, asking.traceparent, asking.tenant) == ("token", "k-1", traceparent, "svc")
    assert reviewing.after == 4096


async def test_a_call_of_tools_goes_on_unjudged(client: httpx.AsyncClient, services: Services) -> None:
    services.answers[Chat] = completed("I will look.", CALLS)
    reply = await client.post("/v1/chat/completions", json=CHAT)
    assert reply.json()["choices"][0]["message"]["tool_calls"] == CALLS
    assert "judge.review" not in services.kinds


@pytest.mark.parametrize("stream", [False, True])
async def test_a_held_answer_is_never_shown(client: httpx.AsyncClient, services: Services, stream: bool) -> None:
    services.answers[Review] = judged("held", Vote(judge="rules", vote="reject", why="it promises too much"))
    reply = await client.post("/v1/chat/completions", json={**CHAT, "stream": stream})
    assert (reply.status_code, reply.headers["x-should-retry"]) == (403, "false")
    assert reply.json()["error"]["code"] == "held"
    assert "it promises too much" in reply.json()["error"]["message"]
    assert "all of it" not in reply.text


async def test_without_the_log_nothing_is_shown(services: Services, keys: Keys) -> None:
    async def away() -> int:
        raise StoreUnavailable("no answer")

    async with connected(services, keys, Settings(), log_end=away) as client:
        reply = await client.post("/v1/chat/completions", json=CHAT)
    assert (reply.status_code, "judge.review" in services.kinds) == (503, False)


async def test_without_a_judge_nothing_is_shown(client: httpx.AsyncClient, services: Services) -> None:
    services.answers[Review] = Unavailable("judge is not running", retry_after_s=1)
    reply = await client.post("/v1/chat/completions", json=CHAT)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert "all of it" not in reply.text


async def test_an_answer_too_long_to_judge_is_held(client: httpx.AsyncClient, services: Services) -> None:
    services.answers[Chat] = completed("x" * 100_001)
    assert (await client.post("/v1/chat/completions", json=CHAT)).json()["error"]["code"] == "held"


async def test_a_stream_comes_in_pieces_and_ends(client: httpx.AsyncClient, services: Services) -> None:
    asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    reply = await client.post("/v1/chat/completions", json=asked)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *parts, end = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    found = [json.loads(part) for part in parts]
    assert "".join(part["choices"][0]["delta"].get("content", "") for part in found[:-1]) == "Done, all of it."
    assert (found[-1]["usage"], end) == ({"n": 3}, "[DONE]")


async def test_a_services_refusal_is_the_clients(client: httpx.AsyncClient, services: Services) -> None:
    services.answers[Chat] = Forbidden("a-desk was not granted the model 'auto'")
    reply = await client.post("/v1/chat/completions", json=CHAT)
    assert (reply.status_code, reply.headers["content-type"]) == (403, "application/problem+json")
    assert reply.json()["error"]["message"] == "a-desk was not granted the model 'auto'"


def told(payload: KeyIssued | KeyRevoked | Revoked) -> Recorded:
    draft = Draft(
        id="e",
        source="dominie/identity",
        type=f"principal.{payload.KIND}",
        time=datetime.now(UTC),
        actor="u-dev",
        data=payload.model_dump_json(),
    )
    return Recorded(1, draft.seal("acme.principal.a-desk", "acme", version=1, prev=GENESIS))


ISSUED = KeyIssued(tenant="acme", principal="a-desk", id="k1", digest=digest_bytes(b"sk-1"), user="u-dana", by="u-dev")


@pytest.fixture
def known(keys: Keys) -> Keys:
    keys.apply(told(ISSUED))
    return keys


async def chat(client: httpx.AsyncClient) -> int:
    return (await client.post("/v1/chat/completions", json=CHAT, headers={"x-dominie-run": "r-1"})).status_code


async def test_one_run_needs_one_token(client: httpx.AsyncClient, services: Services, known: Keys) -> None:
    assert [await chat(client), await chat(client)] == [200, 200]
    assert services.kinds.count("identity.exchange") == 1


async def test_a_token_that_is_no_longer_taken_is_exchanged_once_more(
    client: httpx.AsyncClient, services: Services, known: Keys
) -> None:
    await chat(client)
    services.answers[Chat] = Unauthenticated("a-desk has another key now")
    assert await chat(client) == 401
    assert services.kinds[3:] == ["model.chat", "identity.exchange", "model.chat"]


@pytest.mark.parametrize(
    "end",
    [
        KeyRevoked(tenant="acme", principal="a-desk", id="k1", by="u-dev"),
        Revoked(tenant="acme", principal="a-desk", by="u-dev", reason="lost"),
    ],
    ids=["key", "agent"],
)
async def test_a_key_that_was_revoked_is_not_used_again(
    client: httpx.AsyncClient, services: Services, known: Keys, end: KeyRevoked | Revoked
) -> None:
    await chat(client)
    known.apply(told(end))
    services.answers[ExchangeApiKey] = Unauthenticated("the API key was revoked")
    assert await chat(client) == 401


async def test_to_ask_for_models_opens_no_run(client: httpx.AsyncClient, services: Services, known: Keys) -> None:
    assert (await client.get("/v1/models")).status_code == 200
    assert services.kinds == ["model.list"]


@pytest.mark.parametrize("authorization", ["", "sk-1", "Basic sk-1", "Bearer "])
async def test_without_an_api_key_nobody_is_asked(
    client: httpx.AsyncClient, services: Services, authorization: str
) -> None:
    reply = await client.post("/v1/chat/completions", json=CHAT, headers={"authorization": authorization})
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert services.asked == []


@pytest.mark.parametrize("header", ["x-dominie-run", "x-dominie-session", "idempotency-key"])
async def test_a_name_that_is_none_is_refused(client: httpx.AsyncClient, header: str) -> None:
    reply = await client.post("/v1/chat/completions", json=CHAT, headers={header: "a b"})
    assert (reply.status_code, header in reply.json()["detail"]) == (400, True)


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 1024


@pytest.mark.parametrize("body", [lambda: b"x" * 300_000, lambda: pieces(300)], ids=["said", "unsaid"])
async def test_a_body_that_is_too_large_is_refused(
    client: httpx.AsyncClient, body: Callable[[], bytes | AsyncIterator[bytes]]
) -> None:
    reply = await client.post("/v1/chat/completions", content=body())
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "invalid")


async def test_a_body_that_does_not_come_is_refused(services: Services, keys: Keys) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await anyio.sleep_forever()

    async with connected(services, keys, Settings(gateway_body_s=0.01)) as client:
        reply = await client.post("/v1/chat/completions", content=stalled())
    assert (reply.status_code, reply.json()["error"]["code"]) == (408, "deadline-exceeded")


async def test_more_requests_at_once_than_it_takes_are_told_to_wait(services: Services, keys: Keys) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        begun.set()
        yield b"{"
        await ended.wait()

    begun, ended = anyio.Event(), anyio.Event()
    settings = Settings(max_in_flight=1)
    async with connected(services, keys, settings) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.post("/v1/chat/completions", content=stalled()))
        await begun.wait()
        reply = await client.get("/v1/models")
        ended.set()
    assert (reply.status_code, reply.headers["x-should-retry"]) == (503, "true")


async def test_whatever_breaks_is_answered_and_final(client: httpx.AsyncClient, services: Services) -> None:
    del services.answers[Chat]
    reply = await client.post("/v1/chat/completions", json=CHAT)
    assert (reply.status_code, reply.headers["x-should-retry"]) == (500, "false")
    assert reply.json()["error"]["message"] == "the gateway failed; its log says why"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("DELETE", "/v1/models", 405)])
async def test_what_is_not_served_is_a_problem_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    reply = await client.request(method, path)
    assert (reply.status_code, reply.json()["status"], reply.json()["error"]["type"]) == (
        status,
        status,
        "invalid_request_error",
    )


async def test_models_are_listed(client: httpx.AsyncClient) -> None:
    assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["auto"]


async def test_it_is_well(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
