"""An MCP server in a box with a way out: during calls, to its hosts, with its secrets, and on the call's record."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketListener

from dominie_contracts import Conflict, Forbidden, Invalid, Unavailable
from dominie_contracts.egress import Network, Reached
from dominie_contracts.registry import parse_own
from dominie_contracts.servers import Server
from dominie_contracts.tool import TOOL, Profile
from dominie_kit.handler_testing import Desk
from dominie_tool.egress import Egress, Secret
from dominie_tool.egress.ledger import Ledger
from dominie_tool.egress.testing import HOST, PUBLIC, Authority, Internet, says, served
from dominie_tool.egress.values import Bounds
from dominie_tool.mcp import testing
from dominie_tool.mcp.profile import check_network, check_profile, pins_of
from dominie_tool.sandbox import Sandbox
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.values import Host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
boxed = pytest.mark.skipif("cgroup" not in Sandbox.layers(), reason="NO MCP SERVER IS TESTED HERE: no cgroup")
KEY = "s3cret-key-of-dana"
OPEN = Network(hosts=(HOST, "other.example.com"), secrets=("API_KEY",))
SERVER = Server(name="test", command=("server",))


@pytest.fixture
def program() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="mcp-"))
    made.chmod(0o755)
    shutil.copy(Path(__file__).with_name("mcp_server.py"), made / "server.py")
    (made / "words").write_text('{"tools": [{"name": "fetch", "inputSchema": {"type": "object"}}]}')
    yield made / "server.py"
    shutil.rmtree(made)


@asynccontextmanager
async def keeping(desk: Desk, program: Path, **more: Any) -> AsyncIterator[testing.House]:
    host = survey()
    assert isinstance(host, Host)
    reads = (str(program.with_name("words")),)
    server = Server(name="test", command=(host.python, str(program)), reads=reads, **more.pop("given", {}))
    async with testing.keeping(desk, server, **more) as house:
        yield house


async def reached(desk: Desk) -> list[Reached]:
    found = [parse_own(event) async for event in desk.store.read_all(category=TOOL)]
    return [each for each in found if isinstance(each, Reached)]


@boxed
async def test_a_server_reaches_its_hosts_while_it_is_called(desk: Desk, program: Path, tmp_path: Path) -> None:
    internet, authority, seen = Internet({HOST: [[PUBLIC]]}), Authority(tmp_path), list[bytes]()
    certificate = authority.certificate(HOST)
    egress = Egress(internet.ground(), dial=internet.dial, tls=authority.trust)
    given = {"network": OPEN, "environment": {"GREETING": "hello"}}

    async def secrets(tenant: str, server: Server, by: str) -> tuple[Secret, ...]:
        return (Secret("API_KEY", KEY, (HOST,)),)

    answer = says(f"you are {KEY}".encode(), seen=seen)
    async with (
        served(internet, answer, port=443, tls=certificate),
        keeping(desk, program, given=given, egress=egress, secrets=secrets) as house,
    ):
        mounted = await house.mount()
        assert mounted.server.program.keys() >= {"network", "environment"}
        assert internet.asked == []
        said = await house.call("fetch", text=f"http://{HOST}/a")
        assert said == "hello dominie-secret- you are [secret]"
        assert f"Bearer {KEY}".encode() in seen[0]
        (told,) = await reached(desk)
        assert [(each.host, each.port, each.connections) for each in told.hosts] == [(HOST, 443, 1)]
        said = await house.call("fetch", text="http://www.example.org/")
        assert "Forbidden" in str(said) or "403" in str(said)
        (refused,) = (await reached(desk))[1].refused
        assert (refused.host, refused.why) == ("www.example.org", "not-listed")
    assert KEY.encode() not in b"".join([event.raw async for event in desk.store.read_all()])


@boxed
@pytest.mark.parametrize("networked", [True, False], ids=["network", "none"])
async def test_what_a_box_with_a_network_answered_is_not_done_again(
    desk: Desk, program: Path, monkeypatch: pytest.MonkeyPatch, networked: bool
) -> None:
    """Its server asked for what it is not given, and that could not be recorded."""
    program.with_name("words").write_text('{"tools": [{"name": "ask", "inputSchema": {"type": "object"}}]}')
    async with keeping(desk, program, given={"network": Network(hosts=(HOST,))} if networked else {}) as house:
        await house.mount()
        with monkeypatch.context() as patched:
            patched.setattr(desk.log, "append", testing.written_by_others(desk))
            with pytest.raises(Conflict if networked else Unavailable):
                await house.call("ask", key="k")
        if networked:
            with pytest.raises(Conflict):
                await house.call("ask", key="k")
        else:
            assert await house.call("ask", key="k") == "refused"


@boxed
async def test_a_server_without_a_network_has_none(desk: Desk, program: Path) -> None:
    async with keeping(desk, program, given={"environment": {"GREETING": "hello"}}) as house:
        await house.mount()
        said = str(await house.call("fetch", text=f"http://{HOST}/"))
        assert said.startswith("hello ") and "Error" in said
        assert await reached(desk) == []


async def test_one_call_at_a_time_has_the_network_and_what_it_opened_ends_with_it() -> None:
    """Between calls nobody is answered, and each call's ledger tells its own."""
    waiting, ended = anyio.Event(), anyio.Event()

    async def slow(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            waiting.set()
            try:
                await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                ended.set()

    internet = Internet({HOST: [[PUBLIC]]})
    lasting = Egress(internet.ground(), dial=internet.dial).lasting(Network(hosts=(HOST,), ports=(80,)), tenant="acme")
    request = f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    first, second = Ledger(Bounds()), Ledger(Bounds())
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    (listener,) = multi.listeners
    assert isinstance(listener, SocketListener)
    port = listener.extra(SocketAttribute.local_port)
    with anyio.fail_after(60):
        async with multi, served(internet, slow), await anyio.connect_tcp("127.0.0.1", port) as early:
            lasting.listens(listener)
            await early.send(request)
            async with lasting.call(first):
                await waiting.wait()
            await ended.wait()
            with pytest.raises(ValueError, match="as it was"):
                async with lasting.call(second):
                    raise ValueError("as it was")
    assert first.event() is not None and second.event() is None


@pytest.mark.parametrize(
    "more",
    [
        {"environment": {"API_KEY": "12345"}},
        {"environment": {"https_proxy": "http://evil.example"}},
        {"environment": {"PATH": "/tmp"}},
        {"environment": {"A=B": "c"}},
        {"environment": {"A": "two\nlines"}},
        {"environment": {"A": "x" * 5_000}},
        {"environment": {f"A{n}": "" for n in range(33)}},
        {"network": Network(secrets=("API_KEY",))},
        {"network": OPEN, "url": "https://api.example.org/mcp", "command": ()},
        {"environment": {"A": "b"}, "url": "https://api.example.org/mcp", "command": ()},
        {"network": Network(hosts=(HOST,), secrets=("ONE",)), "environment": {"ONE": "b"}},
    ],
    ids=["secret", "proxy", "path", "name", "lines", "long", "many", "nowhere", "url", "url-env", "twice"],
)
def test_a_profile_that_cannot_be_is_refused(more: dict[str, Any]) -> None:
    check_profile(SERVER.model_copy(update={"network": OPEN, "environment": {"GREETING": "hello"}}))
    with pytest.raises(Invalid):
        check_profile(SERVER.model_copy(update=more))


def test_nobody_gives_a_server_more_than_they_may_have() -> None:
    server = SERVER.model_copy(update={"network": OPEN})
    check_network(server, Profile(network=Network(hosts=("*",))))
    for most in (Profile(), Profile(network=Network(hosts=(HOST,)))):
        with pytest.raises(Forbidden):
            check_network(server, most)


def test_another_profile_is_another_listing() -> None:
    assert pins_of(SERVER) == {}
    servers = [
        SERVER.model_copy(update=more)
        for more in ({"network": OPEN}, {"network": Network(hosts=(HOST,))}, {"environment": {"A": "b"}})
    ]
    assert len({str(pins_of(server)) for server in servers}) == 3
