"""The tool service's handlers on a log in memory, with a worker and a sandbox that only note what they are asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts import Grants
from dominie_contracts.endorsing import ENDORSEMENT
from dominie_contracts.identity import PRINCIPAL, RUN, Registered
from dominie_contracts.tool import CATALOG, TOOL, ToolRegistered, ToolSpec
from dominie_kit import Action
from dominie_kit.artifacts import Artifacts
from dominie_kit.checks.installed import installed
from dominie_kit.checks.looking import Looking
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.given import Provenance
from dominie_kit.handler_testing import Desk
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.checking import Checking
from dominie_tool.endorsing.counting import Counting
from dominie_tool.endorsing.projection import Endorsements
from dominie_tool.handlers import Handlers
from dominie_tool.projection import Catalog, Tool
from dominie_tool.provenance.labelling import Labelling
from dominie_tool.provenance.sources import Sources
from dominie_tool.registry import Registry


@dataclass
class Runner:
    """Runs no tool: gives each its result, or raises it; and notes what the log held when it was called."""

    desk: Desk
    results: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, JsonValue]]] = field(default_factory=list)
    seen: list[list[str]] = field(default_factory=list)

    async def layers(self, spec: ToolSpec) -> tuple[str, ...]:
        """As a sandbox that has everything."""
        return ("uid", "namespaces")

    async def run(self, tool: Tool, arguments: dict[str, JsonValue], action: Action) -> JsonValue:
        self.calls.append((tool.spec.name, arguments))
        self.seen.append(await self.desk.types(TOOL))
        found = self.results.get(tool.spec.name, "done")
        if isinstance(found, Exception):
            raise found
        result: JsonValue = found
        return result


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def desk() -> Desk:
    desk = Desk("tool")
    await desk.publish()
    return desk


@pytest.fixture
def worker(desk: Desk) -> Runner:
    return Runner(desk)


@pytest.fixture
def sandbox(desk: Desk) -> Runner:
    return Runner(desk)


@pytest.fixture
def instance(desk: Desk, worker: Runner, sandbox: Runner) -> Callable[..., Handlers]:
    """Another instance of the service at each call, with read models of its own."""

    def build(checking: Checking | None = None) -> Handlers:
        catalog, sources, standing, provenance = Catalog(), Sources(), Standing(), Provenance()
        endorsements = Endorsements()
        desk.follow(catalog, CATALOG)
        desk.follow(sources, TOOL)
        desk.follow(endorsements, ENDORSEMENT)
        desk.follow(provenance.families, RUN)
        for category, each in provenance.given.items():
            desk.follow(each, category)
        desk.follow(standing, PRINCIPAL)
        actions = desk.actions(TOOL)
        values = Values(Artifacts(desk.blobs))
        checking = checking or Checking(Looking(installed(), cpu_s=5), actions)
        counting = Counting(endorsements, desk.store, provenance, actions, standing, desk.caught_up)
        return Handlers(
            desk.store,
            actions,
            catalog,
            Labelling(desk.store, catalog, sources, provenance, counting, restricts=checking.restricts),
            values=values,
            checking=checking,
            worker=worker.run,
            sandbox=sandbox.run,
            layers=sandbox.layers,
        )

    return build


@pytest.fixture
def handlers(instance: Callable[[], Handlers]) -> Handlers:
    return instance()


@pytest.fixture
def registry(desk: Desk) -> Registry:
    """On a machine without gVisor."""

    async def lacking(spec: ToolSpec) -> str | None:
        return "there is no gVisor" if spec.profile and spec.profile.backend == "runsc" else None

    catalog, standing = Catalog(), Standing()
    desk.follow(catalog, CATALOG)
    desk.follow(standing, PRINCIPAL)
    return Registry(desk.store, desk.actions(TOOL), standing, catalog, lacking=lacking)


def tool(name: str = "refund", properties: dict[str, Any] | None = None, **more: Any) -> ToolSpec:
    """A tool whose arguments may have roles: {"amount": "amount"}."""
    schema = {
        key: {"x-dominie": {"role": value}} if isinstance(value, str) else value
        for key, value in (properties or {}).items()
    }
    return ToolSpec.model_validate(
        {"name": name, "input_schema": {"type": "object", "properties": schema}, **more},
    )


@pytest.fixture
def have(desk: Desk) -> Callable[..., Any]:
    """Register a tool, past the handlers."""

    async def register(name: str = "refund", properties: dict[str, Any] | None = None, **more: Any) -> None:
        event = ToolRegistered(spec=tool(name, properties, **more), owner="w-ledger")
        await desk.append(CATALOG, name, event)
        await desk.caught_up()

    return register


@pytest.fixture
def known(desk: Desk) -> Callable[..., Any]:
    """Register a principal with grants."""

    async def register(principal: str, *tools: str) -> None:
        grants = Grants(tools=tools)
        event = Registered(
            tenant="acme",
            principal=principal,
            nkey="U",
            sponsor=None,
            grants=grants,
            users=(),
            groups=(),
            by="operator",
        )
        await desk.append(PRINCIPAL, principal, event)
        await desk.caught_up()

    return register
