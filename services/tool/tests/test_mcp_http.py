"""MCP servers over HTTP, through the handlers: a small one of this test's own, that does what it is told."""

import base64
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from pydantic import JsonValue

from dominie_contracts import Conflict, Invalid, ReviewRequired, ToolFailed, Unavailable
from dominie_contracts.egress import Reached
from dominie_contracts.servers import MountServer, Server
from dominie_contracts.tool import CATALOG, TOOL
from dominie_kit import Lost
from dominie_kit.handler_testing import Desk
from dominie_tool.egress import Bounds, Egress, Secret
from dominie_tool.egress.testing import HOST, PUBLIC, Authority, Internet, served
from dominie_tool.mcp.asking import Asking, asking
from dominie_tool.mcp.calls import SecretsOf
from dominie_tool.mcp.headers import secrets_in
from dominie_tool.mcp.http_testing import (
    CHUNK,
    CHUNKS,
    HANGS_UP,
    PING,
    Asked,
    Script,
    Trouble,
    another_id,
    another_version,
    error,
    events,
    forgets,
    forgets_always,
    instead,
    raw,
    streamed,
    tools,
    wrong,
)
from dominie_tool.mcp.session import Session, Wanted, Whose
from dominie_tool.mcp.testing import BOUNDS, House, keeping, written_by_others

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
WAIT_S = 200.0
"""Bounds what is bounded far below that where a machine has time for it."""
URL = f"https://{HOST}/mcp"
SERVER = Server(name="test", url=URL)


@pytest.fixture
def internet() -> Internet:
    return Internet({HOST: [[PUBLIC]], "inside.example.com": [["10.0.0.1"]]})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def server(internet: Internet, authority: Authority) -> AsyncIterator[Script]:
    found = Script()
    async with served(internet, found, port=443, tls=authority.certificate(HOST)):
        yield found


@asynccontextmanager
async def at_home(desk: Desk, internet: Internet, authority: Authority, **more: Any) -> AsyncIterator[House]:
    egress = Egress(internet.ground(), dial=internet.dial, tls=authority.trust)
    async with keeping(desk, SERVER, egress=egress, **more) as found:
        yield found


@pytest.fixture
async def house(desk: Desk, internet: Internet, authority: Authority, server: Script) -> AsyncIterator[House]:
    async with at_home(desk, internet, authority) as found:
        yield found


@pytest.mark.parametrize("sse", [False, True], ids=["json", "sse"])
@pytest.mark.parametrize("sessions", [False, True], ids=["stateless", "sessions"])
async def test_a_server_is_mounted_and_called(house: House, server: Script, sse: bool, sessions: bool) -> None:
    server.sse, server.sessions = sse, sessions
    mounted = await house.mount()
    assert [tool.name for tool in mounted.server.tools] == ["mcp.test.echo"]
    assert await house.call(text="hello") == "hello"
    trail = [event.envelope async for event in house.desk.store.read_all(category=TOOL)]
    assert [each.type.split(".")[1] for each in trail] == ["requested", "decided", "started", "reached", "finished"]


