"""Secrets that issuers want: how they are read and shown, and that they are nowhere else."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Unavailable
from dominie_contracts.people import IssuerView
from dominie_gateway.people.clients import MAX_SECRET_BYTES, Clients, read_secret, shown
from dominie_kit.issuer_testing import TOKEN, StaticIssuer, issuing

pytestmark = pytest.mark.anyio
CORP = IssuerView(name="corp", url="https://login.example.com", client_id="a:b", scopes="openid")


@pytest.fixture(scope="module")
def issuer() -> Iterator[StaticIssuer]:
    with issuing() as served:
        yield served


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_secret_is_shown_so_that_it_comes_apart_again(secret: str) -> None:
    """RFC 6749, 2.3.1: both parts are encoded as in a form, so that neither has a colon of its own."""
    from urllib.parse import unquote_plus

    form, headers = shown(secret, CORP, None)
    client_id, _, found = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    assert (form, unquote_plus(client_id), unquote_plus(found)) == ({}, "a:b", secret)


@pytest.mark.parametrize(
    ("ways", "form", "headers"),
    [
        (None, set(), {"authorization"}),
        (("client_secret_post", "client_secret_basic"), set(), {"authorization"}),
        (("private_key_jwt", "client_secret_post"), {"client_secret"}, set()),
    ],
    ids=["not said", "both", "in the form"],
)
def test_the_issuer_says_in_which_way(ways: tuple[str, ...] | None, form: set[str], headers: set[str]) -> None:
    found = shown("s", CORP, ways)
    assert (set(found[0]), set(found[1])) == (form, headers)


@pytest.mark.parametrize("ways", [(), ("private_key_jwt",), ("none",)], ids=["none at all", "a key", "without"])
def test_in_another_way_it_is_not_shown(ways: tuple[str, ...]) -> None:
    with pytest.raises(Unavailable, match="in a way that is known") as caught:
        shown("top-secret", CORP, ways)
    assert "top-secret" not in caught.value.detail


@pytest.mark.parametrize(
    "held", [b"", b"\n", b"a\nb", b"\xff", b"x" * (MAX_SECRET_BYTES + 1), None], ids=["", "-", "2", "?", "long", "no"]
)
async def test_a_file_without_a_secret_is_asked_with_by_nobody(
    tmp_path: Path, issuer: StaticIssuer, held: bytes | None
) -> None:
    path = tmp_path / "secret"
    if held is not None:
        path.write_bytes(held)
    with pytest.raises(Unavailable, match="'corp' cannot be read"):
        await Clients({"corp": path}).ask(of(issuer), issuer.url + TOKEN, {})
    assert issuer.asked[TOKEN] == 0


def test_a_secret_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s p\u00e4\n")
    assert read_secret(tmp_path / "secret") == "s p\u00e4"


def of(issuer: StaticIssuer) -> IssuerView:
    return IssuerView(name="corp", url=issuer.url, client_id="dominie", scopes="openid")
