"""Where the arguments of refused calls came from: found source by source, and never without an end."""

from io import StringIO
from typing import Any

from rich.console import Console

from dominie.commands._origins import Origin, origins, print_origins
from dominie_contracts.audit import Entry

PAGE, NOTE, RECALL, CALL = (letter * 32 for letter in "abcd")


def entry(category: str, id: str, what: str, run: str, summary: str = "", **data: Any) -> Entry:
    return Entry(
        position=1,
        stream=f"acme.{category}.{id}",
        version=1,
        type=f"{category}.{what}.v1",
        time="2026-11-21T09:00:00Z",
        agent=f"a-{run}",
        user="u-dana",
        run=run,
        summary=summary,
        data=data,
    )


def label(integrity: str, *sources: str) -> dict[str, Any]:
    return {"integrity": integrity, "readers": None, "sources": [*sources]}


DENIED = [
    entry("tool", CALL, "requested", "b", 'pay(to="\x1b[31mX") asked'),
    entry(
        "tool",
        CALL,
        "decided",
        "b",
        decision="deny",
        labels={"to": label("untrusted", f"memory:{RECALL}", "tool:fine")},
    ),
]
EVENTS = {
    RECALL: [
        entry("memory", RECALL, "requested", "b", "recall user(query) asked"),
        entry("memory", RECALL, "finished", "b", label=label("untrusted", f"memory:{NOTE}")),
    ],
    NOTE: [
        entry("memory", NOTE, "requested", "a", "remember user(text) asked"),
        entry("memory", NOTE, "remembered", "a", label=label("untrusted", f"tool:{PAGE}", "request:1")),
        entry("memory", NOTE, "finished", "a", label=label("platform")),
    ],
    PAGE: [
        entry("tool", PAGE, "requested", "a", "browse(url) asked"),
        entry("tool", PAGE, "finished", "a", label=label("untrusted")),
        entry("model", PAGE, "finished", "a", label=label("user")),
    ],
    "fine": [entry("tool", "fine", "finished", "b", label=label("record"))],
}


def found(entries: list[Entry] = DENIED, events: dict[str, list[Entry]] = EVENTS) -> list[Origin]:
    return origins(entries, lambda action: events.get(action, []))


def test_a_refused_argument_is_followed_to_the_first_page() -> None:
    (origin,) = found()
    assert (origin.action, origin.argument, origin.decision) == (CALL, "to", "deny")
    (recalled,) = origin.made_from
    (noted,) = recalled.made_from
    (page,) = noted.made_from
    assert [each.what for each in (recalled, noted, page)] == [
        "recall user(query)",
        "remember user(text)",
        "browse(url)",
    ]
    assert (page.agent, page.run, page.made_from) == ("a-a", "a", ())


def test_people_are_shown_it_line_by_line_and_nothing_steers_their_terminal() -> None:
    console = Console(width=200, record=True, file=StringIO())
    print_origins(console, found())
    lines = console.export_text().splitlines()
    assert lines[1].startswith("pay(to=") and lines[1].endswith(": deny; untrusted: to") and "\x1b" not in lines[1]
    assert lines[2:] == [
        "  from recall user(query) by a-b in run b: untrusted",
        "    from remember user(text) by a-a in run a: untrusted",
        "      from browse(url) by a-a in run a: untrusted",
    ]


def test_sources_that_lead_to_themselves_or_nowhere_end() -> None:
    around = {RECALL: [entry("memory", RECALL, "finished", "b", label=label("untrusted", f"memory:{RECALL}"))]}
    (origin,) = found(events=around)
    assert origin.made_from[0].made_from == ()
    assert {each.integrity for each in found(events={})[0].made_from} == {"untrusted"}
    deep = {
        f"{n:032}": [entry("memory", f"{n:032}", "finished", "b", label=label("untrusted", f"memory:{n + 1:032}"))]
        for n in range(200)
    }
    asked = entry("tool", CALL, "decided", "b", decision="ask", labels={"to": label("untrusted", f"memory:{0:032}")})
    (origin,) = found([asked], deep)
    depth, sources = 0, origin.made_from
    while sources:
        depth, sources = depth + 1, sources[0].made_from
    assert depth < 12


def test_what_was_allowed_or_decided_before_labels_has_no_origins() -> None:
    allowed = entry("tool", CALL, "decided", "b", decision="allow", labels={"to": label("untrusted")})
    assert found([allowed, entry("tool", CALL, "decided", "b", decision="deny")]) == []
