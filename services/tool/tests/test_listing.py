"""What the registry has of a tool: versions, owners, grants; and its deprecation, before and after its date."""

import time
from dataclasses import replace
from typing import Any

import pytest

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.catalog import DeprecateTool, ShowTool
from dominie_contracts.identity import PRINCIPAL
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.tool import CATALOG, TOOL, InvokeTool, ListTools
from dominie_kit.context import Context
from dominie_kit.edge.standing import Standing
from dominie_kit.handler_testing import Desk
from dominie_tool.handlers import Handlers
from dominie_tool.listing import Registry
from dominie_tool.projection import Catalog

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry(desk: Desk) -> Registry:
    catalog, standing = Catalog(), Standing()
    desk.follow(catalog, CATALOG)
    desk.follow(standing, PRINCIPAL)
    return Registry(desk.store, desk.actions(TOOL), standing, catalog)


def person(desk: Desk, principal: str = "u-dana", *groups: str) -> Context:
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
    listed = await handlers.list_tools(ListTools(), desk.context())
    assert (set(listed.deprecated), listed.owners) == ({"refund"}, {"refund": "w-ledger"})
    over = DeprecateTool(name="refund", why="use pay_back", until_s=1)
    assert (await registry.deprecate(over, developer(desk))).changed
    await desk.caught_up()
    with pytest.raises(Invalid, match="use pay_back; it is refused by now"):
        await handlers.invoke(InvokeTool(tool="refund", arguments={}), desk.context())
    assert len(worker.calls) == 1
    assert (await desk.types(TOOL))[-2:] == ["requested.v1", "finished.v1"]
    assert (await handlers.list_tools(ListTools(), desk.context())).tools == ()


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
