"""Bad input on a real bus: a typed problem, or nothing where the broker refuses; nothing hangs, the log stays whole."""

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from joserfc import jwt
from nats.aio.msg import Msg

import dominie
from dominie.keys import KeyPair
from dominie_contracts import Grants, Invalid, ProblemDetails, RunClaims, headers
from dominie_contracts.audit import LogReport
from dominie_contracts.guardrail import PolicyFile, Published, PublishPolicies
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.operations import AskStatus, ServiceStatus
from dominie_contracts.problems import PROBLEM_BASE
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.spiffe import TRUST_DOMAIN
from dominie_contracts.token import AUDIENCE, Actor, Authorization, Confirmation
from dominie_contracts.tool import InvokeTool
from dominie_kit.artifacts import MAX_BYTES
from dominie_kit.edge.run_tokens import ALGORITHM, ISSUER
from dominie_kit.house.operator import operator
from dominie_kit.house.system import System
from dominie_kit.testing import Peer, connected

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("ledger")]
ANSWER_S = 20.0
ABROAD = "abroad"
GRANTS = Grants(tools=("balance", "pay", "ghost"), models=("auto", "ghost"), namespaces=("user",))
RIGHT = InvokeTool(tool="balance", arguments={"account": "a-1"}).model_dump_json().encode()


@dataclass
class Scene:
    """Raw connections of an agent, of another one, and of its namesake in another tenant."""

    system: System
    agent: Peer
    other: Peer
    abroad: Peer
    keys: Mapping[str, KeyPair] = field(default_factory=dict)

    async def token(self, peer: Peer) -> str:
        minted = await peer.ask(MintRunToken(user="u-dana", run=f"run-{uuid.uuid4().hex}"), RunToken)
        return minted.token

    async def send(
        self, body: bytes, *, what: str = "tool.invoke.balance", sent: Mapping[str, str | None] | None = None
    ) -> Msg:
        """Publish a body on one of the agent's own subjects, with changed headers; the answer."""
        found: dict[str, str | None] = {headers.KEY: uuid.uuid4().hex, headers.TOKEN: await self.token(self.agent)}
        found |= dict(sent or {})
        given = {name: value for name, value in found.items() if value is not None}
        subject = f"cmd.local.a-bad.{what}"
        return await self.agent.client.request(subject, body, timeout=ANSWER_S, headers=given)


@pytest.fixture(scope="module")
async def scene(system: System) -> AsyncIterator[Scene]:
    who = {"bad": ("local", "a-bad"), "other": ("local", "a-other"), ABROAD: (ABROAD, "a-bad")}
    keys = {name: KeyPair.generate() for name in who}
    peers: dict[str, Peer] = {}
    async with AsyncExitStack() as stack:
        asking = await stack.enter_async_context(operator(system.nats_url, system.keys))
        for name, (tenant, principal) in who.items():
            command = Register(
                principal=principal, nkey=keys[name].public, tenant=tenant, grants=GRANTS, users=("u-dana",)
            )
            await asking.ask(command, PrincipalView)
            peers[name] = await stack.enter_async_context(connected(system.nats_url, keys[name], tenant, principal))
        yield Scene(system, peers["bad"], peers["other"], peers[ABROAD], keys)


def problem(message: Msg) -> str:
    """The type of the problem that a message is."""
    details = ProblemDetails.model_validate_json(message.data)
    assert details.type.startswith(PROBLEM_BASE) and details.detail
    kind = details.type.removeprefix(PROBLEM_BASE)
    assert message.headers is not None and message.headers[headers.PROBLEM] == kind
    return kind


async def test_what_is_right_is_answered(scene: Scene) -> None:
    answer = await scene.send(RIGHT)
    assert json.loads(answer.data)["result"] == 3


