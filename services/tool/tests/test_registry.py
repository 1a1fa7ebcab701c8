"""What comes into the registry, what it has of a tool, and the end of one, before and after its date."""

import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts import Forbidden, Invalid, Unauthenticated, Unavailable
from dominie_contracts.catalog import DeprecateTool, ShowTool
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.token import Grants
from dominie_contracts.tool import CATALOG, TOOL, InvokeTool, ListTools, Profile, RegisterTool, ToolSpec
from dominie_kit.context import Context
from dominie_kit.handler_testing import Desk
from dominie_tool.handlers import Handlers
from dominie_tool.registry import Registry

pytestmark = pytest.mark.anyio


def spec(name: str = "refund", /, **more: Any) -> ToolSpec:
    return ToolSpec.model_validate({"name": name, "input_schema": {"type": "object"}, **more})


def person(desk: Desk, principal: str = "u-dana", *groups: str) -> Context:
    """Anybody without a run token, a tool worker too."""
    return replace(desk.context(agent=principal), claims=None, groups=groups)


def developer(desk: Desk) -> Context:
    return person(desk, "u-dana", DEVELOPERS)


async def test_a_tool_is_shown_with_its_versions_and_who_may_call_it(
    desk: Desk, registry: Registry, have: Any, known: Any
) -> None:
    await have(effect="read")
    await have(version="2")
    await have("mail")
    await known("a-desk", "refund")
    await known("a-all", "*")
    await known("a-mail", "mail")
    shown = await registry.show(ShowTool(name="refund"), developer(desk))
    assert (shown.spec.version, shown.owner, shown.deprecated) == ("2", "w-ledger", None)
    assert [(each.version, each.effect, each.owner) for each in shown.versions] == [
        ("1", "read", "w-ledger"),
        ("2", "external", "w-ledger"),
    ]
    assert shown.granted == ("a-all", "a-desk")
    with pytest.raises(Invalid, match="no tool 'nothing'"):
        await registry.show(ShowTool(name="nothing"), developer(desk))


async def test_a_deprecated_tool_answers_with_a_warning_until_its_date(
    desk: Desk, registry: Registry, handlers: Handlers, have: Any, worker: Any
) -> None:
    await have()
    soon = int(time.time()) + 3600
    said = DeprecateTool(name="refund", why="use pay_back", until_s=soon)
    assert (await registry.deprecate(said, developer(desk))).changed
    assert not (await registry.deprecate(said, developer(desk))).changed
    await desk.caught_up()
    found = await handlers.invoke(InvokeTool(tool="refund", arguments={}), desk.context())
    assert found.result == "done"
    assert found.warning.startswith("'refund' version 1 is deprecated: use pay_back; it is refused from ")
    listed = await registry.list_tools(ListTools(), desk.context())
    assert (set(listed.deprecated), listed.owners) == ({"refund"}, {"refund": "w-ledger"})
    over = DeprecateTool(name="refund", why="use pay_back", until_s=1)
    assert (await registry.deprecate(over, developer(desk))).changed
    await desk.caught_up()
    with pytest.raises(Invalid, match="use pay_back; it is refused by now"):
        await handlers.invoke(InvokeTool(tool="refund", arguments={}), desk.context())
    assert len(worker.calls) == 1
    assert (await desk.types(TOOL))[-2:] == ["requested.v1", "finished.v1"]
    assert (await registry.list_tools(ListTools(), desk.context())).tools == ()


@pytest.mark.parametrize("how", ["taken back", "a new version"])
async def test_a_deprecation_ends(desk: Desk, registry: Registry, handlers: Handlers, have: Any, how: str) -> None:
    await have()
    await registry.deprecate(DeprecateTool(name="refund", until_s=1), developer(desk))
    if how == "taken back":
        await registry.deprecate(DeprecateTool(name="refund", withdraw=True), developer(desk))
        again = await registry.deprecate(DeprecateTool(name="refund", withdraw=True), developer(desk))
        assert not again.changed
    else:
        await have(version="2")
    await desk.caught_up()
    found = await handlers.invoke(InvokeTool(tool="refund", arguments={}), desk.context())
    assert (found.result, found.warning) == ("done", "")


async def test_its_owner_and_developers_deprecate_a_tool(desk: Desk, registry: Registry, have: Any) -> None:
    await have()
    with pytest.raises(Forbidden, match="belongs to w-ledger"):
        await registry.deprecate(DeprecateTool(name="refund"), person(desk, "w-other"))
    assert await desk.types(CATALOG) == ["registered.v1"]
    assert (await registry.deprecate(DeprecateTool(name="refund"), person(desk, "w-ledger"))).changed


