"""The tool service, put together."""

from functools import partial

from pydantic import JsonValue

from dominie_contracts.action import Finished
from dominie_contracts.catalog import DeprecateTool, ShowTool
from dominie_contracts.endorsing import (
    ENDORSEMENT,
    Endorse,
    Endorsed,
    EndorsementRevoked,
    RevokeEndorsement,
    ShowLabels,
)
from dominie_contracts.model import Chat, Completion
from dominie_contracts.rights import serves
from dominie_contracts.secrets import SECRET, KeepSecret, ListSecrets, RemoveSecret
from dominie_contracts.servers import ListServers, MountServer, ReviewServer, Server, UnmountServer
from dominie_contracts.tool import (
    CATALOG,
    TOOL,
    BeginLocal,
    FetchChunk,
    FinishLocal,
    InvokeTool,
    KeepArtifact,
    ListTools,
    PutChunk,
    RegisterTool,
    ToolSpec,
)
from dominie_eventstore import EventStore
from dominie_kit import Action, Actions, Context, Service
from dominie_kit.artifacts import Artifacts
from dominie_kit.blobs import StreamBlobs
from dominie_kit.checks.installed import installed
from dominie_kit.checks.looking import Looking
from dominie_kit.governed.given import Provenance
from dominie_tool.adapters.artifacts import Parties, Values
from dominie_tool.adapters.boxes import Boxes
from dominie_tool.adapters.checking import Checking
from dominie_tool.adapters.classifier import Classifier
from dominie_tool.adapters.workers import Workers
from dominie_tool.egress import Egress, Secret
from dominie_tool.endorsing.counting import Counting
from dominie_tool.endorsing.handlers import Endorsing
from dominie_tool.endorsing.projection import Endorsements
from dominie_tool.handlers import Handlers
from dominie_tool.mcp.calls import Calls
from dominie_tool.mcp.handlers import Register, ServerHandlers
from dominie_tool.mcp.profile import check_network
from dominie_tool.mcp.servers import Running
from dominie_tool.mcp.session import Bounds
from dominie_tool.projection import Catalog, Tool
from dominie_tool.provenance.labelling import Labelling
from dominie_tool.provenance.sources import Sources
from dominie_tool.registry import Registry
from dominie_tool.sandbox import Limits
from dominie_tool.secrets.handlers import Keeping, Vault
from dominie_tool.secrets.projection import Kept
from dominie_tool.settings import Settings