def _invoke(**changed: object) -> bytes:
    return json.dumps({"tool": "balance", "arguments": {"account": "a-1"}} | changed).encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b'{"tool": "balance", "arguments": {"account": NaN}}', id="not a number"),
        pytest.param(b'{"tool": "balance", "arguments": {"account": "\\ud800"}}', id="half a character"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(
            b'{"tool":"balance","arguments":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}", id="deep, whole"
        ),
        pytest.param(b"null", id="null"),
        pytest.param(b'["balance"]', id="a list"),
        pytest.param(_invoke(arguments="account"), id="arguments are no object"),
        pytest.param(_invoke(arguments={}), id="an argument is missing"),
        pytest.param(_invoke(arguments={"account": 5}), id="an argument of the wrong type"),
        pytest.param(_invoke(arguments={"account": None}), id="an argument that is null"),
        pytest.param(_invoke(arguments={"account": "a-1", "more": 1}), id="an argument that nobody knows"),
        pytest.param(_invoke(tenant="abroad"), id="a field that nobody knows"),
        pytest.param(_invoke(arguments={"account": "x" * headers.MAX_COMMAND_BYTES}), id="too large"),
    ],
)
async def test_a_body_that_does_not_fit_is_invalid(scene: Scene, body: bytes) -> None:
    assert problem(await scene.send(body)) == "invalid"


@pytest.mark.parametrize(
    ("what", "body", "expected"),
    [
        pytest.param("tool.invoke.ghost", {"tool": "ghost", "arguments": {}}, "invalid", id="unknown tool"),
        pytest.param("model.chat.ghost", {"model": "ghost", "messages": []}, "invalid", id="unknown model"),
        pytest.param("model.chat.auto", {"model": "auto", "messages": "hello"}, "invalid", id="messages are text"),
        pytest.param("tool.invoke.pay", {"tool": "balance", "arguments": {}}, "forbidden", id="another tool in it"),
        pytest.param("tool.invoke.pay", {"tool": "pay", "arguments": {"order": 5}}, "invalid", id="wrong type"),
        pytest.param("memory.recall.user", {"namespace": "user", "query": "x", "limit": -1}, "invalid", id="limit"),
        pytest.param("memory.remember.user", {"namespace": "hidden", "text": "x"}, "forbidden", id="another namespace"),
        pytest.param("judge.review", {"output": 5}, "invalid", id="an output that is a number"),
        pytest.param("identity.token", {"user": "dana", "run": "r"}, "invalid", id="no principal"),
        pytest.param("identity.token", {"user": "u-dana", "run": ""}, "invalid", id="no run"),
        pytest.param("tool.finish", {"action": "nosuch"}, "invalid", id="a call that was never begun"),
    ],
)
async def test_what_is_not_there_or_does_not_fit_is_said(
    scene: Scene, what: str, body: dict[str, object], expected: str
) -> None:
    assert problem(await scene.send(json.dumps(body).encode(), what=what)) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param({headers.KEY: None}, "invalid", id="no key"),
        pytest.param({headers.KEY: ""}, "invalid", id="empty key"),
        pytest.param({headers.KEY: "k" * 201}, "invalid", id="long key"),
        pytest.param({headers.DEADLINE: "-5"}, "deadline-exceeded", id="negative deadline"),
        pytest.param({headers.DEADLINE: "0"}, "deadline-exceeded", id="no time"),
        pytest.param({headers.DEADLINE: "nan"}, "invalid", id="deadline nan"),
        pytest.param({headers.DEADLINE: "inf"}, "invalid", id="deadline inf"),
        pytest.param({headers.DEADLINE: "1e3"}, "invalid", id="deadline 1e3"),
        pytest.param({headers.DEADLINE: "٣٠٠٠"}, "invalid", id="deadline in other digits"),
        pytest.param({headers.DEADLINE: "9" * 40}, "invalid", id="deadline of forty digits"),
        pytest.param({headers.AFTER: "soon"}, "invalid", id="after no number"),
        pytest.param({"X-Much": "x" * headers.MAX_HEADER_BYTES}, "invalid", id="large headers"),
        pytest.param({f"X-{number}": "x" * 20 for number in range(1000)}, "invalid", id="many headers"),
    ],
)
async def test_headers_that_do_not_fit_are_said(scene: Scene, sent: dict[str, str | None], expected: str) -> None:
    assert problem(await scene.send(RIGHT, sent=sent)) == expected


