"""Sandboxed tools that may reach hosts: real boxes, ordinary clients, and what the trail then says."""

import base64
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from pydantic import JsonValue

from dominie_contracts import Conflict, Forbidden, Invalid, ToolFailed, Unavailable
from dominie_contracts.egress import Network, Reached
from dominie_contracts.registry import parse_own
from dominie_contracts.tool import TOOL, InvokeTool, Profile, ToolSpec
from dominie_kit import NotDone
from dominie_kit.artifacts import Artifacts
from dominie_kit.handler_testing import Desk
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.boxes import Boxes
from dominie_tool.aggregate import State
from dominie_tool.egress import Bounds, Egress, Secret
from dominie_tool.egress.testing import HOST, PUBLIC, Answer, Authority, Internet, says, served
from dominie_tool.handlers import Handlers
from dominie_tool.projection import tool_of
from dominie_tool.sandbox import Sandbox
from dominie_tool.settings import Settings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(120),
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]
SOURCE = '''
import base64, errno, http.client, os, socket, ssl, urllib.request

def fetch(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()

def tunnel(host, sni):
    """What an ordinary client does for https, asking for another host inside if it is told to."""
    connection = socket.create_connection(("127.0.0.1", 3128), 20)
    connection.sendall(f"CONNECT {host}:443 HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
    assert b" 200 " in connection.recv(4096)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        inner = context.wrap_socket(connection, server_hostname=sni)
    except OSError as error:
        return "closed"
    inner.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    return inner.recv(4096).decode()

def try_out(_):
    """Every way around the proxy."""
    found = {}
    for name, family, kind, address in [
        ("internet", socket.AF_INET, socket.SOCK_STREAM, ("93.184.216.34", 80)),
        ("dns", socket.AF_INET, socket.SOCK_DGRAM, ("8.8.8.8", 53)),
        ("metadata", socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80)),
        ("host", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", PORT)),
        ("six", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 3128)),
        ("raw", socket.AF_INET, socket.SOCK_RAW, None),
        ("netlink", socket.AF_NETLINK, socket.SOCK_RAW, None),
        ("vsock", socket.AF_VSOCK, socket.SOCK_STREAM, None),
    ]:
        try:
            with socket.socket(family, kind, 1 if name == "raw" else 0) as one:
                one.settimeout(5)
                if address:
                    one.connect(address)
            found[name] = "open"
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno, "other")
    try:
        socket.create_server(("127.0.0.1", 3128))
        found["proxy"] = "replaced"
    except OSError as error:
        found["proxy"] = errno.errorcode[error.errno]
    found["ours"] = sorted(fd for fd in os.listdir("/proc/self/fd") if "socket" in _link(fd))
    return found

def ask(url, how):
    """Say the secret to a host, and say what came back."""
    key = os.environ["API_KEY"]
    header = {"bearer": "Bearer " + key, "basic": "Basic " + base64.b64encode(b"me:" + key.encode()).decode()}[how]
    try:
        request = urllib.request.Request(url, headers={"Authorization": header})
        with urllib.request.urlopen(request, timeout=20) as answer:
            said = answer.read().decode()
    except urllib.error.HTTPError as error:
        return {"refused": error.reason}
    print(said, base64.b64encode(said.encode()).decode(), flush=True)
    if "print" in url:
        os._exit(1)
    if "deep" in url:
        found = said
        for _ in range(300):
            found = [found]
        return found
    if "raise" in url:
        raise ValueError(said)
    return {"mine": key[:15], "known": said in os.environ.values(), said: [said, said.encode().hex()]}

def _link(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
'''
END_WITHOUT_A_WORD = """
def pay(url, how):
    if url:
        fetch(url)
    if how == "died":
        os._exit(1)
    child = os.fork() if how == "memory" else None
    held = []
    while not child:
        held.append(bytearray(1 << 24)) if how == "memory" else print("x" * 65536)
    os.waitpid(child, 0)
    os._exit(1)
"""
PLAIN = Settings(tool_sandbox_owners={"w-ledger": Profile(network=Network(hosts=("*",), ports=(80, 443)))})
KEY = "s3cr3t-of-dana/with+signs"
ONLY_TLS = Profile(network=Network(hosts=(HOST,)))
OPEN = Profile(network=Network(hosts=(HOST, "inside.example.com"), ports=(80, 443)))


