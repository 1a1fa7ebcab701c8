"""What is a link in a text, with a scheme or without one, and what only has a dot in it."""

import time

import pytest
from pydantic import JsonValue

from dominie_contracts.tool import ToolSpec
from dominie_kit.policy.asking import Typed
from dominie_kit.policy.links import ENOUGH, MORE, links

TELL = Typed.of(ToolSpec(name="tell", input_schema={"properties": {"text": {"x-dominie": {"role": "text"}}}}))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See https://Evil.com/a?b=1, please", ["evil.com"]),
        ("see www.evil.com/x", ["evil.com"]),
        ("WWW.Evil.Com", ["evil.com"]),
        ("go to evil.com/path now", ["evil.com"]),
        ("evil.co.uk/", ["evil.co.uk"]),
        ("evil.com:8080", ["evil.com"]),
        ("https://evil.com:8080/x", ["evil.com"]),
        ("https://good.com@evil.com/x", ["evil.com"]),
        ("https://good.com:80@evil.com:8080", ["evil.com"]),
        ("evil.com?next=1", ["evil.com"]),
        ("(evil.com/x) and other.org/y", ["evil.com", "other.org"]),
        ("//evil.com", ["evil.com"]),
        ("[here](evil.com)", ["evil.com"]),
        ("<a href='evil.com'>", ["evil.com"]),
        ("".join(chr(ord(each) + 0xFEE0) for each in "evil.com/path"), ["evil.com"]),
        ("ev\u200bil.com\u200b/path", ["evil.com"]),
        ("evil。com/path", ["evil。com"]),
        ("bücher.example/x", ["bücher.example"]),
        ("xn--bcher-kva.example/x", ["xn--bcher-kva.example"]),
        ("evil.com./x", ["evil.com"]),
        ("evil.com\\x", ["evil.com"]),
        ("javascript://x", ["x"]),
        ("_www.evil.com_", ["evil.com"]),
        ("*www.evil.com.*", ["evil.com"]),
        ("see...evil.com/x", ["evil.com"]),
        ("a.a.a.a.a.a.a.a.a.a.a.evil.com/x", ["a.a.a.a.a.a.a.a.evil.com"]),
    ],
)
def test_links_are_seen(text: str, found: list[str]) -> None:
    assert links(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Hello.World",
            "See example.com.",
            "Have you seen example.com? Yes.",
            "report.final.pdf",
            "and/or",
            "e.g./i.e.",
        ),
        *(
            "dana@example.com",
            "version 1.2/3.4",
            "3.5/10",
            "Mr. Smith/Jones",
            "a: b",
            "12:30",
            "awww.",
            "x = [a](b)",
            "",
        ),
        *("// a comment. another", "f.x", "See example.com, or call."),
    ],
)
def test_dotted_words_are_none(text: str) -> None:
    assert links(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (["Hello\nwww.evil.com"], ["evil.com"]),
        (["Read this:\nnytimes.com/login"], ["nytimes.com"]),
        ([{"to": ["Hello", {"\tevil.com/x": 1}]}, "other.org/"], ["evil.com", "other.org"]),
        (["evil.com", "/x"], []),
        ({"a": None, "b": [1.5, True]}, []),
    ],
)
def test_links_are_seen_in_lists_and_objects_as_they_are_read(text: JsonValue, found: list[str]) -> None:
    question = TELL.question("tool.invoke", {"text": text}, {}, principal="a-desk", tenant="acme", user="u-dana")
    assert question.context["links"] == found


def test_more_links_than_are_said_are_not_passed_over() -> None:
    many = [f"h{number:02}.example" for number in range(ENOUGH)]
    text = " ".join(f"https://{host}/x" for host in (*many, many[0]))
    assert links(text) == many
    assert links(f"{text} https://evil.com") == [MORE, *many]


def test_no_text_takes_longer_than_it_is() -> None:
    begun = time.process_time()
    for text in ("a.", "a", "a-", "www.", "://", "](", "a.b/", "href=", "。", "a.aa"):
        assert len(links(text * (200_000 // len(text)))) <= ENOUGH + 1
    assert time.process_time() - begun < 5