TROUBLES: dict[str, tuple[Trouble, str]] = {
    "401": (instead(401, b"no", kind="text/plain"), "it answers 401 No: it wants a key"),
    "403": (instead(403), "403"),
    "404": (instead(404, b"<html>", kind="text/html"), "404"),
    "500": (instead(500, b"<html>", kind="text/html"), "500"),
    "page": (instead(200, b"<html>Welcome", kind="text/html"), "it answers 200 OK with 'text/html'"),
    "nothing": (instead(200), "200 OK with ''"),
    "accepted": (instead(202), "202"),
    "garbage": (instead(200, b"no JSON"), "is no message: b'no JSON'"),
    "list": (instead(200, [1]), "is no message"),
    "not an answer": (instead(200, PING), "not what it was asked"),
    "other id": (another_id, "what it was not asked"),
    "deep": (instead(200, b'{"a":' * 200 + b"1" + b"}" * 200), "nested more than 150 deep"),
    "crowded": (instead(200, b"[" + b"1," * 200_000 + b"1]"), "more than 100,000 parts"),
    "redirect": (instead(307, headers={"Location": f"https://{HOST}/elsewhere"}), "nobody is followed"),
    "away": (instead(302, headers={"Location": "https://127.0.0.1/"}), "nobody is followed"),
    "packed": (instead(200, b"x", headers={"Content-Encoding": "gzip"}), "packed"),
    "odd session": (instead(200, b"{}", headers={"Mcp-Session-Id": "\u00fc" * 9}), "name of its session"),
    "no HTTP": (raw(b"220 mail.example.org ESMTP\r\n\r\n"), "does not speak HTTP"),
    "long head": (raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"x" * 100_000), "does not speak HTTP"),
    "long answer": (raw(CHUNKS, CHUNK, then="again"), "more than 1048576 bytes"),
    "crumbs": (raw(CHUNKS, b"1\r\n \r\n" * 10_000, then="again"), "more than 50,000 crumbs"),
    "goes on": (raw(b"HTTP/1.1 102 Processing\r\n\r\n" * 100, then="again"), "more than 1048576 bytes"),
    "hangs up": (raw(), "it hung up before it had answered"),
    "half a head": (raw(b"HTTP/1.1 200 OK\r\nContent-"), "it hung up before it had answered"),
    "half an answer": (HANGS_UP, "it hung up before it had answered"),
    "empty stream": (streamed(), "ended without a response"),
    "long line": (streamed(b"data: ", b"x" * 65_536, then="again"), "more than 1048576 bytes"),
    "comments": (streamed(b": still here\n\n" * 1000, then="again"), "more than 1048576 bytes"),
    "many events": (streamed(*[PING] * 1_100), "more than 1000 things"),
    "odd event": (streamed(b"data: no JSON\n\n"), "no message"),
    "odd answer": (streamed(wrong(id="other")), "what it was not asked"),
    "half a stream": (streamed(PING), "ended without a response"),
}
LATE = (raw(then="silence"), streamed(then="silence"))


async def test_a_server_that_does_not_speak_as_it_should_is_not_registered(house: House, server: Script) -> None:
    server.sessions = False
    troubles = {"version": (another_version, "not what the protocol says"), **TROUBLES}
    for (name, (trouble, why)), method in zip(troubles.items(), cycle(("initialize", "tools/list")), strict=False):
        server.trouble = {method: trouble}
        with anyio.fail_after(WAIT_S), pytest.raises(ToolFailed, match="the MCP server 'test': ") as failed:
            await house.mount()
        assert why in failed.value.detail and len(failed.value.detail) < 1_000, (name, method, failed.value.detail)
    assert {each.path for each in server.asked} == {"/mcp"}
    assert await house.desk.types(CATALOG) == []
    server.trouble = {}
    assert (await house.mount()).changed


async def test_a_server_that_never_answers_is_given_up(
    desk: Desk, internet: Internet, authority: Authority, server: Script
) -> None:
    async with at_home(desk, internet, authority, bounds=replace(BOUNDS, start_s=0.5)) as house:
        for method, trouble in product(("server/discover", "initialize", "tools/list"), LATE):
            server.trouble = {method: trouble}
            with anyio.fail_after(WAIT_S), pytest.raises(ToolFailed, match=r"did not (answer|say) within 0.5 s"):
                await house.mount()
    assert await desk.types(CATALOG) == []


async def test_what_was_asked_for_and_not_answered_is_unknown_and_not_asked_for_again(
    house: House, server: Script
) -> None:
    server.tools = tools("echo")
    await house.mount()
    refused = {"401", "403", "404"}
    troubles = {name: each for name, each in TROUBLES.items() if name not in refused}
    for number, (name, (trouble, _)) in enumerate(troubles.items()):
        server.asked.clear()
        server.trouble = {"tools/call": trouble}
        for _ in range(2):
            with anyio.fail_after(WAIT_S), pytest.raises(Conflict, match="nobody can tell"):
                await house.call(key=f"k{number}", text=name)
        assert server.counts()["tools/call"] == 1, name
        server.trouble = {}
        assert await house.call(text=name) == name
    unknown = [str(each.data["why"]) for each in await house.trail("unknown")]
    assert all(why in told for (_, why), told in zip(troubles.values(), unknown, strict=True)), unknown
    assert len(await house.trail("reached")) == 2 * len(troubles)


async def test_what_a_server_refuses_has_failed(house: House, server: Script) -> None:
    server.sessions = False
    await house.mount()
    for name in ("401", "403", "404"):
        server.asked.clear()
        server.trouble = {"tools/call": TROUBLES[name][0]}
        with pytest.raises(ToolFailed, match=name):
            await house.call(text="x")
        assert server.counts()["tools/call"] == 1
        server.trouble = {}
        assert await house.call(text="x") == "x"