@pytest.fixture
def internet() -> Internet:
    return Internet({HOST: [[PUBLIC]], "inside.example.com": [["10.0.0.1"]]})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def sandbox(desk: Desk, internet: Internet, authority: Authority) -> Boxes:
    """What the handlers run sandboxed tools with, and one secret."""

    async def secrets(tenant: str, spec: ToolSpec, owner: str) -> tuple[Secret, ...]:
        if spec.name != "ask":
            return ()
        if "b.example.com" in str(spec.profile):
            raise Invalid("no such secret")
        return (Secret("API_KEY", KEY, (HOST,)),)

    egress = Egress(internet.ground(), dial=internet.dial, tls=authority.trust, bounds=Bounds(connections=40))
    return Boxes(PLAIN, Values(Artifacts(desk.blobs)), egress, secrets)


@pytest.fixture
def call(desk: Desk, have: Any, handlers: Handlers) -> Callable[..., Any]:
    """Register a function as a tool and invoke it."""

    async def invoke(
        function: str, effect: str = "read", profile: Profile | None = OPEN, source: str = SOURCE, **arguments: str
    ) -> JsonValue:
        await have(
            function,
            kind="sandboxed",
            effect=effect,
            source=source,
            function=function,
            timeout_s=60,
            profile=profile and profile.model_dump(mode="json"),
        )
        context = desk.context(deadline_s=60)
        return (await handlers.invoke(InvokeTool(tool=function, arguments=dict(arguments)), context)).result

    return invoke


async def reached(desk: Desk) -> Reached:
    found = [parse_own(event) async for event in desk.store.read_all(category=TOOL)]
    (told,) = [each for each in found if isinstance(each, Reached)]
    return told


@pytest.mark.parametrize("effect", ["read", "external"])
async def test_a_tool_reaches_what_its_profile_lists_and_its_trail_says_so(
    desk: Desk, internet: Internet, call: Any, effect: str
) -> None:
    async with served(internet, says(b"hello")):
        assert await call("fetch", effect, url=f"http://{HOST}/x") == "hello"
    (host,) = (await reached(desk)).hosts
    assert (host.host, host.port, host.address, host.connections) == (HOST, 80, PUBLIC, 1)
    assert host.sent_bytes > 50 and host.received_bytes > 5
    assert (await desk.types(TOOL))[-2:] == ["reached.v1", "finished.v1"]
    assert HOST.encode() not in b"".join([event.raw async for event in desk.log.read_all(category=TOOL)])


@pytest.mark.parametrize("effect", ["read", "external"])
async def test_what_it_did_there_is_not_done_again_since_its_result_could_not_be_kept(
    desk: Desk,
    internet: Internet,
    have: Any,
    handlers: Handlers,
    monkeypatch: pytest.MonkeyPatch,
    effect: str,
) -> None:
    async def away(subject: str, body: bytes) -> None:
        raise Unavailable("the store of artifacts does not answer")

    profile, heard = OPEN.model_copy(update={"output_bytes": 1 << 20}), list[bytes]()
    call: dict[str, Any] = {"kind": "sandboxed", "source": SOURCE, "function": "fetch", "timeout_s": 60}
    await have("fetch", effect=effect, profile=profile.model_dump(mode="json"), **call)
    pay = InvokeTool(tool="fetch", arguments={"url": f"http://{HOST}/pay"})
    again = effect == "read"
    async with served(internet, says(b"x" * 500_000, seen=heard)):
        with monkeypatch.context() as patched:
            patched.setattr(desk.blobs, "put", away)
            with pytest.raises(Unavailable if again else Conflict):
                await handlers.invoke(pay, desk.context("k", deadline_s=60))
        if again:
            await handlers.invoke(pay, desk.context("k", deadline_s=60))
        else:
            with pytest.raises(Conflict, match="nobody can tell"):
                await handlers.invoke(pay, desk.context("k", deadline_s=60))
    assert len(heard) == (2 if again else 1)
    assert (await desk.types(TOOL))[-2:] == ["reached.v1", "finished.v1" if again else "unknown.v1"]


