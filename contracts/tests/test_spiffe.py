"""SPIFFE ids name one principal each, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Invalid
from dominie_contracts.spiffe import TRUST_DOMAIN, SpiffeId

NAMES = st.from_regex(r"[auw]-[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)
TENANTS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True).filter(lambda name: name != "svc")


@given(st.sampled_from(["dominie.local", "acme.example"]), TENANTS, NAMES)
def test_an_id_is_read_as_it_was_written(domain: str, tenant: str, principal: str) -> None:
    found = SpiffeId.of(domain, tenant, principal)
    assert SpiffeId.parse(str(found)) == found


def test_an_id_looks_as_the_standard_says() -> None:
    assert str(SpiffeId.of(TRUST_DOMAIN, "acme", "a-desk")) == "spiffe://dominie.local/acme/agent/desk"


@pytest.mark.parametrize(
    "text",
    [
        *("", "a-desk", "spiffe://", "spiffe:///acme/agent/desk", "https://dominie.local/acme/agent/desk"),
        *("spiffe://dominie.local/acme/agent", "spiffe://dominie.local/acme/agent/desk/", "spiffe://d/acme/role/x"),
        *("spiffe://Dominie.local/acme/agent/desk", "spiffe://d/ACME/agent/desk", "spiffe://d/svc/agent/desk"),
        *("spiffe://d/acme/agent/..", "spiffe://d/acme/agent/a%2Fb", "spiffe://d/acme/agent/a b"),
        *("spiffe://d:1/acme/agent/desk", "spiffe://d/acme/agent/desk?x", "spiffe://d/acme/agent/é"),
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        SpiffeId.parse(text)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        found = SpiffeId.parse(text)
    except Invalid:
        return
    assert str(found) == text


@pytest.mark.parametrize(("domain", "principal"), [("d", "a-me@home"), ("", "a-x"), ("D", "a-x"), ("d/e", "a-x")])
def test_what_cannot_be_in_an_id_has_none(domain: str, principal: str) -> None:
    with pytest.raises(Invalid):
        SpiffeId.of(domain, "acme", principal)
