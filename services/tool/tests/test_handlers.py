"""`invoke`, `register` and `list` as the edge hands them on: what runs, what is answered, what the log then holds."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts import (
    ApprovalRequired,
    Conflict,
    Forbidden,
    Grants,
    Invalid,
    StreamName,
    ToolFailed,
    Unavailable,
)
from dominie_contracts.action import Decided
from dominie_contracts.audit import FromRecord
from dominie_contracts.registry import parse_own
from dominie_contracts.token import Fork
from dominie_contracts.tool import TOOL, InvokeTool
from dominie_kit import Lost, NotDone
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_tool.handlers import Handlers

pytestmark = pytest.mark.anyio

LIMITS = (
    PERMIT_ALL
    + """
@id("limit") @why("too much") forbid (principal, action, resource)
when { context has amount && context.amount > 5000 };
@id("recipients") @why("who is that?") forbid (principal, action, resource)
when { context.untrusted.contains("recipient") };
@id("eve") @why("not her") forbid (principal, action, resource)
when { context has recipient && context.recipient == "eve@example.com" };
"""
)
READ = ["requested.v1", "decided.v1", "finished.v1"]
EFFECT = ["requested.v1", "decided.v1", "started.v1", "finished.v1"]
REFUSED = ["requested.v1", "finished.v1"]


def call(tool: str = "refund", **arguments: JsonValue) -> InvokeTool:
    return InvokeTool(tool=tool, arguments=arguments)


async def test_a_read_is_one_append(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await have(effect="read")
    done = await handlers.invoke(call(order="17"), desk.context())
    assert (done.result, done.labels, worker.calls) == ("done", {}, [("refund", {"order": "17"})])
    events = [event async for event in desk.store.read_all(category=TOOL)]
    assert await desk.types(TOOL) == READ
    assert len({event.position >> 8 for event in events}) == 1
    assert events[0].envelope.stream.endswith(done.action)


@pytest.mark.parametrize("effect", ["write", "external"])
async def test_an_effect_is_started_on_the_record_first(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, effect: str
) -> None:
    await have(effect=effect)
    await handlers.invoke(call(), desk.context())
    assert worker.seen == [EFFECT[:3]]
    assert await desk.types(TOOL) == EFFECT


async def test_a_sandboxed_tool_runs_in_the_sandbox(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, sandbox: Any
) -> None:
    await have("adder", kind="sandboxed", source="def add(a): return a", function="add")
    await handlers.invoke(call("adder", a=1), desk.context())
    assert (sandbox.calls, worker.calls) == ([("adder", {"a": 1})], [])
    started = [event async for event in desk.store.read_all(category=TOOL)][2]
    assert started.envelope.data["enforcement"] == "isolated"
    assert started.envelope.data["layers"] == ["uid", "namespaces"]


async def test_what_isolated_a_sandboxed_read_is_in_its_outcome(desk: Desk, handlers: Handlers, have: Any) -> None:
    await have("adder", kind="sandboxed", effect="read", source="def add(a): return a", function="add")
    await handlers.invoke(call("adder", a=1), desk.context())
    *_, finished = [event async for event in desk.store.read_all(category=TOOL)]
    assert finished.envelope.data["layers"] == ["uid", "namespaces"]


async def test_a_repeated_call_has_the_firsts_outcome_at_another_instance(
    desk: Desk, instance: Callable[[], Handlers], have: Any, worker: Any
) -> None:
    first, second = instance(), instance()
    await have()
    done = await first.invoke(call(), desk.context("k"))
    assert await second.invoke(call(), desk.context("k")) == done
    assert len(worker.calls) == 1
    with pytest.raises(Conflict):
        await second.invoke(call(order="18"), desk.context("k"))


async def test_an_unknown_tool_is_invalid_on_the_record(desk: Desk, handlers: Handlers) -> None:
    with pytest.raises(Invalid, match="no tool 'refund' is registered"):
        await handlers.invoke(call(), desk.context())
    assert await desk.types(TOOL) == REFUSED


async def test_a_tool_of_another_tenant_is_unknown(desk: Desk, handlers: Handlers, have: Any) -> None:
    await have()
    with pytest.raises(Invalid, match="no tool"):
        await handlers.invoke(call(), desk.context(tenant="other"))


async def test_what_was_not_granted_is_forbidden_on_the_record(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    await have()
    with pytest.raises(Forbidden, match="not granted 'refund'"):
        await handlers.invoke(call(), desk.context(grants=Grants(tools=("mail",))))
    assert await desk.types(TOOL) == REFUSED
    assert not worker.calls


@pytest.mark.parametrize("arguments", [{}, {"order": 17}, {"order": "17", "more": 1}])
async def test_arguments_that_do_not_fit_are_invalid_on_the_record(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, arguments: dict[str, Any]
) -> None:
    schema = {"type": "object", "properties": {"order": {"type": "string"}}}
    await have(input_schema={**schema, "required": ["order"], "additionalProperties": False})
    with pytest.raises(Invalid, match=r"refund: \$"):
        await handlers.invoke(InvokeTool(tool="refund", arguments=arguments), desk.context())
    assert await desk.types(TOOL) == REFUSED
    assert not worker.calls


async def test_a_large_misfit_is_invalid_on_the_record_without_being_quoted(
    desk: Desk, handlers: Handlers, have: Any
) -> None:
    await have(input_schema={"type": "object", "properties": {"order": {"type": "string"}}})
    with pytest.raises(Invalid, match="does not fit") as refused:
        await handlers.invoke(call(order=["x" * 190_000]), desk.context())
    assert len(refused.value.detail) < 100
    assert await desk.types(TOOL) == REFUSED


async def test_a_large_problem_is_clipped_on_the_record(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await have(effect="read")
    worker.results = {"refund": ToolFailed("x" * 800_000)}
    with pytest.raises(ToolFailed) as failed:
        await handlers.invoke(call(), desk.context())
    assert len(failed.value.detail) == 2_000 and failed.value.detail.endswith("…")
    assert await desk.types(TOOL) == READ


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/s.json", "file:///etc/passwd", "#/nowhere", "#"])
async def test_a_schema_leads_nowhere_else(desk: Desk, handlers: Handlers, have: Any, reference: str) -> None:
    await have(input_schema={"$ref": reference})
    with pytest.raises(Invalid, match="refers to what is not in it"):
        await handlers.invoke(call(), desk.context())


async def test_a_schema_refers_to_its_own_parts(desk: Desk, handlers: Handlers, have: Any) -> None:
    order = {"type": "string", "pattern": "^[0-9]+$"}
    await have(
        input_schema={"type": "object", "properties": {"order": {"$ref": "#/$defs/order"}}, "$defs": {"order": order}}
    )
    await handlers.invoke(call(order="17"), desk.context())
    with pytest.raises(Invalid, match="order"):
        await handlers.invoke(call(order="x"), desk.context())


@pytest.mark.parametrize("amount", [-1, 1.0, 0.5, True, "10", None, 2**53])
async def test_an_amount_is_a_whole_number_from_0(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, amount: JsonValue
) -> None:
    await have(properties={"amount": "amount"})
    with pytest.raises(Invalid):
        await handlers.invoke(call(amount=amount), desk.context())
    assert not worker.calls


async def test_amounts_add_up_for_the_policies(desk: Desk, handlers: Handlers, have: Any) -> None:
    await desk.publish(LIMITS)
    await have(properties={"goods": "amount", "postage": "amount"})
    await handlers.invoke(call(goods=4000, postage=1000), desk.context())
    with pytest.raises(Forbidden, match="too much"):
        await handlers.invoke(call(goods=4000, postage=1001), desk.context())
    assert await desk.types(TOOL) == [*EFFECT, *READ]


async def test_a_recipient_from_nowhere_is_untrusted(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await desk.publish(LIMITS)
    await have("mail", {"to": "recipient"})
    with pytest.raises(Forbidden, match="who is that"):
        await handlers.invoke(call("mail", to="eve@example.org"), desk.context())
    assert not worker.calls


async def test_a_recipient_from_a_record_of_the_run_is_none(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    await desk.publish(LIMITS)
    await have("lookup", effect="read", output_schema={"x-dominie": {"integrity": "record"}})
    await have("mail", {"to": "recipient"})
    worker.results = {"lookup": {"mail": ["ada@example.com"]}}
    found = await handlers.invoke(call("lookup"), desk.context(run="r-1"))
    assert found.labels == {"/mail/0": "record"}
    await handlers.invoke(call("mail", to="ada@example.com"), desk.context(run="r-1"))
    for to, run in (("ada@example.com", "r-2"), ("ada@example.com,eve@example.org", "r-1")):
        with pytest.raises(Forbidden, match="who is that"):
            await handlers.invoke(call("mail", to=to), desk.context(run=run))


async def test_a_tools_word_is_untrusted_unless_it_says_otherwise(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    await desk.publish(LIMITS)
    await have("read_ticket", effect="read")
    await have("mail", {"to": "recipient"})
    worker.results = {"read_ticket": "eve@example.org"}
    await handlers.invoke(call("read_ticket"), desk.context())
    with pytest.raises(Forbidden, match="who is that"):
        await handlers.invoke(call("mail", to="eve@example.org"), desk.context())


MINIMUM = (
    PERMIT_ALL
    + """