@pytest.mark.parametrize("how", ["died", "memory", "output"])
@pytest.mark.parametrize("effect", ["read", "external"])
async def test_of_one_that_ended_without_a_word_nobody_knows_what_it_did_there(
    desk: Desk, internet: Internet, call: Any, effect: str, how: str
) -> None:
    source = SOURCE + END_WITHOUT_A_WORD
    async with served(internet, says(b"paid")):
        with pytest.raises(ToolFailed if effect == "read" else Conflict, match=how if effect == "read" else "nobody"):
            await call("pay", effect, source=source, url=f"http://{HOST}/", how=how)
    assert (await desk.types(TOOL))[-2:] == ["reached.v1", "finished.v1" if effect == "read" else "unknown.v1"]


@pytest.mark.parametrize("how", ["died", "memory"])
async def test_one_that_ended_without_a_word_and_was_nowhere_has_failed(desk: Desk, call: Any, how: str) -> None:
    with pytest.raises(ToolFailed, match=how):
        await call("pay", "external", source=SOURCE + END_WITHOUT_A_WORD, url="", how=how)


@pytest.mark.parametrize("effect", ["read", "external"])
async def test_what_it_is_refused_is_in_the_trail_of_its_failure(desk: Desk, call: Any, effect: str) -> None:
    with pytest.raises(ToolFailed, match=r"403: inside\.example\.com is refused: its address is in a private network"):
        await call("fetch", effect, url="http://inside.example.com/")
    told = await reached(desk)
    assert [(each.host, each.why, each.count) for each in told.refused] == [("inside.example.com", "private", 1)]
    assert told.hosts == () and (await desk.types(TOOL))[-2:] == ["reached.v1", "finished.v1"]