async def test_what_only_reads_is_asked_for_again(house: House, server: Script) -> None:
    await house.mount(effects={"echo": "read"})
    server.trouble = {"tools/call": HANGS_UP}
    with pytest.raises(Unavailable, match="ask again with the same key"):
        await house.call(key="k", text="x")
    server.trouble = {}
    assert await house.call(key="k", text="x") == "x"


async def test_a_call_that_takes_too_long_is_unknown(house: House, server: Script) -> None:
    await house.mount()
    assert await house.call(text="warm") == "warm"
    server.trouble = {"tools/call": LATE[1]}
    tool = house.handlers._catalog.find("acme", "mcp.test.echo")
    assert tool is not None
    for timeout_s in (1.0, 5.0, 25.0, 125.0):  # a busy machine may need more until it has been asked at all
        short = replace(tool, spec=tool.spec.model_copy(update={"timeout_s": timeout_s}))
        action = house.desk.actions(TOOL).open(house.desk.context(deadline_s=300))
        with pytest.raises((Lost, ToolFailed)) as late:
            await house.calls.run(short, {}, action)
        if server.counts()["tools/call"] > 1:
            break
    assert isinstance(late.value, Lost) and "did not answer in its time" in str(late.value)
    assert [type(each).__name__ for each in action.beside] == ["Reached"]
    server.trouble = {}
    assert await house.call(text="again") == "again"


@pytest.mark.parametrize("method", ["tools/list", "tools/call"])
async def test_a_forgotten_session_is_made_anew_once(house: House, server: Script, method: str) -> None:
    await house.mount()
    assert await house.call(text="first") == "first"
    server.asked.clear()
    server.trouble = {method: forgets}
    assert await house.call(text="second") == "second"
    assert server.counts()["initialize"] == 1
    answered = [each for each in server.asked if each.message.get("method") == "tools/call"]
    assert len(answered) == (2 if method == "tools/call" else 1)
    server.asked.clear()
    server.trouble = {method: forgets_always}
    with anyio.fail_after(WAIT_S), pytest.raises(ToolFailed, match="does not know its session any more"):
        await house.call(text="third")
    assert server.counts()["initialize"] == 1 and server.counts()[method] == 2


async def test_a_session_is_one_persons(house: House, server: Script) -> None:
    await house.mount()
    for user in ("u-ada", "u-eve"):
        for _ in range(2):
            await house.call(user=user, text="x")
    calls = [each.headers["mcp-session-id"] for each in server.asked if each.message.get("method") == "tools/call"]
    assert calls[0] == calls[1] != calls[2] == calls[3]


async def test_a_tenant_has_half_of_the_sessions_at_most(
    desk: Desk, internet: Internet, authority: Authority, server: Script
) -> None:
    async with (
        at_home(desk, internet, authority, most=1, connections=4) as house,
        AsyncExitStack() as stack,
    ):
        stack.enter_context(asking(Asking.within(Bounds())))

        def held(tenant: str, user: str) -> AbstractAsyncContextManager[Session]:
            return house.running.held(Wanted(SERVER, Whose(tenant, user)))

        for user in ("u-ada", "u-eve"):
            await stack.enter_async_context(held("acme", user))
        with pytest.raises(Unavailable, match="2 MCP servers are at work"):
            await stack.enter_async_context(held("acme", "u-dana"))
        for user in ("u-ada", "u-eve"):
            await stack.enter_async_context(held("other", user))
        with pytest.raises(Unavailable, match="4 MCP servers are at work"):
            await stack.enter_async_context(held("third", "u-ada"))
        await stack.aclose()
        with asking(Asking.within(Bounds())):
            async with held("acme", "u-dana"):
                tenants = Counter(each.wanted.whose.tenant for each in house.running._sessions)
        assert tenants == {"acme": 2, "other": 2}, "one of its own made room"


async def test_an_idle_session_is_ended(desk: Desk, internet: Internet, authority: Authority, server: Script) -> None:
    async with at_home(desk, internet, authority, idle_s=0.2) as house:
        await house.mount()
        with anyio.fail_after(WAIT_S):
            while server.known:  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.02)
    assert server.counts()["DELETE"] == server.counts()["initialize"] == 1