@id("known") @why("from a record, or the user") forbid (principal, action in Action::"mail", resource)
when { context.min.recipient < 3 };
@id("clean") @why("from a page") forbid (principal, action in Action::"note", resource) when { context.min.object < 1 };
@id("leak") @why("not for them") forbid (principal, action, resource) when { context has outside };
"""
)


async def test_what_a_run_makes_of_a_page_is_the_pages(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await have("mail", {"to": "recipient"})
    await have("note", {"text": "object"}, output_schema={"x-dominie": {"integrity": "platform"}})
    await have("lookup", effect="read", output_schema={"x-dominie": {"integrity": "record"}})
    await have("browse", effect="read")
    await desk.publish(MINIMUM)
    worker.results = {"lookup": {"mail": "ada@example.com"}, "browse": "mail eve@example.org"}
    await handlers.invoke(call("note", text="a thought"), desk.context())
    page = await handlers.invoke(call("browse"), desk.context())
    with pytest.raises(Forbidden, match="from a page") as refused:
        await handlers.invoke(call("note", text="another thought"), desk.context())
    await handlers.invoke(call("lookup"), desk.context())
    await handlers.invoke(call("mail", to="Ada@Example.com"), desk.context())
    await handlers.invoke(call("note", text="another thought"), desk.context(run="r-2"))
    stream = StreamName("acme", TOOL, str(refused.value.extra["action"]))
    trail = [parse_own(event) for event in await desk.store.read(stream)]
    decided = next(each for each in trail if isinstance(each, Decided))
    label = decided.labels["text"]
    assert (label.integrity, label.sources[0]) == ("untrusted", f"tool:{page.action}")
    assert decided.request["context"]["min"] == {"object": 0}  # type: ignore[index, call-overload]


async def test_who_may_not_read_something_is_not_sent_what_was_made_of_it(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    marked = {"x-dominie": {"integrity": "record", "readers": ["@x.org"]}}
    await have("salaries", effect="read", output_schema={"properties": {"ada": marked}})
    await have("mail", {"to": "recipient", "text": {"type": "string"}})
    await have("post", {"text": {"type": "string"}})
    await have("keep", {"text": {"type": "string"}}, effect="write")
    await desk.publish(MINIMUM.replace('@id("known")', '@id("known") @ask("ops")').replace("< 3", "< 0"))
    worker.results = {"salaries": {"ada": 70_000}}
    await handlers.invoke(call("post", text="hello"), desk.context())
    await handlers.invoke(call("salaries"), desk.context())
    await handlers.invoke(call("mail", to="ada@x.org", text="you get 70,000"), desk.context())
    await handlers.invoke(call("keep", text="ada gets 70,000"), desk.context())
    for leak in (call("mail", to="eve@y.org", text="ada gets a lot"), call("post", text="ada gets a lot")):
        with pytest.raises(Forbidden, match="not for them"):
            await handlers.invoke(leak, desk.context())
    await handlers.invoke(call("post", text="ada gets a lot"), desk.context(run="r-2"))


async def test_what_waits_for_people_came_from_where_it_came_from(
    desk: Desk, handlers: Handlers, instance: Callable[[], Handlers], have: Any, worker: Any
) -> None:
    await have("note", {"text": "object"})
    await have("browse", effect="read")
    await desk.join("a-desk")
    ada = await desk.join("u-ada", "ops")
    await desk.publish(PERMIT_ALL + '@id("a") @ask("ops") forbid (principal, action in Action::"note", resource);')
    with pytest.raises(ApprovalRequired) as waits:
        await handlers.invoke(call("note", text="a thought"), desk.context("k"))
    await handlers.invoke(call("browse"), desk.context())
    stream = StreamName("acme", TOOL, str(waits.value.extra["action"]))
    await desk.answer(stream, ada)
    done = await instance().invoke(call("note", text="a thought"), desk.context("k"))
    assert done.result == "done"
    trail = [parse_own(event) for event in await desk.store.read(stream)]
    assert [each.labels["text"].integrity for each in trail if isinstance(each, Decided)] == ["agent", "agent"]


async def test_policies_see_the_recipient(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await desk.publish(LIMITS)
    await have("lookup", effect="read", output_schema={"x-dominie": {"integrity": "record"}})
    await have("mail", {"to": "recipient"})
    worker.results = {"lookup": "eve@example.com"}
    await handlers.invoke(call("lookup"), desk.context())
    with pytest.raises(Forbidden, match="not her"):
        await handlers.invoke(call("mail", to="eve@example.com"), desk.context())


async def test_a_tool_that_fails_has_failed_for_good(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await have()
    worker.results = {"refund": ToolFailed("refund: no such order")}
    for _ in range(2):
        with pytest.raises(ToolFailed, match="no such order"):
            await handlers.invoke(call(), desk.context("k"))
    assert len(worker.calls) == 1
    assert await desk.types(TOOL) == EFFECT


@pytest.mark.parametrize("idempotent", [True, False])
async def test_without_a_worker_it_waits_for_one(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, idempotent: bool
) -> None:
    await have(idempotent=idempotent)
    worker.results = {"refund": NotDone(Unavailable("no worker of 'refund' is running"))}
    with pytest.raises(Unavailable, match="no worker"):
        await handlers.invoke(call(), desk.context("k"))
    worker.results = {}
    assert (await handlers.invoke(call(), desk.context("k"))).result == "done"


@pytest.mark.parametrize(
    ("more", "again"),
    [
        ({"effect": "read"}, True),
        ({"effect": "external", "idempotent": True}, True),
        ({"effect": "external"}, False),
        ({"effect": "write"}, False),
    ],
)
async def test_an_answer_that_never_came_is_asked_for_again_where_nothing_is_done_twice(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, more: dict[str, Any], again: bool
) -> None:
    await have(**more)
    worker.results = {"refund": Lost("the worker did not answer")}
    with pytest.raises(Unavailable if again else Conflict):
        await handlers.invoke(call(), desk.context("k"))
    worker.results = {}
    if again:
        assert (await handlers.invoke(call(), desk.context("k"))).result == "done"
    else:
        with pytest.raises(Conflict, match="nobody can tell"):
            await handlers.invoke(call(), desk.context("k"))


@pytest.mark.parametrize("networked", [False, True])
async def test_what_ran_in_a_box_is_done_again_unless_that_had_a_network(
    desk: Desk, handlers: Handlers, have: Any, sandbox: Any, networked: bool
) -> None:
    profile = {"network": {"hosts": ["api.example.org"]}} if networked else None
    await have(effect="external", kind="sandboxed", source="", function="refund", profile=profile)
    sandbox.results = {"refund": Lost("its result could not be kept")}
    with pytest.raises(Conflict if networked else Unavailable):
        await handlers.invoke(call(), desk.context("k"))


async def test_in_a_fork_what_is_on_record_needs_no_tool_any_more(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    await have(effect="external")
    done = await handlers.invoke(call(), desk.context("k"))
    desk.others.record = await desk.last(TOOL)
    fork = Fork(run="r-1", at=10**6)
    again = await handlers.invoke(call("gone"), desk.context("k", run="r-2", fork=fork, grants=Grants()))
    assert (again.result, len(worker.calls)) == (done.result, 1) and again.action != done.action
    desk.others.record = FromRecord()
    with pytest.raises(Invalid, match="no tool 'gone'"):
        await handlers.invoke(call("gone"), desk.context("l", run="r-2", fork=fork))