async def test_a_key_that_was_used_for_something_else_is_a_conflict(scene: Scene) -> None:
    sent: dict[str, str | None] = {headers.KEY: "the-same-key"}
    assert json.loads((await scene.send(RIGHT, sent=sent)).data)["result"] == 3
    assert problem(await scene.send(_invoke(arguments={"account": "other"}), sent=sent)) == "conflict"


def _signed(claims: RunClaims, keys: KeyPair, **changed: object) -> str:
    body = claims.model_dump(mode="json", exclude_none=True) | changed
    return jwt.encode({"alg": ALGORITHM}, body, keys.jwk, algorithms=[ALGORITHM])


def _signer(scene: Scene) -> KeyPair:
    return scene.system.keys.identity.signer


def _unsigned(claims: RunClaims) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims.model_dump(mode='json'))}."


def _ago(seconds: int) -> dict[str, object]:
    now = int(time.time())
    return {"iat": now - seconds - 300, "exp": now - seconds}


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda scene, claims: None, id="none"),
        pytest.param(lambda scene, claims: "no-token", id="no token"),
        pytest.param(lambda scene, claims: "....", id="dots"),
        pytest.param(lambda scene, claims: "é" * 50, id="not ascii"),
        pytest.param(
            lambda scene, claims: base64.urlsafe_b64encode(b"[" * 8_000).decode().rstrip("=") + ".e30.e30",
            id="a deep header",
        ),
        pytest.param(lambda scene, claims: _signed(claims, _signer(scene), **_ago(60)), id="expired"),
        pytest.param(lambda scene, claims: _signed(claims, scene.keys["bad"]), id="forged"),
        pytest.param(lambda scene, claims: _unsigned(claims), id="unsigned"),
        pytest.param(lambda scene, claims: _signed(claims, _signer(scene), aud="dominie-connect"), id="wrong audience"),
        pytest.param(lambda scene, claims: _signed(claims, _signer(scene), iss="somebody"), id="wrong issuer"),
        pytest.param(
            lambda scene, claims: _signed(claims, _signer(scene), exp=int(time.time()) + 9_999), id="long-lived"
        ),
        pytest.param(lambda scene, claims: _signed(claims, _signer(scene), exp="tomorrow"), id="no time"),
        pytest.param(
            lambda scene, claims: _signed(
                claims, _signer(scene), cnf={"nkey": scene.keys["other"].public}, iat=int(time.time()) - 200
            ),
            id="bound to another key",
        ),
    ],
)
async def test_a_run_token_that_does_not_hold_is_not_taken(scene: Scene, forge: Callable[..., str | None]) -> None:
    now = int(time.time())
    claims = RunClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub="u-dana",
        act=Actor.of(TRUST_DOMAIN, "local", "a-bad"),
        tenant="local",
        run="run-forged",
        cnf=Confirmation(nkey=scene.keys["bad"].public),
        authorization_details=(Authorization(grants=GRANTS),),
        iat=now,
        exp=now + 60,
        jti=uuid.uuid4().hex,
    )
    assert b"result" in (await scene.send(RIGHT, sent={headers.TOKEN: _signed(claims, _signer(scene))})).data
    assert problem(await scene.send(RIGHT, sent={headers.TOKEN: forge(scene, claims)})) == "unauthenticated"


@pytest.mark.parametrize("whose", ["other", "abroad"])
async def test_a_run_token_of_another_is_not_taken(scene: Scene, whose: str) -> None:
    token = await scene.token(scene.other if whose == "other" else scene.abroad)
    assert problem(await scene.send(RIGHT, sent={headers.TOKEN: token})) == "forbidden"


