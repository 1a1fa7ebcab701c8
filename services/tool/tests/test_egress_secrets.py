"""Secrets go out in headers, in TLS, to their hosts alone; and nothing that a tool says holds one."""

import base64
import json
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
    return [value, json.dumps(value), *coded, *safe, *hexed, *urls]


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
