"""Secrets go out in headers, in TLS, to their hosts alone; and nothing that a tool says holds one."""

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_tool.egress import Refused, Secret
from dominie_tool.egress.gate import Target
from dominie_tool.egress.placeholders import Placeholders
from dominie_tool.egress.redaction import Redactor

VALUE = 's3cr3t+/= "key"\\ of~dana'
SECRET = Secret("API_KEY", VALUE, ("api.example.org", "*.example.com"))
HERE, ELSEWHERE = Target("api.example.org", 443, ()), Target("other.example.net", 443, ())
GIVEN = Placeholders([SECRET, Secret("OTHER", "another-one", ("other.example.net",))], iter("ab").__next__)
MARK = GIVEN.environment["API_KEY"].encode()
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=60)


def test_a_box_sees_something_else_each_time() -> None:
    assert GIVEN.environment == {"API_KEY": "dominie-secret-a", "OTHER": "dominie-secret-b"}
    assert VALUE not in repr(SECRET)


def test_placeholders_are_swapped_in_headers() -> None:
    basic = b"Basic " + base64.b64encode(b"dana:" + MARK)
    headers = [(b"authorization", b"Bearer " + MARK), (b"x-key", MARK + b"," + MARK), (b"accept", b"*/*")]
    assert GIVEN.swapped(headers, HERE, secure=True) == [
        (b"authorization", b"Bearer " + VALUE.encode()),
        (b"x-key", VALUE.encode() + b"," + VALUE.encode()),
        (b"accept", b"*/*"),
    ]
    assert GIVEN.swapped([(b"authorization", basic)], HERE, secure=True) == [
        (b"authorization", b"Basic " + base64.b64encode(f"dana:{VALUE}".encode()))
    ]
    assert GIVEN.swapped([(b"authorization", b"Basic not=base64!")], HERE, secure=True)[0][1] == b"Basic not=base64!"


@pytest.mark.parametrize(
    ("target", "secure", "why"), [(HERE, False, "secret-in-clear"), (ELSEWHERE, True, "secret-elsewhere")]
)
@pytest.mark.parametrize("value", [b"Bearer " + MARK, b"basic " + base64.b64encode(MARK)], ids=["bearer", "basic"])
def test_a_secret_goes_nowhere_else(target: Target, secure: bool, why: str, value: bytes) -> None:
    with pytest.raises(Refused) as raised:
        GIVEN.swapped([(b"authorization", value)], target, secure=secure)
    assert raised.value.why == why and VALUE not in str(raised.value)


def forms(value: str) -> list[str]:
    raw = value.encode()
    coded = [base64.b64encode(each).decode() for each in (raw, b"x" + raw, b"xy" + raw, b"dana:" + raw + b":more")]
    safe = [base64.urlsafe_b64encode(each).decode() for each in (raw, b"x" + raw, b"xy" + raw)]
    hexed = [raw.hex(), raw.hex().upper()]
    urls = [quote(value, safe=""), quote(value), quote_plus(value), "".join(f"%{byte:02x}" for byte in raw)]
    escaped = ["".join(f"\\u{ord(each):04x}" for each in value), json.dumps(value).replace("/", "\\/")]
    twice = [quote(json.dumps(value)), quote(quote(value)), json.dumps(json.dumps(value)), *map(quote, coded)]
    return [value, json.dumps(value), *coded, *safe, *hexed, *urls, *escaped, *twice]


@given(VALUES, st.text(max_size=20), st.text(max_size=20))
def test_no_form_of_a_secret_is_left(value: str, before: str, after: str) -> None:
    redactor = Redactor([value])
    for form in forms(value):
        said = redactor.text(f"{before} {form} {after}")
        assert "[secret]" in said and form not in said
        assert value not in said or value in f"{before} [secret] {after}"


def test_every_alignment_of_base64_loses_all_that_it_told() -> None:
    for value in (VALUE, "12345678", "a" * 9):
        for offset in range(3):
            coded = base64.b64encode(b"-" * offset + value.encode() + b"-" * 3).decode()
            left = Redactor([value]).text(coded).replace("[secret]", "")
            assert len(left) <= offset * 8 // 6 + 6  # what is beside it alone


def test_secrets_are_taken_out_of_values_wherever_they_stand() -> None:
    value: JsonValue = {VALUE: [f"x{VALUE}y", {"a": quote(VALUE)}], "n": 7, "none": None, "ok": "fine"}
    assert Redactor([VALUE]).value(value) == {
        "[secret]": ["x[secret]y", {"a": "[secret]"}],
        "n": 7,
        "none": None,
        "ok": "fine",
    }
    assert Redactor([]).value(value) == value


@given(st.integers(1, len(VALUE) - 12))
def test_of_a_text_that_was_cut_no_part_is_left(cut: int) -> None:
    for part in (VALUE[cut:], VALUE[:-cut], "x" + VALUE[cut:] + "y"):
        assert Redactor([VALUE]).cut(f"printed: '{part}'").count("[secret]") == 1
        assert part not in Redactor([VALUE]).cut(f"printed: '{part}'")
    assert Redactor([VALUE]).cut("nothing of it") == "nothing of it"


def test_secrets_that_overlap_or_touch_are_taken_out_whole() -> None:
    redactor = Redactor(["abcdefgh", "efghijkl", "mnopqrst", "mnopqrstuvw"])
    assert redactor.text("-abcdefghijkl-") == "-[secret]-"
    assert redactor.text("-abcdefghmnopqrstuvw-") == "-[secret]-"
    both = base64.b64encode(b"--abcdefghijkl--").decode()
    assert redactor.text(both) == "LS[secret]tLQ=="  # what is beside them alone


def test_a_secret_is_found_where_only_some_of_it_is_escaped() -> None:
    redactor = Redactor([VALUE])
    for said in (
        's3cr3t+\\u002f= \\"key\\"\\\\ of~dana',
        's3cr3t+%2F=%20"key"\\%20of~dana',
        "S3CR3T%2B/=+%22key%22%5C+of~dana",
    ):
        assert redactor.text(f"<{said}>") == "<[secret]>"
    assert redactor.text("100%2 \\u00zz \\") == "100%2 \\u00zz \\"


@given(st.lists(VALUES, min_size=1, max_size=4), st.lists(st.text(max_size=8), max_size=6))
def test_many_texts_are_looked_at_as_each_would_be(secrets: list[str], around: list[str]) -> None:
    redactor = Redactor(secrets)
    texts = [*around, *(f"{a}{b}" for a in secrets for b in around), "\n", "", "\n\n"]
    alone: list[JsonValue] = [redactor.text(each) for each in texts]
    assert redactor.value([list(texts), {"k": [*texts]}]) == [alone, {"k": alone}]


def test_many_secrets_in_megabytes_are_looked_for_in_one_pass() -> None:
    secrets = [f"{n:02}" + "key-of-dana/" * 3 for n in range(16)]
    text = "what nobody minds: " * 200_000 + secrets[7]
    redactor = Redactor(secrets)
    begun = time.process_time()
    assert redactor.value([text]) == [text.replace(secrets[7], "[secret]")]
    assert redactor.text("a" * 2**20) == "a" * 2**20
    assert time.process_time() - begun < 1.5  # trying each form at each place took 4 s