@pytest.mark.parametrize(
    "tail",
    [
        "tool.invoke.nosuch",
        "tool.nosuch",
        "nosuch.invoke",
        "tool.invoke.balance.more",
        "tool.invoke.%zz",
        "tool.invoke.ba%6Cance",
        "memory.recall.nosuch",
        "model.chat.nosuch",
    ],
)
async def test_a_subject_that_was_not_granted_goes_nowhere(scene: Scene, tail: str) -> None:
    sent = {headers.KEY: "k", headers.TOKEN: await scene.token(scene.agent)}
    inbox = "_INBOX.local.a-bad.nowhere"
    heard = await scene.agent.client.subscribe(inbox)
    subject = f"cmd.local.a-bad.{tail}"
    assert not await scene.agent.may_publish(subject, RIGHT, reply=inbox, sent=sent)
    await scene.agent.client.flush()
    assert heard.pending_msgs == 0
    await heard.unsubscribe()


async def test_the_sdk_says_what_the_broker_refuses(scene: Scene) -> None:
    credentials = dominie.Credentials(scene.system.nats_url, "local", "a-bad", scene.keys["bad"])
    async with dominie.AsyncClient(credentials=credentials) as client, client.run(user="dana") as run:
        with pytest.raises(dominie.Forbidden):
            await run.invoke("nosuch", {})
        with pytest.raises(dominie.Forbidden):
            await run.chat([{"role": "user", "content": "hello"}], "nosuch")
        with pytest.raises(dominie.Forbidden):
            await run.remember("x", namespace="nosuch")
        with pytest.raises(dominie.Invalid, match=f"at most {headers.MAX_COMMAND_BYTES} are taken"):
            await run.chat([{"role": "user", "content": "x" * headers.MAX_COMMAND_BYTES}], "auto")
        with pytest.raises(dominie.Invalid, match=f"at most {headers.MAX_COMMAND_BYTES} are taken"):
            await run.invoke("balance", {"account": "a-1", "x" * headers.MAX_COMMAND_BYTES: 1})
        with pytest.raises(dominie.Invalid, match=f"has at most {MAX_BYTES}"):
            await run.invoke("balance", {"account": "x" * (MAX_BYTES + 1)})
        for account in ("a-1", "x" * headers.MAX_COMMAND_BYTES):
            assert (await run.invoke("balance", {"account": account})).result == len(account)


def _frame(subject: str, reply: bytes, head: bytes, body: bytes = b"") -> bytes:
    """A publish as the protocol writes it, with whatever bytes for headers."""
    return b"HPUB %s %s %d %d\r\n%s%s\r\n" % (subject.encode(), reply, len(head), len(head) + len(body), head, body)


@pytest.mark.parametrize(
    ("reply", "head"),
    [
        pytest.param(b"_INBOX.local.a-bad.x", b"NATS/1.0", id="a first line and no more"),
        pytest.param(b"_INBOX.local.a-bad.x", b"NATS/1.0\r\n\r\n", id="no header at all"),
        pytest.param(b"_INBOX.local.a-bad.x", b"NATS/1.0 \xff\xff\xff\r\n\r\n", id="a status that is no text"),
        pytest.param(b"_INBOX.local.a-bad.x", b"NATS/1.0 503 \xff\xff\r\n\r\n", id="a reason that is no text"),
        pytest.param(b"_INBOX.local.a-bad.x", b"NATS/1.0 503\r\n\r\n", id="nobody listens"),
        pytest.param(b"_INBOX.local.a-bad.x", b"x", id="something else"),
        pytest.param(b"_INBOX.local.a-bad.x", b"NATS/1.0\r\n: \r\n\xff\xfe: \xff\r\nA B: c\r\n\r\n", id="odd names"),
        pytest.param(b"_INBOX.local.a-bad.\xff\xfe", b"NATS/1.0\r\nA: b\r\n\r\n", id="a reply that is no text"),
        pytest.param(b"_INBOX.local.a-bad." + b"x" * 20_000, b"NATS/1.0\r\nA: b\r\n\r\n", id="a reply of 20 kB"),
        pytest.param(b"_INBOX.local.a-bad." + b"x." * 10_000, b"NATS/1.0\r\nA: b\r\n\r\n", id="10,000 tokens"),
    ],
)
async def test_what_is_no_message_at_all_takes_nobody_away(scene: Scene, reply: bytes, head: bytes) -> None:
    pids = {name: scene.system.pid_of(name) for name in ("tool", "identity")}
    token = await scene.token(scene.agent)
    async with connected(scene.system.nats_url, scene.keys["bad"], "local", "a-bad") as peer:
        for subject in ("cmd.local.a-bad.tool.invoke.balance", "cmd.local.a-bad.identity.token"):
            for _ in range(3):
                await peer.client._send_command(_frame(subject, reply, head, b"{}"))
        await peer.client._flush_pending()
        with anyio.move_on_after(1):  # the broker may end this connection
            await peer.client.flush()
    for _ in range(3):
        assert json.loads((await scene.send(RIGHT, sent={headers.TOKEN: token})).data)["result"] == 3
        assert await scene.token(scene.agent)
    assert pids == {name: scene.system.pid_of(name) for name in pids}


