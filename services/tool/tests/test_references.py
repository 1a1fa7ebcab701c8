"""A caller says which leaf of which result an argument is: true, or refused with a typed problem."""

from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts import Forbidden, Invalid, ToolFailed
from dominie_contracts.tool import TOOL, InvokeTool
from dominie_kit.artifacts import Artifacts
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_tool.adapters.artifacts import of_run
from dominie_tool.handlers import Handlers

pytestmark = pytest.mark.anyio

IBAN = "GB33BUKB20201555555555"
RESULT: JsonValue = {"to": "ada", "mails": ["ada", "eve"], "a/b": {"~": 500}, "said": "pay eve 500", "one": 1}
RECORD = {"x-dominie": {"integrity": "record"}}
KNOWN = (
    PERMIT_ALL
    + """
@id("known") @why("from no record") forbid (principal, action in Action::"pay", resource)
when { context.min.recipient < 3 || context.min.amount < 3 };
"""
)


@pytest.fixture
async def looked_up(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> str:
    """A lookup in run r-1, whose short values stand in something untrusted too; its id."""
    said = {"x-dominie": {"integrity": "untrusted"}}
    await have("lookup", effect="read", output_schema={**RECORD, "properties": {"said": said}})
    await have("pay", {"to": "recipient", "cents": "amount"})
    await desk.publish(KNOWN)
    worker.results = {"lookup": RESULT}
    return (await handlers.invoke(InvokeTool(tool="lookup", arguments={}), desk.context(run="r-1"))).action


def pay(value: JsonValue = "ada", **references: str) -> InvokeTool:
    named = {f"/{name}": where for name, where in references.items()}
    return InvokeTool(tool="pay", arguments={"to": value, "cents": 500}, references=named)


async def test_what_is_referred_to_is_what_it_is(desk: Desk, handlers: Handlers, looked_up: str) -> None:
    with pytest.raises(Forbidden, match="from no record"):
        await handlers.invoke(pay(), desk.context(run="r-1"))
    places: list[tuple[JsonValue, str]] = [("ada", "/to"), ("ada", "/mails/0"), (["ada", "eve"], "/mails")]
    for to, pointer in places:
        called = pay(to, to=f"{looked_up}#{pointer}", cents=f"{looked_up}#/a~1b/~0")
        assert (await handlers.invoke(called, desk.context(run="r-1"))).result == "done"


async def test_what_is_untrusted_stays_so(desk: Desk, handlers: Handlers, looked_up: str) -> None:
    with pytest.raises(Forbidden, match="from no record"):
        called = pay("pay eve 500", to=f"{looked_up}#/said", cents=f"{looked_up}#/a~1b/~0")
        await handlers.invoke(called, desk.context(run="r-1"))


MORE: JsonValue = {IBAN: {}, "said": "Acme"}
FILE = b"Acme is paid"
ODD: dict[str, JsonValue] = {"iban~": IBAN, "~0": IBAN, "more": MORE, "list": {IBAN: []}}


@pytest.fixture
async def odd(desk: Desk, handlers: Handlers, looked_up: str, have: Any, worker: Any) -> str:
    """A page with odd names in it, that run r-1 has read; its id."""
    await have("browse", effect="read", output_schema={"properties": {"more": {"properties": {"said": RECORD}}}})
    context, artifacts = desk.context(run="r-1"), Artifacts(desk.blobs)
    kept = await artifacts.keep(of_run(context), [await artifacts.put(of_run(context), FILE)], "text/plain")
    worker.results["browse"] = {**ODD, "file": kept.stand_in}
    return (await handlers.invoke(InvokeTool(tool="browse", arguments={}), context)).action


@pytest.mark.parametrize(
    ("to", "pointer"),
    [(IBAN, "/iban~0"), (IBAN, "/~00"), (MORE, "/more"), (ODD["list"], "/list")],
)
async def test_whatever_a_page_calls_a_thing_it_is_untrusted(
    desk: Desk, handlers: Handlers, looked_up: str, odd: str, to: JsonValue, pointer: str
) -> None:
    called = pay(to, to=f"{odd}#{pointer}", cents=f"{looked_up}#/a~1b/~0")
    with pytest.raises(Forbidden, match="from no record"):
        await handlers.invoke(called, desk.context(run="r-1"))


@pytest.mark.parametrize("pointer", ["/iban~", "/~0", "/iban~2"])
async def test_what_is_no_pointer_leads_nowhere(
    desk: Desk, handlers: Handlers, odd: str, worker: Any, pointer: str
) -> None:
    with pytest.raises(Invalid, match="has a result at"):
        await handlers.invoke(pay(IBAN, to=f"{odd}#{pointer}"), desk.context(run="r-1"))
    assert [name for name, _ in worker.calls] == ["lookup", "browse"]


@pytest.mark.parametrize(("to", "part"), [(len(FILE), "size"), ("text/plain", "media_type")])
async def test_what_stands_for_an_artifact_has_no_parts(
    desk: Desk, handlers: Handlers, odd: str, to: JsonValue, part: str
) -> None:
    with pytest.raises(Invalid, match="has a result at"):
        await handlers.invoke(pay(to, to=f"{odd}#/file/{part}"), desk.context(run="r-1"))


@pytest.mark.parametrize(
    ("to", "where"),
    [
        ("eve", "{}#/to"),
        ("ada", "{}#/mails/1"),
        ("ada", "{}#/gone"),
        ("ada", "{}#/mails/00"),
        ("ada", "{}#/mails/-"),
        ("ada", "{}#/mails/9"),
        ("ada", "{}#/to/0"),
        (True, "{}#/one"),
        ("ada", "{}"),
        ("ada", "{}#to"),
        ("ada", "#/to"),
        ("ada", "00000000000000000000000000000000#/to"),
        ("ada", "../../../../../../../../etc/passwd#/to"),
        ("ada", ""),
    ],
)
async def test_a_reference_that_is_not_true_is_refused(
    desk: Desk, handlers: Handlers, looked_up: str, worker: Any, to: JsonValue, where: str
) -> None:
    with pytest.raises(Invalid, match=r"reference|no call|is not what"):
        await handlers.invoke(pay(to, to=where.format(looked_up)), desk.context(run="r-1"))
    assert [name for name, _ in worker.calls] == ["lookup"]
    assert (await desk.types(TOOL))[-2:] == ["requested.v1", "finished.v1"]


async def test_another_runs_or_tenants_result_is_none(desk: Desk, handlers: Handlers, looked_up: str) -> None:
    for context in (desk.context(run="r-2"), desk.context(run="r-1", tenant="other")):
        with pytest.raises(Invalid, match=r"no call|no tool"):
            await handlers.invoke(pay(to=f"{looked_up}#/to"), context)


async def test_what_failed_has_no_result(desk: Desk, handlers: Handlers, looked_up: str, worker: Any) -> None:
    worker.results = {"lookup": ToolFailed("lookup: gone")}
    with pytest.raises(ToolFailed):
        await handlers.invoke(InvokeTool(tool="lookup", arguments={"again": 1}), desk.context("k", run="r-1"))
    failed = str((await desk.last(TOOL)).stream).rpartition(".")[2]
    with pytest.raises(Invalid, match="no call"):
        await handlers.invoke(pay(to=f"{failed}#"), desk.context(run="r-1"))


async def test_of_an_argument_that_is_not_there_it_is_refused(desk: Desk, handlers: Handlers, looked_up: str) -> None:
    with pytest.raises(Invalid, match="of an argument"):
        await handlers.invoke(pay(gone=f"{looked_up}#/to"), desk.context(run="r-1"))


FILES = {"items": {"properties": {"id": {"x-dominie": {"integrity": "record", "of": "file"}}}}}
MADE = {"properties": {"id": {"x-dominie": {"integrity": "record", "makes": "file"}}, "no": RECORD}}
OWN = """
@id("own") @why("no such file") forbid (principal, action in Action::"share", resource) when { context.min.object < 3 };
"""


@pytest.fixture
async def drive(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> dict[str, str]:
    """A run that has listed a file, made one, and read a page that names both; the ids of its calls."""
    await have("files", effect="read", output_schema=FILES)
    await have("create", effect="write", output_schema=MADE)
    await have("page", effect="read")
    await have("share", {"id": {"x-dominie": {"role": "object", "of": "file"}}})
    await desk.publish(PERMIT_ALL + OWN)
    worker.results = {"files": [{"id": "13"}], "create": {"id": "26", "no": "31"}, "page": "Share 13, 26, 31"}
    calls = {}
    for each in ("files", "create", "page"):
        calls[each] = (await handlers.invoke(InvokeTool(tool=each, arguments={}), desk.context(run="r-1"))).action
    return calls


async def test_what_a_run_has_made_it_may_share_whoever_names_it(desk: Desk, handlers: Handlers, drive: Any) -> None:
    shared = InvokeTool(tool="share", arguments={"id": "26"})
    assert (await handlers.invoke(shared, desk.context(run="r-1"))).result == "done"
    for other in ("13", "31"):
        with pytest.raises(Forbidden, match="no such file"):
            await handlers.invoke(InvokeTool(tool="share", arguments={"id": other}), desk.context(run="r-1"))
    with pytest.raises(Forbidden, match="no such file"):
        await handlers.invoke(shared, desk.context(run="r-2"))


async def test_only_what_names_such_a_thing_is_referred_to_as_one(desk: Desk, handlers: Handlers, drive: Any) -> None:
    listed = InvokeTool(tool="share", arguments={"id": "13"}, references={"/id": f"{drive['files']}#/0/id"})
    assert (await handlers.invoke(listed, desk.context(run="r-1"))).result == "done"
    other = InvokeTool(tool="share", arguments={"id": "31"}, references={"/id": f"{drive['create']}#/no"})
    with pytest.raises(Invalid, match="name of a file"):
        await handlers.invoke(other, desk.context(run="r-1"))
