"""The read model of the catalog."""

from typing import Any

import pytest

from dominie_contracts import Payload, Recorded
from dominie_contracts.tool import CATALOG, ToolRegistered, ToolSpec
from dominie_kit.handler_testing import Desk
from dominie_tool.projection import Catalog

pytestmark = pytest.mark.anyio


async def stored(desk: Desk, category: str, *payloads: Payload, **more: str) -> tuple[Recorded, ...]:
    return await desk.append(category, f"s{await desk.store.last_position()}", *payloads, **more)


def registered(name: str, version: str = "1") -> ToolRegistered:
    return ToolRegistered(spec=ToolSpec(name=name, version=version, input_schema={}), owner="w-1")


async def test_the_catalog_holds_each_tenants_last_versions_by_name(desk: Desk) -> None:
    catalog = Catalog()
    for event in (
        *await stored(desk, CATALOG, registered("send"), registered("refund"), registered("refund", "2")),
        *await stored(desk, CATALOG, registered("send", "9"), tenant="other"),
    ):
        catalog.apply(event)
    assert [(tool.spec.name, tool.spec.version) for tool in catalog.all("acme")] == [("refund", "2"), ("send", "1")]
    assert catalog.find("other", "refund") is None
    catalog.reset()
    assert (catalog.all("acme"), catalog.position) == ([], 0)


async def test_it_knows_where_not_everybody_may_read(desk: Desk) -> None:
    catalog = Catalog()
    marked: Any = {"properties": {"a": {"x-dominie": {"readers": ["@x.org"]}}}}
    spec = ToolSpec(name="find", input_schema={}, output_schema=marked)
    for event in (
        *await stored(desk, CATALOG, ToolRegistered(spec=spec, owner="w-1"), registered("find", "2")),
        *await stored(desk, CATALOG, registered("send"), tenant="other"),
    ):
        catalog.apply(event)
    assert (catalog.restricts("acme"), catalog.restricts("other")) == (True, False)