def build(
    settings: Settings | None = None, store: EventStore | None = None, *, egress: Egress | None = None
) -> Service:
    """The tool service; in tests `store` replaces the event log, and `egress` the way out to the internet."""
    settings = settings or Settings()
    service = Service("tool", settings, store=store)
    catalog, sources = Catalog(), Sources()
    provenance, endorsements = Provenance(), Endorsements()
    settled = partial(service.read_models.has, "endorsements")
    artifacts = Artifacts(StreamBlobs(service.inner.client), max_bytes=settings.tool_artifact_bytes)
    values = Values(artifacts)
    kept = Kept()
    keeping = Keeping(service.store, service.actions(SECRET), kept, service.keyring.of)
    vault = Vault(kept, service.keyring.of)
    egress = egress or Egress.to_the_internet(settings.tool_egress_private, settings.bus_hosts)
    boxes = Boxes(settings, values, egress, vault.of)
    workers = Workers(service.inner.client, service.instance)

    async def call_worker(tool: Tool, arguments: dict[str, JsonValue], action: Action) -> JsonValue:
        return await workers.call(tool.spec, arguments, action.id, action.context)

    async def layers(spec: ToolSpec) -> tuple[str, ...]:
        return await (calls.layers() if spec.kind == "mcp" else boxes.layers(spec))

    def may_serve(tenant: str, worker: str, name: str) -> bool:
        tool, registered = catalog.find(tenant, name), service.standing.find(tenant, worker)
        return tool is not None and registered is not None and serves(registered, tool.spec, tool.state.owner)

    bounds = Bounds(
        Limits(memory_mb=settings.tool_mcp_memory_mb, processes=settings.tool_mcp_processes, scratch_mb=64),
        start_s=settings.tool_mcp_start_s,
        output_bytes=settings.tool_mcp_output_bytes,
        secret=(settings.keys, settings.state),
    )
    running = Running(
        bounds,
        egress,
        most=settings.tool_mcp_servers,
        connections=settings.tool_mcp_connections,
        idle_s=settings.tool_mcp_idle_s,
    )
    register = Register(service.store, service.actions(TOOL), catalog)

    async def given(tenant: str, server: Server, by: str) -> tuple[Secret, ...]:
        check_network(server, settings.most_of(by))
        return await vault.of_server(tenant, server, by)

    calls = Calls(running, values, register, given)
    servers = ServerHandlers(register, catalog, calls)
    parties = Parties(artifacts, service.keyring.by_id, may_serve)
    actions = service.actions(TOOL)
    registry = Registry(service.store, actions, service.standing, catalog, lacking=boxes.lacking, most=settings.most_of)
    checking = _checking(settings, service, actions)
    counting = Counting(endorsements, service.store, provenance, actions, service.standing, settled)
    handlers = Handlers(
        service.store,
        actions,
        catalog,
        Labelling(service.store, catalog, sources, provenance, counting, restricts=checking.restricts),
        values=values,
        checking=checking,
        worker=call_worker,
        sandbox=boxes.run,
        mcp=calls.run,
        layers=layers,
    )
    endorsing = Endorsing(
        service.store,
        service.actions(ENDORSEMENT),
        service.standing,
        endorsements,
        service.keyring.of,
        settled,
        observe=settings.observe,
    )
    service.resource(workers.listening)
    service.resource(boxes.open)
    service.resource(running.open)
    service.follow(catalog, CATALOG)
    service.follow(sources, TOOL, takes=(Finished,))
    service.follow(kept, SECRET, name="secrets")
    service.follow(endorsements, ENDORSEMENT, takes=(Endorsed, EndorsementRevoked), own=False)
    provenance.follow(service)
    service.route(KeepSecret, keeping.keep, token=False)
    service.route(RemoveSecret, keeping.remove, token=False)
    service.route(ListSecrets, keeping.all, token=False)
    service.route(Endorse, endorsing.endorse, token=False)
    service.route(RevokeEndorsement, endorsing.revoke, token=False)
    service.route(ShowLabels, endorsing.show, token=False)
    service.route(RegisterTool, registry.register, token=False)
    service.route(ListTools, registry.list_tools, token=False)
    service.route(ShowTool, registry.show, token=False)
    service.route(DeprecateTool, registry.deprecate, token=False)
    service.route(MountServer, servers.mount, token=False)
    service.route(ReviewServer, servers.review, token=False)
    service.route(ListServers, servers.list_servers, token=False)
    service.route(UnmountServer, servers.unmount, token=False)
    service.route(InvokeTool, handlers.invoke, resource="tool")
    service.route(BeginLocal, handlers.begin)
    service.route(FinishLocal, handlers.finish)
    service.route(PutChunk, parties.put, token=False)
    service.route(KeepArtifact, parties.keep, token=False)
    service.route(FetchChunk, parties.fetch, token=False)
    return service


def _checking(settings: Settings, service: Service, actions: Actions) -> Checking:
    async def ask(context: Context, chat: Chat, key: str) -> Completion:
        return await service.inner.call(context, chat, Completion, key=key)

    model = settings.tool_checks_model
    return Checking(
        Looking(installed(), cpu_s=settings.tool_checks_cpu_s),
        actions,
        results=settings.result_checks,
        classifier=Classifier(model, ask, timeout_s=settings.tool_checks_model_s) if model else None,
    )
