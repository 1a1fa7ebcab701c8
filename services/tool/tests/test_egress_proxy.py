"""The proxy of a call, against those who would have it reach something else. Its internet is on this loopback."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream
from anyio.streams.tls import TLSStream

from dominie_contracts.egress import Network, Reached
from dominie_tool.egress import Bounds, Call, Egress, Ground
from dominie_tool.egress.addresses import Address
from dominie_tool.egress.testing import HOST, PUBLIC, Authority, Internet, says, served

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
OTHER = "93.184.216.35"
OPEN = Network(hosts=(HOST, "*.example.com"), ports=(80, 443))
AMPLE, SOON = Bounds(head_s=60, connect_s=60, idle_s=60), Bounds(head_s=1, connect_s=60, idle_s=60)
_BOUNDED_S = 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def internet() -> Internet:
    return Internet({HOST: [[PUBLIC]]})


@dataclass
class Way:
    """A client's way to the proxy."""

    call: Call
    port: int

    async def connect(self) -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.port)

    async def ask(self, said: bytes) -> bytes:
        """All that comes for it; an answer that never ends is a fault."""
        with anyio.fail_after(_BOUNDED_S):
            async with await self.connect() as stream:
                await stream.send(said)
                return await heard(stream)

    async def get(self, url: str, *more: str) -> bytes:
        lines = (f"GET {url} HTTP/1.1", "Host: whatever.example", *more, "", "")
        return await self.ask("\r\n".join(lines).encode())

    def reached(self) -> Reached:
        return self.call.reached() or Reached()

    def refused(self) -> dict[str, str]:
        return {each.why: each.host for each in self.reached().refused}


async def heard(stream: ByteStream) -> bytes:
    said = b""
    while True:
        try:
            said += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return said


@asynccontextmanager
async def proxied(
    internet: Internet,
    network: Network = OPEN,
    *,
    ground: Ground | None = None,
    bounds: Bounds = AMPLE,
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> AsyncIterator[Way]:
    call = Egress(ground or internet.ground(), dial=internet.dial, tls=tls, bounds=bounds).open(network)
    listener = await SocketListener.from_socket(socket.create_server(("127.0.0.1", 0)))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(call.serve, listener)
        yield Way(call, listener.extra(SocketAttribute.local_port))
        tasks.cancel_scope.cancel()


async def test_a_plain_request_is_passed_on_as_it_was_checked(internet: Internet) -> None:
    seen: list[bytes] = []
    async with served(internet, says(b"hello", seen=seen)), proxied(internet) as way:
        answer = await way.get(f"http://{HOST}/x?y=1", "X-Mine: 1", "Connection: x-hop", "X-Hop: 1", "Upgrade: h2c")
        assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"hello")
        assert seen[0].startswith(b"GET /x?y=1 HTTP/1.1\r\nhost: api.example.org\r\n")
        assert b"x-mine: 1" in seen[0].lower() and b"hop" not in seen[0].lower() and b"upgrade" not in seen[0].lower()
        (reach,) = way.reached().hosts
        assert (reach.host, reach.port, reach.address, reach.connections) == (HOST, 80, PUBLIC, 1)
        assert reach.sent_bytes == len(seen[0]) and reach.received_bytes > len(b"hello")


async def test_a_body_goes_in_and_out(internet: Internet) -> None:
    async def echo(stream: ByteStream) -> None:
        async with stream:
            said = b""
            while not said.endswith(b"0\r\n\r\n"):
                said += await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    async with served(internet, echo), proxied(internet) as way:
        head = f"POST http://{HOST}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert b"abc" in await way.ask(head + b"5\r\nhello\r\n0\r\n\r\n")
        assert not way.reached().refused


# What a name stands for


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "shared"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::1", "loopback"),
        ("fd00:ec2::254", "private"),
        ("93.184.216.40", "own"),
        ("93.184.216.41", "bus"),
    ],
)
async def test_a_name_that_leads_inside_is_refused(internet: Internet, address: str, why: str) -> None:
    internet.names = {HOST: [[PUBLIC, address]], "bus.example.net": [["93.184.216.41"]]}
    ground = internet.ground(bus=("bus.example.net", "10.9.9.9"), own=("93.184.216.40",))
    async with proxied(internet, ground=ground) as way:
        assert (await way.get(f"http://{HOST}/")).startswith(b"HTTP/1.1 403 api.example.org is refused: its address is")
        assert (await way.ask(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode())).startswith(b"HTTP/1.1 403")
        assert [(each.why, each.port) for each in way.reached().refused] == [(why, 80), (why, 443)]
        assert internet.dialled == []


