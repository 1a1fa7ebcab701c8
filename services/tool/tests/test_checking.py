"""Calls whose arguments are looked at, where a policy asks for it."""

from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts import ApprovalRequired, Forbidden, Invalid, Unavailable
from dominie_contracts.action import Decided
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.tool import TOOL, BeginLocal, InvokeTool
from dominie_kit.checks.texts import MOST
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_tool.handlers import Handlers

pytestmark = pytest.mark.anyio
PRIVATE = (
    PERMIT_ALL
    + '@id("private") @ask("privacy") forbid (principal, action, resource)'
    + 'when { context.found.contains("pii.iban") };'
    + '@id("keys") forbid (principal, action, resource) when { context.found.contains("secret.jwt") };'
)
IBAN = "to GB82 WEST 1234 5698 7654 32"


def looks_for(kind: str) -> str:
    return PERMIT_ALL + f'@id("f") forbid (principal, action, resource) when {{ context.found.contains("{kind}") }};'


def call(**arguments: JsonValue) -> InvokeTool:
    return InvokeTool(tool="mail", arguments=arguments)


async def decided(desk: Desk) -> dict[str, JsonValue]:
    events = [event async for event in desk.store.read_all(category=TOOL)]
    last = [Decided.model_validate(event.envelope.data) for event in events if event.type == "tool.decided.v1"][-1]
    context = last.request["context"]
    assert isinstance(context, dict)
    return context


async def test_what_is_found_makes_a_call_ask(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await desk.publish(PRIVATE)
    await have("mail", effect="external")
    with pytest.raises(ApprovalRequired) as asked:
        await handlers.invoke(call(body={"lines": ["hello", IBAN]}), desk.context())
    assert asked.value.extra["groups"] == ["privacy"]
    told = await decided(desk)
    assert (told["found"], told["checked"]) == (["pii.iban"], ["pii", "secret"])
    assert not worker.calls
    await handlers.invoke(call(body="hello"), desk.context())
    assert (await decided(desk))["found"] == []


async def test_where_no_policy_looks_nobody_does(desk: Desk, handlers: Handlers, have: Any) -> None:
    await have("mail", effect="external")
    await handlers.invoke(call(body=IBAN), desk.context())
    assert not {"found", "checked"} & (await decided(desk)).keys()


async def test_a_local_call_is_looked_at_too(desk: Desk, handlers: Handlers, have: Any) -> None:
    await desk.publish(PRIVATE)
    spec = {"name": "note", "input_schema": {"type": "object"}, "effect": "write"}
    command = BeginLocal.model_validate({"spec": spec, "arguments": {"a": IBAN}})
    with pytest.raises(ApprovalRequired):
        await handlers.begin(command, desk.context())


@pytest.mark.parametrize("effect", ["write", "external"])
async def test_what_cannot_be_looked_at_is_refused_and_can_be_tried_again(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, effect: str
) -> None:
    await desk.publish(looks_for("nowhere"))
    await have("mail", effect=effect)
    with pytest.raises(Unavailable, match="nowhere: no such check is installed") as refused:
        await handlers.invoke(call(body="x"), desk.context("k"))
    assert refused.value.retry_after_s
    assert (await desk.types(TOOL), worker.calls) == ([], [])
    await desk.publish(looks_for("pii.iban"))
    await handlers.invoke(call(body="x"), desk.context("k"))
    assert worker.calls


async def test_a_read_goes_on_unchecked_unless_policies_mind(desk: Desk, handlers: Handlers, have: Any) -> None:
    await desk.publish(looks_for("nowhere"))
    await have("mail", effect="read")
    await handlers.invoke(call(body="x"), desk.context())
    assert (await decided(desk))["found"] == ["unchecked"]
    minds = '@id("m") forbid (principal, action, resource) when { context.found.contains("unchecked") };'
    await desk.publish(looks_for("nowhere") + minds)
    with pytest.raises(Forbidden):
        await handlers.invoke(call(body="x"), desk.context())


async def test_too_much_text_is_refused_for_good(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await desk.publish(PRIVATE)
    await have("mail", effect="external")
    large = call(body="\ufdfa" * (MOST // 18 + 1))  # each is 18 letters
    with pytest.raises(Invalid, match="more text than checks look at"):
        await handlers.invoke(large, desk.context())
    assert await desk.types(TOOL) == ["requested.v1", "finished.v1"]
    assert not worker.calls


async def test_a_call_that_waits_waits_on(desk: Desk, handlers: Handlers, have: Any) -> None:
    await desk.join("a-desk")
    await desk.publish(PRIVATE)
    await have("mail", effect="external")
    for _ in range(2):
        with pytest.raises(ApprovalRequired):
            await handlers.invoke(call(body=IBAN), desk.context("k"))
    assert (await desk.types(TOOL)).count("parked.v1") == 1
    with pytest.raises(Forbidden):
        await handlers.invoke(call(body=f"{IBAN} eyJhbGciOiJIUzI1NiJ9.a1B2c3D4e5F6.a1B2c3D4e5F6"), desk.context())


async def test_a_tenant_has_deny_lists_of_its_own(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    rivals = PolicyFile(name="deny.rivals.txt", text="Mallory & Sons")
    await desk.publish(looks_for("deny.rivals"))
    await desk.publish("", rivals, tenant="acme")
    await have("mail", effect="external")
    with pytest.raises(Forbidden):
        await handlers.invoke(call(body="from MALLORY & sons"), desk.context())
    await handlers.invoke(call(body="from Mallory"), desk.context())
    assert len(worker.calls) == 1