async def test_a_worker_cannot_take_the_tool_service_away(scene: Scene) -> None:
    keys = KeyPair.load(scene.system.state.path / "agents" / "w-tools.seed")
    async with operator(scene.system.nats_url, scene.system.keys) as asking:
        tool = await asking.ask(AskStatus(), ServiceStatus, service="tool")
    async with connected(scene.system.nats_url, keys, "local", "w-tools") as worker:
        for head in (b"NATS/1.0", b"NATS/1.0 \xff\xff\xff\r\n\r\n", b"x"):
            await worker.client._send_command(_frame(f"ret.local.balance.{tool.instance}.1", b"", head, b"{}"))
        await worker.client._flush_pending()
        await worker.client.flush()
        assert worker.refused == []
    assert json.loads((await scene.send(RIGHT)).data)["result"] == 3


async def test_what_is_larger_than_the_broker_takes_ends_that_connection_alone(scene: Scene) -> None:
    async with connected(scene.system.nats_url, scene.keys["bad"], "local", "a-bad") as peer:
        subject = "cmd.local.a-bad.tool.invoke.balance"
        await peer.client._send_command(_frame(subject, b"_INBOX.local.a-bad.x", b"NATS/1.0\r\n\r\n", b"x" * 2_000_000))
        await peer.client._flush_pending()
        with anyio.fail_after(ANSWER_S):
            await peer.ended.wait()
    assert json.loads((await scene.send(RIGHT)).data)["result"] == 3


BROKEN = PolicyFile(name="broken.cedar", text='@id("x") permit (principal, action')
UNFIT = PolicyFile(
    name="unfit.cedar", text='@id("y") forbid (principal, action, resource) when { context.nosuch > 1 };'
)


@pytest.mark.parametrize("file", [BROKEN, UNFIT], ids=["does not parse", "does not fit the schema"])
async def test_policies_that_do_not_hold_change_nothing(scene: Scene, file: PolicyFile) -> None:
    async with operator(scene.system.nats_url, scene.system.keys) as asking:
        with pytest.raises(Invalid, match=file.name):
            await asking.ask(PublishPolicies(files=(file,)), Published, timeout_s=ANSWER_S)
    assert json.loads((await scene.send(RIGHT)).data)["result"] == 3


async def test_a_policy_folder_that_does_not_parse_is_not_published(
    scene: Scene, dominie_command: str, tmp_path: Path
) -> None:
    (tmp_path / BROKEN.name).write_text(BROKEN.text)
    for verb in ("check", "publish"):
        done = await anyio.run_process(
            [dominie_command, "policy", verb, str(tmp_path), "--json"], cwd=scene.system.plan.folder, check=False
        )
        assert done.returncode == 1
        assert BROKEN.name in done.stderr.decode() and "Traceback" not in done.stderr.decode()
    assert json.loads((await scene.send(RIGHT)).data)["result"] == 3


def test_the_log_is_whole_after_all_of_it(verify: Callable[[], LogReport]) -> None:
    report = verify()
    assert report.ok, report