async def test_a_worker_registers_what_it_was_granted(desk: Desk, registry: Registry, known: Any) -> None:
    await known("w-ledger", "refund")
    first = await registry.register(RegisterTool(spec=spec()), person(desk, "w-ledger"))
    again = await registry.register(RegisterTool(spec=spec()), person(desk, "w-ledger"))
    assert (first.changed, again.changed) == (True, False)
    with pytest.raises(Forbidden, match="may not register 'mail'"):
        await registry.register(RegisterTool(spec=spec("mail")), person(desk, "w-ledger"))
    assert await desk.types(CATALOG) == ["registered.v1"]


async def test_another_worker_cannot_take_a_tool_however_quick(desk: Desk, registry: Registry, known: Any) -> None:
    for principal in ("w-ledger", "w-other"):
        await known(principal, "refund")
    await registry.register(RegisterTool(spec=spec()), person(desk, "w-ledger"))
    with pytest.raises(Forbidden, match="belongs to w-ledger"):
        await registry.register(RegisterTool(spec=spec(version="2")), person(desk, "w-other"))


async def test_an_agent_registers_nothing_and_a_developer_anything(desk: Desk, registry: Registry, known: Any) -> None:
    await known("a-desk", "refund")
    with pytest.raises(Forbidden):
        await registry.register(RegisterTool(spec=spec()), desk.context())
    assert (await registry.register(RegisterTool(spec=spec()), developer(desk))).changed


async def test_a_tool_whose_back_end_this_machine_lacks_is_not_registered(desk: Desk, registry: Registry) -> None:
    boxed = {"kind": "sandboxed", "source": "def refund(): ...", "function": "refund"}
    with pytest.raises(Unavailable, match="'refund' cannot run here: there is no gVisor"):
        await registry.register(RegisterTool(spec=spec(**boxed, profile=Profile(backend="runsc"))), developer(desk))
    assert await desk.types(CATALOG) == []
    assert (await registry.register(RegisterTool(spec=spec(**boxed, profile=Profile())), developer(desk))).changed


@pytest.mark.parametrize("field", ["input_schema", "output_schema"])
async def test_what_is_no_json_schema_is_not_registered(desk: Desk, registry: Registry, field: str) -> None:
    broken = spec(**{field: {"type": "thing"}})
    with pytest.raises(Invalid, match="not a JSON Schema"):
        await registry.register(RegisterTool(spec=broken), developer(desk))


@pytest.mark.parametrize(
    ("mark", "said"),
    [({"role": "recipent"}, "no role 'recipent'"), ({"role": "object", "of": "A File"}, "a word in lower case, `of`")],
)
async def test_a_mark_that_means_nothing_is_not_registered(
    desk: Desk, registry: Registry, mark: JsonValue, said: str
) -> None:
    schema: JsonValue = {"type": "object", "properties": {"to": {"type": "string", "x-dominie": mark}}}
    with pytest.raises(Invalid, match=said):
        await registry.register(RegisterTool(spec=spec(input_schema=schema)), developer(desk))


async def test_a_mark_where_no_part_of_a_result_is_looked_for_is_not_registered(desk: Desk, registry: Registry) -> None:
    note = {"type": "string", "x-dominie": {"integrity": "untrusted"}}
    schema = {"x-dominie": {"integrity": "record"}, "additionalProperties": note}
    with pytest.raises(Invalid, match="a mark counts on a property"):
        await registry.register(RegisterTool(spec=spec(output_schema=schema)), developer(desk))
    optional = {"x-dominie": {"integrity": "record"}, "properties": {"note": {"anyOf": [note, {"type": "null"}]}}}
    assert (await registry.register(RegisterTool(spec=spec(output_schema=optional)), developer(desk))).changed


async def test_an_agent_is_shown_what_it_may_call_and_a_person_all(desk: Desk, registry: Registry, have: Any) -> None:
    await have("refund")
    await have("mail", kind="sandboxed", source="def mail(): ...", function="mail")
    granted = await registry.list_tools(ListTools(), desk.context(grants=Grants(tools=("mail",))))
    assert [(tool.name, tool.source) for tool in granted.tools] == [("mail", None)]
    everything = await registry.list_tools(ListTools(), developer(desk))
    assert [tool.name for tool in everything.tools] == ["mail", "refund"]
    assert not (await registry.list_tools(ListTools(), desk.context(tenant="other"))).tools
    with pytest.raises(Unauthenticated):
        await registry.list_tools(ListTools(), person(desk, "a-desk"))