async def test_a_redirect_inside_is_refused(desk: Desk, internet: Internet, call: Any) -> None:
    to = says(b"", b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/")
    async with served(internet, to):
        with pytest.raises(ToolFailed, match="link-local"):
            await call("fetch", url=f"http://{HOST}/")
    assert [(each.host, each.why) for each in (await reached(desk)).refused] == [("169.254.169.254", "link-local")]


async def test_a_tunnel_is_for_its_host_alone(desk: Desk, internet: Internet, call: Any, authority: Authority) -> None:
    own = authority.certificate(HOST)
    async with served(internet, says(b"hello"), port=443, tls=own):
        assert str(await call("tunnel", host=HOST, sni=HOST)).endswith("hello")
    assert (await reached(desk)).refused == ()


async def test_a_tunnel_for_another_host_is_closed(
    desk: Desk, internet: Internet, call: Any, authority: Authority
) -> None:
    own = authority.certificate(HOST)
    async with served(internet, says(b"hello"), port=443, tls=own):
        assert await call("tunnel", host=HOST, sni="evil.net") == "closed"
    assert [each.why for each in (await reached(desk)).refused] == ["other-name"]


def echoes(heard: list[bytes]) -> Answer:
    """A host that says the secret that it got."""

    async def answer(stream: ByteStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            async with stream:
                said = await stream.receive()
                while b"\r\n\r\n" not in said:
                    said += await stream.receive()
                heard.append(said)
                await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(KEY) + KEY.encode())

    return answer


async def logged(desk: Desk) -> str:
    """All that the log says of tools, opened."""
    return repr([event.envelope.data async for event in desk.store.read_all(category=TOOL)])


@pytest.mark.parametrize("how", ["bearer", "basic"])
async def test_a_secret_goes_to_its_host_and_the_tool_never_says_it(
    desk: Desk, internet: Internet, call: Any, authority: Authority, how: str
) -> None:
    heard: list[bytes] = []
    async with served(internet, echoes(heard), port=443, tls=authority.certificate(HOST)):
        found = await call("ask", profile=ONLY_TLS, url=f"http://{HOST}/", how=how)
    sent = f"Bearer {KEY}" if how == "bearer" else "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()
    assert sent.encode() in heard[0]
    assert found == {"mine": "dominie-secret-", "known": False, "[secret]": ["[secret]", "[secret]"]}
    assert KEY not in await logged(desk)


@pytest.mark.parametrize("how", ["raise", "print"])
async def test_a_secret_is_not_in_what_a_failure_says(
    desk: Desk, internet: Internet, call: Any, authority: Authority, how: str
) -> None:
    async with served(internet, echoes([]), port=443, tls=authority.certificate(HOST)):
        with pytest.raises(ToolFailed, match=r"\[secret\]") as raised:
            await call("ask", profile=ONLY_TLS, url=f"http://{HOST}/{how}", how="bearer")
    coded = base64.b64encode(KEY.encode()).decode()[:16]
    assert not {KEY, coded} & {each for each in (KEY, coded) if each in raised.value.detail + await logged(desk)}


async def test_a_result_that_cannot_be_read_does_not_say_it_either(
    desk: Desk, internet: Internet, call: Any, authority: Authority
) -> None:
    async with served(internet, echoes([]), port=443, tls=authority.certificate(HOST)):
        with pytest.raises(ToolFailed, match="cannot be read") as raised:
            await call("ask", profile=ONLY_TLS, url=f"http://{HOST}/deep", how="bearer")
    assert KEY[:12] not in raised.value.detail + await logged(desk)


FLOOD = """
import socket
def flood(_):
    made = 0
    while True:
        try:
            socket.create_connection(("127.0.0.1", 3128), 20).close()
            made += 1
        except ConnectionRefusedError:
            return made
"""


async def test_a_flood_of_connections_ends(desk: Desk, call: Any) -> None:
    assert await call("flood", source=FLOOD, _="") >= 40
    assert {each.why for each in (await reached(desk)).refused} == {"too-many"}


@pytest.mark.parametrize(
    ("url", "why"),
    [(f"http://{HOST}:80/", "secret-in-clear"), ("http://other.example.com:443/", "secret-elsewhere")],
    ids=["clear", "elsewhere"],
)
async def test_a_secret_does_not_leave_otherwise(desk: Desk, internet: Internet, call: Any, url: str, why: str) -> None:
    internet.names["other.example.com"] = [[PUBLIC]]
    profile = Profile(network=Network(hosts=(HOST, "other.example.com"), ports=(80, 443)))
    found = await call("ask", profile=profile, url=url, how="bearer")
    assert "secret" in found["refused"] and internet.dialled == []
    assert [each.why for each in (await reached(desk)).refused] == [why]


async def test_a_tool_whose_secret_there_is_none_is_not_run(desk: Desk, call: Any) -> None:
    with pytest.raises(Invalid, match="no such secret"):
        await call("ask", "external", Profile(network=Network(hosts=("b.example.com",))), url="", how="bearer")
    assert (await desk.types(TOOL))[-1] == "started.v1"  # and given back


async def test_there_is_no_way_around(desk: Desk, internet: Internet, call: Any) -> None:
    async with served(internet, says(b"hello")):
        port = internet.listens[PUBLIC, 80]
        found = await call("try_out", source=SOURCE.replace("PORT", str(port)), _="")
    assert found == {
        "internet": "ENETUNREACH",
        "dns": "ENETUNREACH",
        "metadata": "ENETUNREACH",
        "host": "ECONNREFUSED",
        "six": "EPERM",
        "raw": "EPERM",
        "netlink": "EPERM",
        "vsock": "EPERM",
        "proxy": "EADDRINUSE",
        "ours": [],
    }
    assert internet.dialled == []


async def test_without_a_network_there_is_no_proxy(desk: Desk, call: Any) -> None:
    with pytest.raises(ToolFailed, match="urlopen error"):
        await call("fetch", profile=None, url=f"http://{HOST}/")
    assert "reached.v1" not in await desk.types(TOOL)


async def test_what_is_open_no_longer_is_not_run(desk: Desk) -> None:
    less = Settings(tool_sandbox_owners={"w-ledger": Profile(network=Network(hosts=("*.example.com",)))})
    boxes = Boxes(less, Values(Artifacts(desk.blobs)))
    spec = ToolSpec(name="fetch", input_schema={}, kind="sandboxed", source=SOURCE, function="fetch", profile=OPEN)
    with pytest.raises(NotDone) as raised:
        await boxes.run(tool_of(State(spec, "w-ledger"), spec), {}, desk.actions(TOOL).open(desk.context()))
    assert isinstance(raised.value.problem, Forbidden)
    assert raised.value.problem.extra == {"part": "network", "limit": "*.example.com"}
