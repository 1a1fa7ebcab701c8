"""Whatever bytes reach an edge, it answers with a problem into the asker's own inbox, or drops them; it never fails."""

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from structlog.testing import capture_logs

from dominie import wire
from dominie.keys import KeyPair
from dominie_contracts import Command, Message, ProblemDetails, RunClaims, headers
from dominie_contracts.heard import AtOnce
from dominie_contracts.identity import Done
from dominie_contracts.problems import PROBLEM_BASE
from dominie_contracts.runs import MintRunToken
from dominie_contracts.spiffe import TRUST_DOMAIN
from dominie_contracts.token import AUDIENCE, Actor, Authorization, Confirmation, Grants
from dominie_contracts.tool import InvokeTool
from dominie_kit import Context
from dominie_kit.edge.admission import Admission, Route
from dominie_kit.edge.run_tokens import ALGORITHM, ISSUER, RunTokenVerifier
from dominie_kit.edge.serving import Edge
from dominie_kit.edge.standing import Standing
from dominie_kit.handler_testing import Keys
from dominie_kit.personal.keyring import Keyring

pytestmark = pytest.mark.timeout(120)
KEYS = KeyPair.generate()
SIGNER = KeyPair.generate()
SUBJECT, INBOX = "cmd.acme.a-desk.tool.invoke.refund", "_INBOX.acme.a-desk."
RIGHT = InvokeTool(tool="refund", arguments={"order": "A-1"}).model_dump_json().encode()
TYPES = {"unauthenticated", "forbidden", "deadline-exceeded", "conflict", "invalid"}


def claims(**changed: object) -> dict[str, Any]:
    """A run token's right claims, changed."""
    now = int(time.time())
    right = RunClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub="u-dana",
        act=Actor.of(TRUST_DOMAIN, "acme", "a-desk"),
        tenant="acme",
        run="r-1",
        cnf=Confirmation(nkey=KEYS.public),
        authorization_details=(Authorization(grants=Grants(tools=("refund",))),),
        iat=now,
        exp=now + 200,
        jti=uuid.uuid4().hex,
    )
    return right.model_dump(mode="json", exclude_none=True) | changed


def signed(found: dict[str, Any]) -> str:
    return jwt.encode({"alg": ALGORITHM}, found, SIGNER.jwk, algorithms=[ALGORITHM])


TOKEN = "one that holds"
"""Stands for a token of this moment: one that was signed when the tests were collected may have expired meanwhile."""


@dataclass
class Wire:
    """A connection that writes down what is published."""

    published: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def publish(self, subject: str, body: bytes, *, headers: dict[str, str]) -> None:
        self.published.append((subject, body, headers))


async def answer(command: Command, context: Context) -> Message:
    assert isinstance(command, InvokeTool) and context.key
    return Done()


async def caught_up(position: int, timeout_s: float) -> None:
    """This handler reads nothing of its own."""


def edge() -> Edge:
    return Edge(
        "tool",
        Admission(RunTokenVerifier(SIGNER.public), Standing(), default_deadline_s=1.0, caught_up=caught_up),
        max_in_flight=4,
        max_in_flight_each=320,
        person=Keyring(Keys()).of,
    )


ROUTE = Route(InvokeTool, answer, resource="tool")
SERVICE_ROUTE = Route(MintRunToken, answer, token=False, direct=False, between=True)


async def hear(route: Route, message: Msg) -> None:
    """One edge, one message, and everything that comes of it."""
    one = edge()
    async with one.open():
        one.take(route, message)


def take(subject: str, reply: str, body: bytes, found: dict[str, str] | None, route: Route = ROUTE) -> list[str]:
    """Hand one message to an edge; what came of it: nothing, `ok`, or a problem's type."""
    wire = Wire()
    if found is not None and found.get(headers.TOKEN) == TOKEN:
        found = {**found, headers.TOKEN: signed(claims())}
    message = Msg(cast(Any, wire), subject, reply, body, found)
    with capture_logs() as logs:
        anyio.run(hear, route, message)
    assert [line for line in logs if line["event"] == "edge.failed"] == []
    for where, said, sent in wire.published:
        assert where == reply and where.startswith(
            ("_INBOX.acme.a-desk.", "_INBOX.svc.") if "svc" in subject else INBOX
        )
        if headers.PROBLEM not in sent:
            Done.model_validate_json(said)
            continue
        details = ProblemDetails.model_validate_json(said)
        assert details.type == PROBLEM_BASE + sent[headers.PROBLEM] and details.detail
        assert sent[headers.PROBLEM] in TYPES
    assert len(wire.published) <= 1
    return [sent.get(headers.PROBLEM, "ok") for _, _, sent in wire.published]


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
text = st.text(max_size=80)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
numbers = st.integers().map(str) | st.floats().map(str) | text
odd_headers = st.fixed_dictionaries(
    {},
    optional={
        headers.KEY: text | st.text(min_size=190, max_size=210),
        headers.TOKEN: text | st.just(TOKEN),
        headers.DEADLINE: numbers,
        headers.AFTER: numbers,
        headers.TRACEPARENT: text,
    },
)


