"""Where MCP servers over HTTP may be, and what headers they may get."""

import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dominie_contracts import Invalid
from dominie_contracts.egress import HOST_PATTERN
from dominie_tool.egress import Secret
from dominie_tool.mcp.address import address_of, check_address
from dominie_tool.mcp.headers import check_headers, filled, secrets_in


def test_an_address_has_parts() -> None:
    found = address_of("https://API.example.org:8443/a/mcp?team=7")
    assert (found.host, found.port, found.target) == ("api.example.org", 8443, b"/a/mcp?team=7")
    assert found.authority == b"api.example.org:8443"
    assert (found.network.hosts, found.network.ports) == (("api.example.org",), (8443,))
    plain = address_of("https://api.example.org")
    assert (plain.authority, plain.target) == (b"api.example.org", b"/")


@given(st.text(max_size=40), st.text(max_size=40))
@example("api.example.org", "/mcp\r\nX-A: b")
@example("api.example.org\\@127.0.0.1", "/")
@example("api.example.org?", "@127.0.0.1/")
def test_what_an_address_says_is_a_name_and_one_line(host: str, rest: str) -> None:
    with suppress(Invalid):
        found = address_of(f"https://{host}{rest}")
        assert re.fullmatch(HOST_PATTERN, found.host) and 0 < found.port < 65_536
        assert re.fullmatch(rb"/[!-~]*|/?\?[!-~]*", found.target) and b"#" not in found.target


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=3))
@example({"X-A": "b\r\nHost: c"})
@example({"X-A": "\u0130"})
def test_a_header_that_may_be_sent_is_one_line(headers: dict[str, str]) -> None:
    with suppress(Invalid):
        check_headers(headers)
        for name, value in filled(headers, (), "api.example.org"):
            assert re.fullmatch(rb"[!-~]+", name) and re.fullmatch(rb"[ -~]+", value)


def test_secrets_stand_in_headers_by_their_names() -> None:
    headers = {"Authorization": "Bearer {secret:A_KEY}", "X-Both": "{secret:A_KEY}:{secret:B_KEY}", "X-Org": "acme"}
    check_headers(headers)
    assert secrets_in(headers) == ("A_KEY", "B_KEY")
    given = [Secret("A_KEY", r"one\1{secret:B_KEY}", ("*.example.org",)), Secret("B_KEY", "two", ("api.example.org",))]
    assert filled(headers, given, "api.example.org") == [
        (b"authorization", rb"Bearer one\1{secret:B_KEY}"),
        (b"x-both", rb"one\1{secret:B_KEY}:two"),
        (b"x-org", b"acme"),
    ]
    with pytest.raises(Invalid, match="'B_KEY' is for"):
        filled(headers, given, "www.example.org")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/mcp", "https alone"),
        ("ftp://example.com", "https alone"),
        ("https://127.0.0.1/mcp", "own"),
        ("https://[::1]/mcp", "own"),
        ("https://localhost/mcp", "whole names"),
        ("https://10.1.1.1/", "private"),
        ("https://2130706433/", "whole names"),
        ("https://0x7f.1/", "whole names"),
        ("https://me:key@example.com/", "no password"),
        ("https://example.com/#x", "fragment"),
        ("https://example.com:99999/", "no address"),
        ("https://exa mple.com/", "no address"),
        ("https://example.com/\r\nX: y", "no address"),
        ("https://exämple.com/", "no address"),
        ("https://[/", "no address"),
        ("https:///x", "whole names"),
        ("https://example.com/" + "x" * 3_000, "no address"),
    ],
)
def test_an_address_that_cannot_be_one_is_invalid(url: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        address_of(url)


@pytest.mark.parametrize(
    "rest",
    [
        "?api_key=sk-live-1",
        "?team=7&Access-Token=1",
        "?api%5Fk%65y=1",
        "?x={secret:API_KEY}",
        "?x=%7Bsecret:API_KEY%7D",
        "/{secret:API_KEY}",
    ],
)
def test_an_address_holds_no_secret(rest: str) -> None:
    with pytest.raises(Invalid, match="--header") as refused:
        check_address(f"https://example.com/mcp{rest}")
    assert "sk-live-1" not in refused.value.detail
    check_address("https://example.com/mcp?team=7&flat")
    with pytest.raises(Invalid, match="https alone"):
        check_address("http://example.com/mcp")


def test_headers_that_only_begin_like_others_may_be_sent() -> None:
    names = ("Tenant-Id", "Team", "Hosted-Zone", "Expected-By", "Accept-Language", "Connection-Id", "Upgrade-Plan")
    for name in names:
        check_headers({name: "a"})


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"TE": "trailers"}, "no header"),
        ({"Accept": "*/*"}, "no header"),
        ({"Accept-Encoding": "gzip"}, "no header"),
        ({"Connection": "close"}, "no header"),
        ({"Expect": "100-continue"}, "no header"),
        ({"Proxy-Authorization": "{secret:A_KEY}"}, "no header"),
        ({"Host": "x"}, "no header"),
        ({"Mcp-Session-Id": "x"}, "no header"),
        ({"Content-Length": "1"}, "no header"),
        ({"Transfer-Encoding": "chunked"}, "no header"),
        ({"X Y": "z"}, "no header"),
        ({"X\r\nY": "z"}, "no header"),
        ({"X-Y": "a\r\nb: c"}, "visible ASCII"),
        ({"X-Y": ""}, "visible ASCII"),
        ({"X-Y": "ü"}, "visible ASCII"),
        ({"X-Y": "x" * 2_000}, "visible ASCII"),
        ({"Authorization": "Bearer abc"}, "would stand in the log"),
        ({"X-Api-Key": "abc"}, "would stand in the log"),
        ({"X-Api-Key": "{secret:lower}"}, "named like"),
        ({"X-Y": "a", "x-y": "b"}, "each once"),
        ({f"X-{number}": "a" for number in range(17)}, "at most 16"),
    ],
)
def test_headers_that_cannot_be_sent_are_invalid(headers: dict[str, str], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        check_headers(headers)