async def test_a_server_is_given_nothing_that_it_asks_for(house: House, server: Script) -> None:
    await house.mount()
    ask = {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}}
    roots = {"jsonrpc": "2.0", "id": 8, "method": "roots/list"}
    good = wrong(result={"content": [{"type": "text", "text": "done"}]})
    server.trouble = {"tools/call": streamed(ask, roots, ask, good)}
    assert await house.call(text="x") == "done"
    with anyio.fail_after(WAIT_S):
        while server.counts()["POST"] < 3:  # noqa: ASYNC110  # nothing tells
            await anyio.sleep(0.01)
    assert [each.message["id"] for each in server.asked if "error" in each.message] == [7, 8, 7]
    server.trouble = {"tools/call": streamed(*[ask] * 30, good)}
    with pytest.raises(Conflict):
        await house.call(text="x")
    found = [event.envelope async for event in house.desk.store.read_all(category=CATALOG)]
    asked = [each.data["refused"] for each in found if each.type == "catalog.server_asked.v1"]
    assert asked[0] == {"sampling/createMessage": 2, "roots/list": 1}
    assert asked[1] == {"sampling/createMessage": 21}


async def test_an_answer_that_broke_off_is_asked_for_again_and_not_the_call(house: House, server: Script) -> None:
    await house.mount()
    prime = b"id: 1\nretry: 0\ndata:\n\n"

    async def rest(server: Script, stream: ByteStream, asked: Asked) -> None:
        call = next(each.message for each in server.asked if each.message.get("method") == "tools/call")
        assert asked.headers["last-event-id"] == "1"
        await events(stream, wrong(result={"content": [{"type": "text", "text": "late"}]})(call))

    server.trouble = {"tools/call": streamed(prime), "GET": rest}
    assert await house.call(text="x") == "late"
    assert server.counts()["tools/call"] == 1
    server.asked.clear()
    server.trouble["GET"] = streamed(prime)
    with anyio.fail_after(WAIT_S), pytest.raises(Conflict):
        await house.call(text="x")
    assert server.counts()["tools/call"] == 1 and server.counts()["GET"] <= 8


async def test_a_server_that_forgets_a_call_is_not_called_again(house: House, server: Script) -> None:
    """It began the call, and knows nothing any more when the rest of its answer is asked for."""
    await house.mount()

    async def restarts(server: Script, stream: ByteStream, asked: Asked) -> None:
        server.known.clear()
        await events(stream, b"id: 1\nretry: 0\ndata:\n\n")

    server.trouble = {"tools/call": restarts}
    for _ in range(2):
        with anyio.fail_after(WAIT_S), pytest.raises(Conflict, match="nobody can tell"):
            await house.call(key="k", text="x")
    assert server.counts()["tools/call"] == 1 <= server.counts()["GET"] <= 8
    server.trouble = {}
    assert await house.call(text="again") == "again"


ASKS = {"jsonrpc": "2.0", "id": 7, "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}}
LARGE = wrong(result={"content": [{"type": "text", "text": "y" * 500_000}]})
DONE = wrong(result={"content": [{"type": "text", "text": "done"}]})


@pytest.mark.parametrize("said", [(LARGE,), (ASKS, DONE)], ids=["large", "asks"])
@pytest.mark.parametrize("effect", ["external", "read"])
async def test_a_call_that_was_answered_is_done_though_something_of_ours_is_away(
    house: House, server: Script, monkeypatch: pytest.MonkeyPatch, said: tuple[Any, ...], effect: str
) -> None:
    await house.mount(effects={"echo": effect})
    server.trouble = {"tools/call": streamed(*said)}
    with monkeypatch.context() as patched:
        patched.setattr(house.desk.blobs, "put", gone)
        patched.setattr(house.desk.log, "append", written_by_others(house.desk))
        for _ in range(2):
            with pytest.raises(Conflict if effect == "external" else Unavailable):
                await house.call(key="k", text="x")
    assert server.counts()["tools/call"] == (1 if effect == "external" else 2)
    assert len(await house.trail("unknown")) == (1 if effect == "external" else 0)


async def gone(subject: str, body: bytes) -> None:
    raise Unavailable("the store of artifacts does not answer")


async def test_a_call_that_was_forgotten_and_got_no_other_session_is_not_done(house: House, server: Script) -> None:
    await house.mount()
    running = house.running._tasks

    async def forgets_and_there_is_no_other(server: Script, stream: ByteStream, asked: Asked) -> None:
        house.running._tasks = None
        await forgets(server, stream, asked)

    server.trouble = {"tools/call": forgets_and_there_is_no_other}
    with pytest.raises(Unavailable, match="is stopping"):
        await house.call(key="k", text="x")
    house.running._tasks = running
    assert await house.call(key="k", text="x") == "x"


async def test_calls_in_one_session_do_not_end_each_other_and_each_says_what_it_reached(
    house: House, server: Script
) -> None:
    await house.mount()
    await house.call(text="warm")
    other = anyio.Event()

    async def waits(server: Script, stream: ByteStream, asked: Asked) -> None:
        if asked.message["params"]["arguments"]["text"] == "broken":
            return
        await other.wait()
        await server.answer(stream, asked)

    server.trouble = {"tools/call": waits}
    found: list[JsonValue] = []

    async def one() -> None:
        found.append(await house.call(text="x" * 9_000))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        with anyio.fail_after(WAIT_S):
            while server.counts()["tools/call"] < 2:  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.01)
        with pytest.raises(Conflict):
            await house.call(text="broken")
        other.set()
    assert found == ["x" * 9_000]
    reached = [Reached.model_validate(each.data) for each in await house.trail("reached")]
    sent = sorted(each.hosts[0].sent_bytes for each in reached)
    assert sent[-1] > 9_000 > 3_000 > sent[-2]