def test_what_is_right_is_answered() -> None:
    assert take(SUBJECT, INBOX + "1", RIGHT, {headers.KEY: "k", headers.TOKEN: TOKEN}) == ["ok"]


@FUZZ
@given(body=st.binary(max_size=2_000))
@example(body=b"[" * 50_000)
@example(body=b'{"tool":"refund","arguments":{"a":"\\ud800"}}')
def test_any_body(body: bytes) -> None:
    assert take(SUBJECT, INBOX + "1", body, {headers.KEY: "k", headers.TOKEN: TOKEN}) == ["invalid"]


@FUZZ
@given(tool=json_values, arguments=json_values, more=st.dictionaries(text, json_values, max_size=2))
def test_any_fields(tool: object, arguments: object, more: dict[str, object]) -> None:
    body = json.dumps(more | {"tool": tool, "arguments": arguments}).encode()
    assert take(SUBJECT, INBOX + "1", body, {headers.KEY: "k", headers.TOKEN: TOKEN}) in (
        ["invalid"],
        ["forbidden"],
    )


@FUZZ
@given(found=odd_headers)
@example(found={headers.KEY: "k", headers.TOKEN: TOKEN, headers.DEADLINE: "-0"})
@example(found={headers.KEY: "\ufffd", headers.TOKEN: TOKEN, headers.AFTER: "-9" * 10})
@example(found={headers.KEY: "k", headers.TOKEN: TOKEN, headers.DEADLINE: "--5"})
def test_any_headers(found: dict[str, str]) -> None:
    assert len(take(SUBJECT, INBOX + "1", RIGHT, found)) == 1


@FUZZ
@given(subject=text.map(lambda tail: f"cmd.acme.a-desk.tool.invoke{tail}") | text | st.just("svc.tool.invoke"))
def test_any_subject(subject: str) -> None:
    assert take(subject, INBOX + "1", RIGHT, {headers.KEY: "k", headers.TOKEN: TOKEN}) in (
        [],
        ["ok"],
        ["forbidden"],
        ["invalid"],
    )


@FUZZ
@given(reply=text | text.map(lambda tail: f"_INBOX.acme.{tail}") | text.map(lambda tail: f"evt.0.acme.tool.{tail}"))
def test_any_reply_subject(reply: str) -> None:
    came = take(SUBJECT, reply, RIGHT, {headers.KEY: "k", headers.TOKEN: TOKEN})
    assert came == (["ok"] if reply.startswith(INBOX) else [])


@FUZZ
@given(changed=st.dictionaries(st.sampled_from(sorted(claims())), json_values, min_size=1, max_size=3))
def test_any_claims_under_the_right_signature(changed: dict[str, object]) -> None:
    token = signed(claims(**changed))
    came = take(SUBJECT, INBOX + "1", RIGHT, {headers.KEY: "k", headers.TOKEN: token})
    assert came in (["ok"], ["unauthenticated"], ["forbidden"])
    if set(changed) & {"act", "tenant", "aud", "iss", "exp"}:
        assert came != ["ok"]


@FUZZ
@given(token=text | st.text("ey.0JWTabc-_", max_size=200))
def test_any_token(token: str) -> None:
    came = take(SUBJECT, INBOX + "1", RIGHT, {headers.KEY: "k", headers.TOKEN: token})
    assert came == ["unauthenticated"]


@FUZZ
@given(body=st.binary(max_size=500), found=odd_headers)
def test_any_command_between_services(body: bytes, found: dict[str, str]) -> None:
    came = take("svc.identity.token", "_INBOX.svc.gateway.inner.1", body, found, SERVICE_ROUTE)
    assert len(came) == 1 and came != ["ok"]


@FUZZ
@given(
    head=st.binary(min_size=1, max_size=60) | st.binary(max_size=40).map(lambda tail: b"NATS/1.0" + tail),
    reply=st.binary(max_size=20),
)
@example(head=b"NATS/1.0", reply=b"")
@example(head=b"NATS/1.0 \xff\xff\xff\r\n\r\n", reply=b"")
@example(head=b"NATS/1.0\r\n\r\n", reply=b"\xff")
def test_any_frame_leaves_the_connection_reading(head: bytes, reply: bytes) -> None:
    async def read() -> None:
        client, heard = wire.Wire(), list[Msg]()
        client._subs[1] = queued = Subscription(client, 1, "cmd")
        client._subs[2] = Subscription(client, 2, "cmd", future=AtOnce(heard.append))  # type: ignore[arg-type]
        for sid in (1, 2):
            await client.hear(sid, b"cmd", reply, b"{}", head)
        before = queued._pending_queue.qsize(), len(heard)
        for sid in (1, 2):
            await client.hear(sid, b"cmd", b"", b"{}", b"NATS/1.0\r\nA: b\r\n\r\n")
        assert (queued._pending_queue.qsize(), len(heard)) == (before[0] + 1, before[1] + 1)
        assert heard[-1].headers == {"A": "b"}

    with capture_logs():
        anyio.run(read)