async def test_a_name_that_changes_between_check_and_use_stands_for_what_was_checked(internet: Internet) -> None:
    internet.names[HOST] = [[PUBLIC], ["127.0.0.1"]]
    async with (
        served(internet, says(b"hello")),
        served(internet, says(b"inside"), "127.0.0.1"),
        proxied(internet) as way,
    ):
        for _ in range(3):
            assert (await way.get(f"http://{HOST}/")).endswith(b"hello")
        assert internet.asked == [f"{HOST}."] and set(internet.dialled) == {f"{PUBLIC}:80"}
    async with proxied(internet) as way:  # the next call asks again, and sees
        assert (await way.get(f"http://{HOST}/")).startswith(b"HTTP/1.1 403")
        assert way.refused() == {"loopback": HOST}


@pytest.mark.parametrize("where", ["http://127.0.0.1/", "http://inside.example.com/", "http://[::ffff:127.0.0.1]/"])
async def test_a_redirect_is_a_request_like_any_other(internet: Internet, where: str) -> None:
    internet.names["inside.example.com"] = [["127.0.0.1"]]
    to = says(b"", b"HTTP/1.1 302 Found\r\nLocation: " + where.encode())
    async with served(internet, to), served(internet, says(b"inside"), "127.0.0.1"), proxied(internet) as way:
        assert f"location: {where}".encode() in (await way.get(f"http://{HOST}/")).lower()
        assert (await way.get(where)).startswith(b"HTTP/1.1 403")
        assert list(way.refused()) == ["loopback"]


async def test_networks_that_were_opened_are_reached_and_the_bus_is_not(internet: Internet) -> None:
    internet.names = {HOST: [["10.1.0.7"]], "bus.example.com": [["10.1.0.9"]]}
    ground = internet.ground(opened=("10.1.0.0/16",), bus=("10.1.0.9",))
    async with served(internet, says(b"hello"), "10.1.0.7"), proxied(internet, ground=ground) as way:
        assert (await way.get(f"http://{HOST}/")).endswith(b"hello")
        assert b" 403 " in await way.get("http://bus.example.com/")
        assert way.refused() == {"bus": "bus.example.com"}


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.1.0.5", "own"),
        ("64:ff9b::a01:5", "own"),
        ("64:ff9b::a01:9", "bus"),
        ("127.0.0.1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::ffff:127.0.0.1", "loopback"),
        ("fd00::5efe:7f00:1", "loopback"),
    ],
)
async def test_nothing_opens_this_machine_or_the_bus(internet: Internet, address: str, why: str) -> None:
    internet.names = {HOST: [[address]]}
    ground = internet.ground(opened=("0.0.0.0/0", "::/0"), bus=("10.1.0.9",), own=("10.1.0.5",))
    async with proxied(internet, ground=ground) as way:
        assert b" 403 " in await way.get(f"http://{HOST}/")
        assert way.refused() == {why: HOST} and internet.dialled == []


async def test_where_the_bus_cannot_be_found_nothing_is_reached(internet: Internet) -> None:
    async with proxied(internet, ground=internet.ground(bus=("bus.example.net",))) as way:
        assert b" 403 " in await way.get(f"http://{HOST}/")
        assert way.refused() == {"unresolved": HOST}


async def test_what_does_not_answer_is_told(internet: Internet) -> None:
    internet.names["gone.example.com"] = []
    async with proxied(internet) as way:
        assert b"it does not answer" in await way.get(f"http://{HOST}/")
        assert b"its name stands for nothing" in await way.get("http://gone.example.com/")
        assert way.refused() == {"unreachable": HOST, "unresolved": "gone.example.com"}


@pytest.mark.parametrize("fault", [anyio.BusyResourceError("writing to"), LookupError("nobody thought of it")])
async def test_a_connection_that_goes_wrong_ends_nothing_but_itself(internet: Internet, fault: Exception) -> None:
    class Faulty(Internet):
        async def dial(self, address: Address, port: int) -> SocketStream:
            if not self.dialled:
                self.dialled.append(str(address))
                raise fault
            return await super().dial(address, port)

    faulty = Faulty(internet.names)
    async with served(faulty, says(b"hello")), proxied(faulty) as way:
        assert await way.get(f"http://{HOST}/") == b""
        assert (await way.get(f"http://{HOST}/")).endswith(b"hello")


async def test_the_next_address_is_tried(internet: Internet) -> None:
    internet.names[HOST] = [[OTHER, PUBLIC]]
    async with served(internet, says(b"hello")), proxied(internet) as way:
        assert (await way.get(f"http://{HOST}/")).endswith(b"hello")
        assert internet.dialled == [f"{OTHER}:80", f"{PUBLIC}:80"]