async def test_a_changed_listing_is_refused_until_reviewed(house: House, server: Script) -> None:
    await house.mount()
    assert await house.call(text="x") == "x"
    server.tools = tools("echo", annotations={"readOnlyHint": True})
    for _ in range(2):
        with pytest.raises(ReviewRequired, match="echo annotations"):
            await house.call(text="x")
    assert server.counts()["tools/call"] == 1
    found = await house.review()
    assert (await house.review(accept=found.digest)).accepted
    assert await house.call(text="x") == "x"


INSIDE = {
    "127.0.0.1": "loopback",
    "10.0.0.1": "private",
    "169.254.169.254": "link-local",
    "100.64.0.1": "shared",
    "::ffff:10.0.0.1": "private",
    "::ffff:127.0.0.1": "loopback",
    "93.184.216.99": "bus",
    "93.184.216.98": "own",
}


async def test_what_leads_inside_is_refused_and_on_the_record(
    desk: Desk, internet: Internet, authority: Authority, server: Script
) -> None:
    ground = internet.ground(bus=("93.184.216.99",), own=("93.184.216.98",))
    egress = Egress(ground, dial=internet.dial, tls=authority.trust)
    async with keeping(desk, SERVER, egress=egress) as house:
        await house.mount()
        asked = len(server.asked)
        for address in INSIDE:
            house.running.end(Whose("acme", ""), "test")  # and with the session what its name stood for
            internet.names[HOST] = [[PUBLIC, address]]
            with pytest.raises(ToolFailed, match="is refused"):
                await house.call(text="x")
            with pytest.raises(ToolFailed, match="is refused"):
                await house.servers.mount(MountServer(server=Server(name="other", url=URL)), house.developer())
        assert len(server.asked) == asked + 1, "the session was ended, and nothing else"
        assert {each.rpartition(":")[0] for each in internet.dialled} == {PUBLIC}
        told = [Reached.model_validate(each.data).refused for each in await house.trail("reached")]
        assert [{each.why for each in refused} for refused in told] == [{why} for why in INSIDE.values()]


async def test_a_name_is_looked_up_once_for_a_session(house: House, internet: Internet, server: Script) -> None:
    await house.mount()
    await house.call(text="x")
    internet.names[HOST] = [["10.0.0.1"]]
    asked = len(internet.asked)
    assert await house.call(text="x") == "x"
    assert len(internet.asked) == asked


async def test_a_server_proves_who_it_is(desk: Desk, internet: Internet, authority: Authority) -> None:
    async with (
        served(internet, Script(), port=443, tls=authority.certificate("other.example.org")),
        at_home(desk, internet, authority) as house,
    ):
        with pytest.raises(ToolFailed, match="does not prove that it is who it is"):
            await house.mount()


def keyed(*secrets: Secret) -> SecretsOf:
    async def of(tenant: str, server: Server, by: str) -> tuple[Secret, ...]:
        wanted = secrets_in(server.headers)
        if missing := set(wanted) - {each.name for each in secrets}:
            raise Invalid(f"no secret {missing}")
        return tuple(each for each in secrets if each.name in wanted)

    return of


