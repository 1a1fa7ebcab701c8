"""Messages as the broker hands them on: who is heard, what is answered, and where the answer goes."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError

from dominie.keys import KeyPair
from dominie_contracts import Message, headers
from dominie_contracts.identity import PRINCIPAL, Registered, Resumed, Revoked, Suspended
from dominie_contracts.scheduler import AskPermit
from dominie_contracts.token import Grants
from dominie_contracts.tool import InvokeTool, ListTools, ToolResult, Tools
from dominie_eventstore import EventTooLarge, StoreUnavailable
from dominie_kit.context import Context
from dominie_kit.edge.admission import Admission, Route
from dominie_kit.edge.refusals import ANSWERED, RefusalTally
from dominie_kit.edge.run_tokens import ALGORITHM, ISSUER, RunTokenVerifier
from dominie_kit.edge.serving import MOST_ASKERS, Edge
from dominie_kit.edge.standing import Standing
from dominie_kit.handler_testing import Desk, Keys
from dominie_kit.personal.keyring import Keyring

pytestmark = pytest.mark.anyio

SIGNER, OTHER_SIGNER = KeyPair.generate(), KeyPair.generate()
INVOKE, INBOX = "cmd.acme.a-desk.tool.invoke.refund", "_INBOX.acme.a-desk.1"
BODY = InvokeTool(tool="refund", arguments={"cents": 1}).model_dump_json().encode()
DONE = ToolResult(result="done", labels={}, action="a-1")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def token(signer: KeyPair = SIGNER, **changed: Any) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "dominie",
        "sub": "u-dana",
        "act": {"sub": "spiffe://dominie.local/acme/agent/desk"},
        "tenant": "acme",
        "run": "r-1",
        "cnf": {"nkey": "UKEY"},
        "authorization_details": [{"type": "dominie", "grants": {"tools": ["refund"]}}],
        "iat": now,
        "exp": now + 300,
        "jti": "j" * 8,
    }
    return jwt.encode({"alg": ALGORITHM}, {**claims, **changed}, signer.jwk, algorithms=[ALGORITHM])


@dataclass
class Wire:
    """One edge, and everything it published. Its handler does as it is told, and so does its connection."""

    edge: Edge
    standing: Standing
    sent: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    does: Callable[[], Awaitable[Message]] | None = None
    sends: Callable[[str], Awaitable[None]] | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        self.answered.set()
        if self.sends:
            await self.sends(subject)
        self.sent.append((subject, body, headers))

    async def handle(self, command: object, context: Context) -> Message:
        self.contexts.append(context)
        return await self.does() if self.does else DONE

    async def take(self, route: Route | None = None, **message: Any) -> None:
        """One message, and everything that comes of it."""
        self.hear(route, **message)
        await self.edge.drained()

    def hear(
        self,
        route: Route | None = None,
        *,
        subject: str = INVOKE,
        reply: str = INBOX,
        body: bytes = BODY,
        sent: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """One message; `sent` replaces its headers, `more` adds to them."""
        found = {headers.KEY: "k", headers.TOKEN: token()} if sent is None else sent
        client: Any = self
        message = Msg(client, subject, reply, body, {**found, **(more or {})})
        if self.edge.ignores(subject.encode()):
            return
        self.edge.take(route or Route(InvokeTool, self.handle, resource="tool"), message)

    @property
    def problem(self) -> tuple[str, str]:
        """The type and the text of the last answer, which is a problem."""
        details = json.loads(self.sent[-1][1])
        assert details["type"].endswith(":" + self.sent[-1][2][headers.PROBLEM])
        return self.sent[-1][2][headers.PROBLEM], details["detail"]


def wire(*, max_in_flight: int = 4, max_in_flight_each: int = 320) -> Wire:
    async def caught_up(position: int, timeout_s: float) -> None: ...

    standing = Standing()
    verifier = RunTokenVerifier(SIGNER.public)
    edge = Edge(
        "tool",
        Admission(verifier, standing, default_deadline_s=5, caught_up=caught_up),
        max_in_flight=max_in_flight,
        max_in_flight_each=max_in_flight_each,
        person=Keyring(Keys()).of,
    )
    return Wire(edge, standing)


@pytest.fixture(name="wire")
async def one_wire() -> AsyncIterator[Wire]:
    one = wire()
    async with one.edge.open():
        yield one


async def register(wire: Wire, nkey: str = "UKEY", *, revoked: bool = False) -> None:
    known = {"tenant": "acme", "principal": "a-desk", "by": "operator"}
    more = {"nkey": nkey, "sponsor": None, "grants": Grants(), "users": (), "groups": ("sales",)}
    events = [Registered.model_validate({**known, **more}), *([Revoked(**known, reason="")] if revoked else [])]
    for event in await Desk("identity").append(PRINCIPAL, "a-desk", *events):
        wire.standing.apply(event)


async def test_a_command_is_handled_for_its_agent_and_user(wire: Wire) -> None:
    await register(wire)
    await wire.take(more={headers.TRACEPARENT: "00-1", headers.AFTER: "7"})
    (context,) = wire.contexts
    assert (context.tenant, context.principal, context.user, context.run) == ("acme", "a-desk", "u-dana", "r-1")
    assert (context.key, context.resource, context.traceparent, context.after) == ("k", "refund", "00-1", 7)
    assert (context.groups, context.grants.tools) == (("sales",), ("refund",))
    ((subject, body, found),) = wire.sent
    assert (subject, ToolResult.model_validate_json(body), found) == (INBOX, DONE, {headers.POSITION: "0"})


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "evt.0.acme.tool.a-1",
        "call.acme.refund",
        "_INBOX.acme.a-other.1",
        "_INBOX.acme.a-desk2.1",
        "_INBOX.acme.a-desk",
        "_INBOX.other.a-desk.1",
        "_INBOX.svc.tool.inner.1",
        " _INBOX.acme.a-desk.1",
    ],
)
async def test_an_answer_that_would_go_elsewhere_is_never_sent(wire: Wire, reply: str) -> None:
    await wire.take(reply=reply)
    assert (wire.sent, wire.contexts, wire.edge.refused) == ([], [], 1)


@pytest.mark.parametrize(
    "subject", ["cmd.acme", "cmd.acme.desk.tool.invoke", "cmd.svc.a-desk.tool.invoke", "cmd.%2e.a.b.c"]
)
async def test_a_subject_that_is_none_is_dropped(wire: Wire, subject: str) -> None:
    await wire.take(subject=subject)
    assert (wire.sent, wire.contexts) == ([], [])


async def test_services_are_answered_in_services_inboxes_alone(wire: Wire) -> None:
    body = AskPermit(
        permit="p", tenant="acme", agent="a", run=None, model="m", priority="standard", deadline_ms=1, lease_ms=1
    )
    route = Route(AskPermit, wire.handle, token=False, direct=False, between=True)
    for reply in ("_INBOX.svc.model.inner.1", INBOX):
        asked = body.model_dump_json().encode()
        await wire.take(route, subject="svc.scheduler.permit", reply=reply, body=asked, sent={headers.KEY: "k"})
    assert [subject for subject, _, _ in wire.sent] == ["_INBOX.svc.model.inner.1"]
    assert [(context.tenant, context.principal) for context in wire.contexts] == [("svc", "svc-model")]


async def test_between_services_a_run_token_says_who_asks(wire: Wire) -> None:
    route = Route(InvokeTool, wire.handle, resource="tool", between=True)
    await wire.take(route, subject="svc.tool.invoke", reply="_INBOX.svc.gateway.inner.1")
    assert [(context.tenant, context.principal) for context in wire.contexts] == [("acme", "a-desk")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"act": {"sub": "spiffe://dominie.local/acme/agent/other"}}, "forbidden"),
        ({"tenant": "other"}, "unauthenticated"),
        ({"tenant": "other", "act": {"sub": "spiffe://dominie.local/other/agent/desk"}}, "forbidden"),
        ({"authorization_details": [{"type": "dominie-everything"}]}, "unauthenticated"),
        ({"iss": "somebody"}, "unauthenticated"),
        ({"aud": "dominie-connect"}, "unauthenticated"),
        ({"exp": 1, "iat": 0}, "unauthenticated"),
        ({"exp": int(time.time()) + 3600}, "unauthenticated"),
        ({"run": None}, "unauthenticated"),
    ],
)
async def test_a_run_token_that_does_not_hold(wire: Wire, changed: dict[str, Any], said: str) -> None:
    await wire.take(sent={headers.KEY: "k", headers.TOKEN: token(**changed)})
    assert (wire.problem[0], wire.contexts) == (said, [])


@pytest.mark.parametrize(
    "shown",
    [token(OTHER_SIGNER), token().rsplit(".", 1)[0] + ".", "", "x", "a.b.c"],
    ids=["forged", "unsigned", "none", "word", "dots"],
)
async def test_a_forged_token_or_none(wire: Wire, shown: str) -> None:
    await wire.take(sent={headers.KEY: "k", headers.TOKEN: shown})
    assert (wire.problem[0], wire.contexts) == ("unauthenticated", [])


async def test_a_token_without_a_signature_does_not_hold(wire: Wire) -> None:
    parts = token().split(".")
    await wire.take(sent={headers.KEY: "k", headers.TOKEN: f"eyJhbGciOiJub25lIn0.{parts[1]}."})
    assert (wire.problem[0], wire.contexts) == ("unauthenticated", [])


async def test_who_is_revoked_is_not_heard(wire: Wire) -> None:
    await wire.take()
    await register(wire, revoked=True)
    await wire.take()
    assert wire.problem == ("unauthenticated", "a-desk has been revoked")
    assert len(wire.contexts) == 1


async def test_who_is_suspended_is_not_heard_until_it_is_resumed(wire: Wire) -> None:
    await wire.take()
    suspended = Suspended(tenant="acme", principal="a-desk", by="warden", reason="it flooded")
    for event in await Desk("identity").append(PRINCIPAL, "a-desk", suspended):
        wire.standing.apply(event)
    await wire.take()
    assert wire.problem == (
        "forbidden",
        "a-desk is suspended by warden: it flooded; `dominie agent resume a-desk` lifts it",
    )
    resumed = Resumed(tenant="acme", principal="a-desk", by="u-dev")
    for event in await Desk("identity").append(PRINCIPAL, "a-desk", resumed):
        wire.standing.apply(event)
    await wire.take()
    assert len(wire.contexts) == 2


async def test_a_token_of_a_key_that_is_yet_to_be_read_of_holds(wire: Wire) -> None:
    await register(wire, "UOLD")
    now = int(time.time())
    await wire.take(sent={headers.KEY: "k", headers.TOKEN: token(iat=now + 3, exp=now + 300)})
    assert len(wire.contexts) == 1


async def test_who_is_refused_too_often_is_not_heard_for_a_moment(wire: Wire) -> None:
    second = [7.0]
    wire.edge.refusals = RefusalTally("tool", lambda: second[0])
    for number in range(ANSWERED * 4):
        wire.hear(body=b"?", more={headers.KEY: str(number)})
    await wire.edge.drained()
    assert len(wire.sent) == ANSWERED
    (found,) = wire.edge.refusals.take()
    assert (found.tenant, found.principal) == ("acme", "a-desk")
    assert {each.what for each in found.counts} == {"tool: invalid", "tool: unheard"}
    assert sum(each.count for each in found.counts) == ANSWERED * 4
    assert wire.edge.refusals.take() == ()
    second[0] += 1
    wire.hear(body=b"?", more={headers.KEY: "later"})
    await wire.edge.drained()
    assert len(wire.sent) == ANSWERED + 1


async def test_one_principal_takes_no_more_than_its_share() -> None:
    busy, gate = wire(max_in_flight=10, max_in_flight_each=2), anyio.Event()

    async def wait() -> Message:
        await gate.wait()
        return DONE

    busy.does = wait
    async with busy.edge.open():
        for number in range(3):
            busy.hear(more={headers.KEY: str(number)})
        with anyio.fail_after(20):
            await busy.answered.wait()
        assert busy.problem[0] == "unavailable" and "as many commands" in busy.problem[1]
        gate.set()
        await busy.edge.drained()
        await busy.take(more={headers.KEY: "later"})
    assert len(busy.contexts) == 3


async def test_who_is_told_so_is_told_in_turn_and_each_in_their_own_inbox() -> None:
    busy, gate = wire(max_in_flight_each=1), anyio.Event()

    async def wait() -> Message:
        await gate.wait()
        return DONE

    busy.does = wait
    async with busy.edge.open():
        for number in range(20):
            busy.hear(reply=f"{INBOX}{number}", more={headers.KEY: str(number)})
            await anyio.lowlevel.checkpoint()
        gate.set()
        await busy.edge.drained()
    told = [inbox for inbox, _, found in busy.sent if found.get(headers.PROBLEM) == "unavailable"]
    assert told == [f"{INBOX}{number}" for number in range(1, 20)]
    (found,) = busy.edge.refusals.take()
    assert [(each.what, each.count) for each in found.counts] == [("tool: too many at once", 19)]


async def test_no_more_wait_for_one_answer_than_may() -> None:
    busy, gate = wire(), anyio.Event()

    async def wait() -> Message:
        await gate.wait()
        return DONE

    busy.does = wait
    async with busy.edge.open():
        for _ in range(100):
            busy.hear(body=bytes(BODY))
        await anyio.lowlevel.checkpoint()
        gate.set()
        await busy.edge.drained()
    told = [found.get(headers.PROBLEM) for _, _, found in busy.sent]
    assert (told.count(None), told.count("unavailable")) == (MOST_ASKERS, 100 - MOST_ASKERS)
    assert len(busy.contexts) == 1
    (found,) = busy.edge.refusals.take()
    assert [(each.what, each.count) for each in found.counts] == [("tool: too many at once", 100 - MOST_ASKERS)]


@pytest.mark.parametrize("subject", ["svc.tool.invoke", "cmd.acme", "cmd.acme.%zz.tool.invoke", "\udcff"])
async def test_what_names_nobody_is_never_dropped_unread(wire: Wire, subject: str) -> None:
    assert not wire.edge.ignores(subject.encode(errors="surrogateescape"))


async def test_a_token_of_a_key_that_was_changed_no_longer_holds(wire: Wire) -> None:
    await register(wire, nkey="UNEWKEY")
    await wire.take()
    assert wire.problem[0] == "unauthenticated"
    assert "another key" in wire.problem[1]


@pytest.mark.parametrize("key", [None, "", "k" * 201])
async def test_a_key_has_1_to_200_characters(wire: Wire, key: str | None) -> None:
    sent = {headers.TOKEN: token()} | ({} if key is None else {headers.KEY: key})
    await wire.take(sent=sent)
    assert wire.problem[0] == "invalid"
    await wire.take(sent={**sent, headers.KEY: "k" * 200})
    assert len(wire.contexts) == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (headers.DEADLINE, "0", "deadline-exceeded"),
        (headers.DEADLINE, "-5", "deadline-exceeded"),
        (headers.DEADLINE, "soon", "invalid"),
        (headers.DEADLINE, "1.5", "invalid"),
        (headers.DEADLINE, "9" * 21, "invalid"),
        (headers.DEADLINE, "²", "invalid"),
        (headers.AFTER, "x", "invalid"),
    ],
)
async def test_a_header_that_is_no_number(wire: Wire, name: str, value: str, said: str) -> None:
    await wire.take(more={name: value})
    assert (wire.problem[0], wire.contexts) == (said, [])


async def test_what_is_too_large_is_not_read(wire: Wire) -> None:
    await wire.take(body=b" " * (headers.MAX_COMMAND_BYTES + 1))
    assert wire.problem[0] == "invalid"
    await wire.take(more={"more": "x" * headers.MAX_HEADER_BYTES})
    assert (wire.problem[0], wire.contexts) == ("invalid", [])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"tool": 1, "arguments": {}}', b"\xff", b"null"])
async def test_a_body_that_does_not_fit_says_where(wire: Wire, body: bytes) -> None:
    await wire.take(body=body)
    assert wire.problem[0] == "invalid"
    assert wire.problem[1].startswith("tool.invoke does not fit its contract: ")


async def test_subject_and_command_name_the_same_resource(wire: Wire) -> None:
    await wire.take(subject="cmd.acme.a-desk.tool.invoke.lookup")
    assert wire.problem[0] == "forbidden"
    await wire.take(subject="cmd.acme.a-desk.tool.invoke")
    assert wire.problem[0] == "forbidden"
    route = Route(ListTools, wire.handle)
    await wire.take(route, subject="cmd.acme.a-desk.tool.list.refund", body=b"{}")
    assert (wire.problem[0], wire.contexts) == ("invalid", [])


async def test_without_a_token_only_where_none_is_needed(wire: Wire) -> None:
    async def handle(command: object, context: Context) -> Message:
        assert (context.claims, context.user, context.grants) == (None, None, Grants())
        return Tools(tools=())

    for needed in (True, False):
        route = Route(ListTools, handle, token=needed)
        await wire.take(route, subject="cmd.acme.a-desk.tool.list", body=b"{}", sent={headers.KEY: "k"})
    assert [found.get(headers.PROBLEM) for _, _, found in wire.sent] == ["unauthenticated", None]


async def test_beyond_its_bound_it_is_busy_and_says_when_to_come_back() -> None:
    busy, gate = wire(max_in_flight=1), anyio.Event()

    async def slow() -> Message:
        await gate.wait()
        return DONE

    busy.does = slow
    async with busy.edge.open():
        busy.hear()
        busy.hear(more={headers.KEY: "k2"})
        await busy.answered.wait()
        assert busy.problem == ("unavailable", "tool is busy with 1 commands")
        assert json.loads(busy.sent[-1][1])["retry_after_s"] == 0.25
        gate.set()
    assert (len(busy.sent), busy.edge.in_flight, busy.edge.handled, busy.edge.refused) == (2, 0, 1, 1)


async def test_a_repeat_joins_the_first_while_that_is_under_way(wire: Wire) -> None:
    gate = anyio.Event()

    async def slow() -> Message:
        await gate.wait()
        return DONE

    wire.does = slow
    wire.hear()
    wire.hear(reply="_INBOX.acme.a-desk.2")
    wire.hear(body=InvokeTool(tool="refund", arguments={"cents": 2}).model_dump_json().encode())
    await wire.answered.wait()
    assert wire.problem[0] == "conflict"
    gate.set()
    await wire.edge.drained()
    answers = {(subject, body) for subject, body, _ in wire.sent[1:]}
    assert {subject for subject, _ in answers} == {INBOX, "_INBOX.acme.a-desk.2"}
    assert (len({body for _, body in answers}), len(wire.contexts)) == (1, 1)


async def test_at_its_deadline_it_is_answered_and_what_was_begun_goes_on(wire: Wire) -> None:
    gate, ended = anyio.Event(), anyio.Event()

    async def slow() -> Message:
        await gate.wait()
        ended.set()
        return DONE

    wire.does = slow
    wire.hear(more={headers.DEADLINE: "20"})
    await wire.answered.wait()
    assert wire.problem[0] == "deadline-exceeded"
    assert wire.edge.in_flight == 1
    gate.set()
    await wire.edge.drained()
    assert (ended.is_set(), wire.edge.in_flight, len(wire.sent)) == (True, 0, 1)


async def test_each_who_asked_has_their_own_deadline(wire: Wire) -> None:
    gate = anyio.Event()

    async def slow() -> Message:
        await gate.wait()
        return DONE

    wire.does = slow
    wire.hear()
    wire.hear(reply="_INBOX.acme.a-desk.2", more={headers.DEADLINE: "20"})
    await wire.answered.wait()
    gate.set()
    await wire.edge.drained()
    assert [(to, found.get(headers.PROBLEM)) for to, _, found in wire.sent] == [
        ("_INBOX.acme.a-desk.2", "deadline-exceeded"),
        (INBOX, None),
    ]


async def test_who_asks_while_the_answer_is_being_sent_gets_it_too(wire: Wire) -> None:
    gate = anyio.Event()

    async def slowly(subject: str) -> None:
        await gate.wait()

    wire.sends = slowly
    wire.hear()
    await wire.answered.wait()
    wire.hear(reply="_INBOX.acme.a-desk.2")
    gate.set()
    await wire.edge.drained()
    assert ([to for to, _, _ in wire.sent], len(wire.contexts)) == ([INBOX, "_INBOX.acme.a-desk.2"], 1)


async def test_an_inbox_that_cannot_be_reached_keeps_nobody_from_their_answer(wire: Wire) -> None:
    async def refuse(subject: str) -> None:
        if subject != INBOX:
            raise ConnectionClosedError

    wire.sends = refuse
    wire.hear()
    wire.hear(reply="_INBOX.acme.a-desk.2")
    await wire.edge.drained()
    assert ([to for to, _, _ in wire.sent], wire.edge.in_flight) == ([INBOX], 0)


async def test_it_ends_with_what_was_begun_and_hears_nobody_after() -> None:
    one = wire()
    async with one.edge.open():
        one.hear()
    assert [to for to, _, _ in one.sent] == [INBOX]
    one.hear(more={headers.KEY: "k2"})
    assert (len(one.sent), one.edge.refused, one.edge.in_flight) == (1, 1, 0)


async def test_what_does_not_end_in_time_is_cancelled_and_not_answered() -> None:
    one, cancelled = wire(), anyio.Event()

    async def never() -> Message:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        return DONE

    one.does = never
    async with one.edge.open(drain_s=0.02):
        one.hear()
    assert (cancelled.is_set(), one.sent, one.edge.in_flight) == (True, [], 0)


@pytest.mark.parametrize("error", [RuntimeError("password=hunter2"), ValueError("hunter2"), StoreUnavailable("append")])
async def test_an_unexpected_error_is_a_problem_that_tells_no_secrets(wire: Wire, error: Exception) -> None:
    async def fail() -> Message:
        raise error

    wire.does = fail
    await wire.take()
    assert wire.problem[0] == "unavailable"
    assert b"hunter2" not in wire.sent[0][1]
    assert wire.edge.refused == 1


async def test_what_does_not_fit_the_log_is_invalid_and_says_what_to_do(wire: Wire) -> None:
    async def fail() -> Message:
        raise EventTooLarge(600_000, 500_000)

    wire.does = fail
    await wire.take()
    assert wire.problem[0] == "invalid"
    assert b"600000 bytes" in wire.sent[0][1] and b"artifacts" in wire.sent[0][1]


SUBJECTS = (
    st.sampled_from([INVOKE, "cmd.acme.a-desk.tool.list", "svc.tool.invoke", "cmd.a.b", "$SYS.x", ""]) | st.text()
)
REPLIES = st.sampled_from([INBOX, "_INBOX.svc.model.inner.1", "evt.0.acme.tool.a", ""]) | st.text()
HEADERS = st.dictionaries(
    st.sampled_from([headers.KEY, headers.TOKEN, headers.DEADLINE, headers.AFTER, headers.TRACEPARENT]),
    st.text() | st.sampled_from(["k", "100", token()]),
)
BODIES = (
    st.binary()
    | st.just(BODY)
    | st.recursive(
        st.none() | st.integers() | st.text(), lambda parts: st.dictionaries(st.text(), parts), max_leaves=5
    ).map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=150, deadline=None)
@given(SUBJECTS, REPLIES, BODIES, HEADERS)
def test_whatever_comes_is_answered_once_in_the_askers_inbox_or_dropped(
    subject: str, reply: str, body: bytes, sent: dict[str, str]
) -> None:
    async def run() -> None:
        one = wire()
        async with one.edge.open():
            await one.take(subject=subject, reply=reply, body=body, sent=sent)
        assert [where for where, _, _ in one.sent] in ([], [reply])
        assert all(where.startswith("_INBOX.") for where, _, _ in one.sent)
        assert one.edge.in_flight == 0

    anyio.run(run)