# What is no request


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n", "no-request"),
        (b"GET ftp://api.example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"GET http://me@api.example.org/ HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"GET http://api.example.org:0/ HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"GET http://api.example.org:x/ HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"GET http:/// HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"CONNECT api.example.org HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"CONNECT http://api.example.org:443/ HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"CONNECT api.example.org:443/x HTTP/1.1\r\nHost: x\r\n\r\n", "no-request"),
        (b"\x05\x01\x00", "no-request"),
        (b"nonsense\r\n\r\n", "no-request"),
        (b"GET http://api.example.org/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "no-request"),
        (
            b"POST http://a.example.com/ HTTP/1.1\r\nHost: x\r\nContent-Length:3\r\nTransfer-Encoding:chunked\r\n\r\n",
            "no-request",
        ),
        (
            b"POST http://api.example.org/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "no-request",
        ),
        (b"GET http://api.example.org/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000, "too-large"),
        (b"CONNECT 169.254.169.254:443 HTTP/1.1\r\nHost: x\r\n\r\n", "link-local"),
        (b"CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n", "loopback"),
        (b"CONNECT api.example.org:22 HTTP/1.1\r\nHost: x\r\n\r\n", "port"),
        (b"CONNECT evil.net:443 HTTP/1.1\r\nHost: x\r\n\r\n", "not-listed"),
    ],
    ids=lambda each: each if isinstance(each, str) else "said",
)
async def test_what_is_no_request_or_not_open_is_refused(internet: Internet, said: bytes, why: str) -> None:
    async with proxied(internet) as way:
        assert (await way.ask(said)).startswith(b"HTTP/1.1 403 ")
        assert list(way.refused()) == [why]
        assert internet.dialled == []


async def test_a_second_request_does_not_ride_on_the_first(internet: Internet) -> None:
    seen: list[bytes] = []
    async with served(internet, says(b"hello", seen=seen)), proxied(internet) as way:
        first = f"GET http://{HOST}/1 HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await way.ask((first + "GET /2 HTTP/1.1\r\nHost: other.example.com\r\n\r\n").encode())
        assert answer.endswith(b"hello") and b"/2" not in seen[0] and len(seen) == 1


async def test_who_says_nothing_is_not_waited_for(internet: Internet) -> None:
    async with proxied(internet, bounds=SOON) as way:
        async with await way.connect() as stream, await way.connect() as slow:
            with suppress(anyio.BrokenResourceError), anyio.fail_after(_BOUNDED_S):
                while not way.refused():  # a little at a time does not help
                    await slow.send(b"GET")
                    await anyio.sleep(0.1)
            assert (await heard(stream)).startswith(b"HTTP/1.1 403 ")
            assert (await heard(slow)).startswith(b"HTTP/1.1 403 ")
        assert way.reached().refused[0].why == "too-slow" and way.reached().refused[0].count == 2


async def test_a_host_that_goes_silent_is_left(internet: Internet) -> None:
    async def silent(stream: ByteStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with served(internet, silent), proxied(internet, bounds=Bounds(head_s=60, idle_s=1)) as way:
        assert await way.get(f"http://{HOST}/") == b""
        assert way.refused() == {"too-slow": HOST}


async def test_bytes_are_bounded_over_all_connections(internet: Internet) -> None:
    async with served(internet, says(b"x" * 30_000)), proxied(internet, bounds=Bounds(moved_bytes=70_000)) as way:
        answers = [await way.get(f"http://{HOST}/") for _ in range(4)]
        assert [len(each) > 30_000 for each in answers] == [True, True, False, False]
        assert way.refused() == {"too-much": HOST}


async def test_connections_are_bounded(internet: Internet) -> None:
    async with served(internet, says(b"hello")), proxied(internet, bounds=Bounds(connections=3, at_once=2)) as way:
        async with await way.connect() as one, await way.connect() as two:
            async with await way.connect() as three:
                assert await heard(three) == b""
            assert way.reached().refused[0].why == "too-many"
            await one.aclose()
            await two.aclose()
        assert await way.get(f"http://{HOST}/") == b""
        assert way.reached().refused[0].count == 2
        with anyio.fail_after(_BOUNDED_S), pytest.raises(OSError):
            while True:  # nobody listens any more, so that no flood of them costs anything
                await (await way.connect()).aclose()
                await anyio.sleep(0.01)


async def test_only_so_many_refusals_are_named(internet: Internet) -> None:
    async with proxied(internet, bounds=Bounds(connections=1000)) as way:
        for number in range(70):
            await way.get(f"http://n{number}.evil.net/")
        assert (len(way.reached().refused), way.reached().more) == (64, 6)


# Tunnels


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def tunnel(way: Way, host: str, name: str | None, trust: ssl.SSLContext) -> bytes:
    """What a host says through a tunnel, in which it is asked for by another name."""
    with anyio.fail_after(_BOUNDED_S):
        async with await way.connect() as stream:
            await stream.send(f"CONNECT {host}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert await stream.receive() == b"HTTP/1.1 200 Connection established\r\n\r\n"
            trust.check_hostname = name is not None
            try:
                inner = await TLSStream.wrap(
                    stream, hostname=name, server_side=False, ssl_context=trust, standard_compatible=False
                )
            except (ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError):
                return b""
            await inner.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return await heard(inner)


async def test_a_tunnel_for_its_host_is_open(internet: Internet, authority: Authority) -> None:
    own = authority.certificate(HOST)
    async with served(internet, says(b"hello"), port=443, tls=own), proxied(internet) as way:
        assert (await tunnel(way, HOST, HOST, authority.trust())).endswith(b"hello")
        assert (await tunnel(way, "API.example.org.", HOST, authority.trust())).endswith(b"hello")
        (reach,) = way.reached().hosts
        assert (reach.host, reach.connections) == (HOST, 2) and reach.sent_bytes > 0 and not way.refused()


@pytest.mark.parametrize(("name", "why"), [("evil.net", "other-name"), (None, "no-name")])
async def test_a_tunnel_for_somebody_else_is_not(
    internet: Internet, authority: Authority, name: str | None, why: str
) -> None:
    own = authority.certificate(HOST)
    async with served(internet, says(b"hello"), port=443, tls=own), proxied(internet) as way:
        assert await tunnel(way, HOST, name, authority.trust()) == b""
        assert way.refused() == {why: HOST}
        assert way.reached().hosts[0].sent_bytes == 0


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no-hello"),
        (b"SSH-2.0-x\r\n", "no-hello"),
        (b"", "too-slow"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "too-slow"),
        (b"\x16\x03\x01\x40\x00\x01\x00\x50\x00" + bytes(0x3FFC), "too-large"),
    ],
    ids=["http", "ssh", "nothing", "half", "oversize"],
)
async def test_a_tunnel_that_does_not_begin_with_tls_is_refused(internet: Internet, said: bytes, why: str) -> None:
    async with served(internet, says(b"hello"), port=443), proxied(internet, bounds=SOON) as way:
        answer = await way.ask(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode() + said)
        assert answer in (b"HTTP/1.1 200 Connection established\r\n\r\n", b"")
        assert way.refused() == {why: HOST}
        assert way.reached().hosts[0].sent_bytes == 0


async def test_a_tunnel_that_is_left_open_ends(internet: Internet) -> None:
    async with served(internet, says(b"hello"), port=443), proxied(internet) as way:
        with anyio.fail_after(_BOUNDED_S):
            async with await way.connect() as stream:
                await stream.send(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await stream.send_eof()
                await heard(stream)
        assert way.refused() == {"no-hello": HOST}


# Plain requests that go out in TLS


async def test_a_plain_request_goes_out_in_tls_where_that_is_what_is_open(
    internet: Internet, authority: Authority
) -> None:
    seen: list[bytes] = []
    own = authority.certificate(HOST)
    only = Network(hosts=(HOST,))
    async with served(internet, says(b"hello", seen=seen), port=443, tls=own):
        async with proxied(internet, only, tls=authority.trust) as way:
            assert (await way.get(f"http://{HOST}/")).endswith(b"hello")
            assert (await way.get(f"https://{HOST}/")).endswith(b"hello")
            assert b" 403 " in await way.get(f"http://{HOST}:80/")
            assert [(each.host, each.port) for each in way.reached().hosts] == [(HOST, 443)]
            assert seen[0].startswith(b"GET / HTTP/1.1\r\nhost: api.example.org\r\n") and way.refused() == {
                "port": HOST
            }


async def test_a_host_that_does_not_prove_who_it_is_is_refused(internet: Internet, authority: Authority) -> None:
    other = authority.certificate("other.example.com")
    async with served(internet, says(b"hello"), port=443, tls=other):
        async with proxied(internet, tls=authority.trust) as way:
            assert b"does not prove" in await way.get(f"http://{HOST}:443/")
            assert way.refused() == {"certificate": HOST}