KEY = "s3cr3t-of-dana/with+signs"
LOCKED = Server(name="test", url=URL, headers={"Authorization": "Bearer {secret:API_KEY}", "X-Org": "acme"})


async def test_a_secret_goes_with_each_request_and_stands_nowhere(
    desk: Desk, internet: Internet, authority: Authority, server: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    coded = base64.b64encode(KEY.encode()).decode()
    server.instructions = f"Your key is {KEY}."
    async with at_home(desk, internet, authority, secrets=keyed(Secret("API_KEY", KEY, (HOST,)))) as house:
        mounted = await house.mount(LOCKED)
        assert mounted.server.instructions == "Your key is [secret]."
        server.trouble = {
            "tools/call": streamed(wrong(result={"content": [{"type": "text", "text": f"{KEY} {coded}"}]}))
        }
        assert await house.call(text="x") == "[secret] [secret]"
        assert {each.headers["authorization"] for each in server.asked} == {f"Bearer {KEY}"}
        assert {each.headers["x-org"] for each in server.asked} == {"acme"}
        ours = {"host", "accept", "content-type", "content-length", "authorization", "x-org", "connection"}
        mcp = {"mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"}
        assert {name for each in server.asked for name in each.headers} <= ours | mcp
        troubles = [
            (instead(400, error({"id": 1}, -32000, f"bad key {KEY}")), ToolFailed),
            (instead(401, headers={"X": KEY}, reason=KEY), ToolFailed),
            (instead(200, f"no JSON {KEY}".encode()), Conflict),
            (streamed(f"data: {KEY}\n\n".encode()), Conflict),
            (streamed(wrong(result={"isError": True, "content": [{"type": "text", "text": KEY}]})), ToolFailed),
        ]
        for trouble, kind in troubles:
            server.trouble = {"tools/call": trouble}
            with pytest.raises(kind) as failed:
                await house.call(text="x")
            assert KEY not in str(failed.value)
        server.trouble = {"initialize": instead(500, KEY.encode(), reason=KEY)}
        with pytest.raises(ToolFailed) as failed:
            await house.review()
        assert KEY not in str(failed.value)
        everything = "".join([str(event) async for event in desk.store.read_all()])
        assert "[secret]" in everything and KEY not in everything
    assert KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("secrets", "why"),
    [
        ([], "no secret"),
        ([Secret("API_KEY", KEY, ("other.example.org",))], f"set API_KEY --host {HOST}"),
        ([Secret("API_KEY", KEY, ("*.org",))], ""),
    ],
    ids=["missing", "elsewhere", "below"],
)
async def test_a_secret_goes_to_its_hosts_alone(
    desk: Desk, internet: Internet, authority: Authority, server: Script, secrets: list[Secret], why: str
) -> None:
    async with at_home(desk, internet, authority, secrets=keyed(*secrets)) as house:
        if not why:
            assert (await house.mount(LOCKED)).changed
            return
        with pytest.raises(Invalid, match=why):
            await house.mount(LOCKED)
    assert server.asked == [] and await desk.types(CATALOG) == []


async def test_another_secret_is_another_session(
    desk: Desk, internet: Internet, authority: Authority, server: Script
) -> None:
    kept = {"API_KEY": KEY}

    async def of(tenant: str, server: Server, by: str) -> tuple[Secret, ...]:
        return tuple(Secret(name, value, (HOST,)) for name, value in kept.items())

    async with at_home(desk, internet, authority, secrets=of) as house:
        await house.mount(LOCKED)
        await house.call(text="x")
        kept["API_KEY"] = "another-one-0815"
        await house.call(text="x")
    assert server.asked[-1].headers["authorization"] == "Bearer another-one-0815"


async def test_what_cannot_be_reached_is_not_tried(house: House, server: Script) -> None:
    wrong = {
        "https alone": Server(name="test", url="http://example.com/mcp"),
        "no header": Server(name="test", url=URL, headers={"Host": "x"}),
        "--header": Server(name="test", url=f"{URL}?api_key=sk-live-1"),
        "for an address": Server(name="test", command=("x",), headers={"X-Y": "z"}),
    }
    for why, each in wrong.items():
        with pytest.raises(Invalid, match=why):
            await house.mount(each)
    assert server.asked == [] and await house.desk.types(CATALOG) == []
