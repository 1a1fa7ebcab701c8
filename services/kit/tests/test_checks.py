"""What checks find, what they leave alone, and that nobody can make them hang."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts.guardrail import PolicyFile
from dominie_kit.checks.check import Check
from dominie_kit.checks.installed import installed
from dominie_kit.checks.lists import MOST_WORDS, read_list, read_lists
from dominie_kit.checks.personal import Personal
from dominie_kit.checks.secrets import Secrets
from dominie_kit.checks.texts import MOST, TooLarge, texts

A20, A36 = "a1B2c3D4e5F6g7H8i9J0", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
SHIPPED: tuple[Check, ...] = (Personal(), Secrets())
CASES = [
    ("-----BEGIN OPENSSH " + "PRIVATE KEY-----", "secret.private-key"),
    ("use AKIA" + "IOSFODNN7EXAMPLE now", "secret.aws-access-key"),
    ("ghp_" + A36, "secret.github-token"),
    ("glpat-" + A20, "secret.gitlab-token"),
    ("AIza" + A36[:35], "secret.google-api-key"),
    ("sk-proj-" + A36, "secret.model-vendor-key"),
    ("xoxb-" + "123456789012-abc", "secret.slack-token"),
    ("sk_live_" + A20, "secret.stripe-key"),
    ("eyJhbGciOiJIUzI1NiJ9." + A20 + "." + A36, "secret.jwt"),
    ("SU" + "A2B3C4D5" * 7, "secret.nkey-seed"),
    ("dk_" + A36, "secret.gateway-key"),
    ('api_key = "' + A20 + '"', "secret.password"),
    ("write to dana+desk@mail.example.org today", "pii.email"),
    ("<dana@example.com>", "pii.email"),
    ("DE89370400440532013000", "pii.iban"),
    ("to GB82 WEST 1234 5698 7654 32, please", "pii.iban"),
    ("de89 3704 0044 0532 0130 00", "pii.iban"),
    ("XX00 DE89 3704 0044 0532 0130 00 AND MORE", "pii.iban"),
    ("4111 1111 1111 1111 12/30", "pii.card"),
    ("1234 4111-1111-1111-1111", "pii.card"),
    ("378282246310005", "pii.card"),
    ("3782 822463 10005", "pii.card"),
    ("call +49 (30) 1234-567", "pii.phone"),
    ("SSN 219-09-9999", "pii.us-ssn"),
]
BENIGN = [
    "",
    "Your order 4111111111111112 has shipped.",
    "Order 1234-5678, tracking 1Z999AA10123456784",
    "DE88370400440532013000 is off by one",
    "DE893704004405320130001 is too long, DE8937040044053201300 too short",
    "The risk-adjusted token: see page 12",
    "Your password: you can reset it on the settings page",
    "2026-11-21T09:30:00+01:00",
    "1 + 12345678",
    "000-12-3456, 666-12-3456, 219-00-9999",
    "dana at example dot com, @dana, dana@localhost",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
]
HUGE = 256 * 1024
HOSTILE = {
    "letters": "a" * HUGE,
    "digits": "4" * HUGE,
    "digits apart": "4 " * (HUGE // 2),
    "accounts": "DE89 " * (HUGE // 5),
    "an account": "DE00" + "A" * HUGE,
    "dots": "a@" + "a." * (HUGE // 2),
    "ats": "a@" * (HUGE // 2),
    "local parts": "a." * (HUGE // 2) + "@",
    "tokens": "eyJaaaaaaaaaa-" * (HUGE // 14),
    "tokens with dots": "eyJaaaaaaaaaa." * (HUGE // 14),
    "words for keys": "secret=" * (HUGE // 7),
    "a key of letters": "secret=" + "a" * HUGE,
    "spaces": "token" + " " * HUGE + "!",
    "begins": "-----BEGIN A " * (HUGE // 13),
    "plus": "+1" * (HUGE // 2),
    "plus apart": "+1 (" * (HUGE // 4),
    "vendor keys": "sk-ab-" * (HUGE // 6),
    "dashes": "123-" * (HUGE // 4),
    "expands": "\ufdfa" * 50_000,
}


def found(text: str) -> set[str]:
    return {kind for check in SHIPPED for each in texts(text) for kind in check.look(each.text)}


@pytest.mark.parametrize(("text", "kind"), CASES, ids=range(len(CASES)))
def test_what_is_looked_for_is_found(text: str, kind: str) -> None:
    assert found(text) == {kind}
    assert kind in found(f"Here it is: {text}.")


@pytest.mark.parametrize("text", BENIGN, ids=range(len(BENIGN)))
def test_what_only_resembles_it_is_not(text: str) -> None:
    assert found(text) == set()


def test_every_kind_that_ships_is_tested() -> None:
    assert {kind for _, kind in CASES} == {kind for check in SHIPPED for kind in check.finds}


def test_what_looks_the_same_to_people_is_found() -> None:
    assert found("D\u200bE89 3704 0044\u00a00532 0130 00") == {"pii.iban"}
    assert found("\uff44ana\uff20example.com") == {"pii.email"}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nobody_makes_a_check_hang(text: str) -> None:
    """What is quadratic in 256 kB takes minutes on any machine."""
    begun = time.thread_time()
    try:
        found(text)
    except TooLarge:
        return
    assert time.thread_time() - begun < 5


@given(st.text(max_size=300))
def test_any_text_can_be_looked_at(text: str) -> None:
    kinds = {kind for check in SHIPPED for kind in check.finds}
    assert found(text) <= kinds


@given(st.integers(0, 10**14 - 1))
def test_one_wrong_digit_of_a_card_is_noticed(account: int) -> None:
    assert sum("pii.card" in found(f"4{account:014}{digit}") for digit in range(10)) == 1


@settings(max_examples=20)
@given(st.integers(0, 10**18 - 1))
def test_an_account_has_one_pair_of_check_digits(account: int) -> None:
    """Of the hundred pairs 02 to 98 are in use, and one fits."""
    fits = [check for check in range(2, 99) if "pii.iban" in found(f"DE{check:02}{account:018}")]
    assert len(fits) == 1


def test_texts_are_told_by_pointer_with_names_and_numbers() -> None:
    value: JsonValue = {
        "to": ["dana@example.com"],
        "a/b": {"4111111111111111": True},
        "card": 4111111111111111,
        "none": None,
    }
    rows = [(each.pointer, each.text) for each in texts(value)]
    assert ("/to/0", "dana@example.com") in rows
    assert ("/a~1b/4111111111111111", "4111111111111111") in rows
    assert ("/card", "4111111111111111") in rows
    assert "True" not in {text for _, text in rows}


def test_what_cannot_be_seen_is_not_there() -> None:
    unseen = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"]
    assert texts("".join(unseen)) == [("", "")]
    assert texts("née")[0].text == "née"


def test_too_much_text_is_not_looked_at() -> None:
    assert len(texts("a" * MOST)) == 1
    with pytest.raises(TooLarge, match="1,048,576 characters"):
        texts(["a" * MOST, "a"])
    with pytest.raises(TooLarge):
        texts("\ufdfa" * (MOST // 10))


def terms(*lines: str, name: str = "deny.rivals.txt") -> PolicyFile:
    return PolicyFile(name=name, text="\n".join(lines))


def test_a_term_of_a_deny_list_is_found_as_words() -> None:
    rivals = read_list(terms("# who", "", "Mallory  &  Sons", "evil.example", "Straße"))
    hits = ["see MALLORY, sons!", "mail eve@evil.example now", "in der STRASSE"]
    assert [[*rivals.look(text)] for text in hits] == [["deny.rivals"]] * 3
    assert [[*rivals.look(text)] for text in ("mallory and sons", "sons mallory", "devil.example", "")] == [[]] * 4


def test_lists_of_one_name_are_one() -> None:
    both = read_lists([terms("mallory"), terms("eve"), terms("x", name="deny.other.txt")])
    assert {kind: len(found.terms) for kind, found in both.items()} == {"deny.rivals": 2, "deny.other": 1}


@pytest.mark.parametrize(
    "file",
    [
        terms("# nothing"),
        terms("x", name="deny.Bad Name.txt"),
        terms("x", name="deny..txt"),
        terms("...", "fine"),
        terms(" ".join(["word"] * (MOST_WORDS + 1))),
    ],
    ids=range(5),
)
def test_what_is_no_deny_list(file: PolicyFile) -> None:
    with pytest.raises(ValueError, match=r"deny list|term"):
        read_lists([file])


def test_those_that_ship_are_installed() -> None:
    here = installed()
    assert {"pii", "secret"} <= here.checks.keys()
    assert here.found_at.keys() == here.checks.keys() and not here.broken
