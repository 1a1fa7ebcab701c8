"""Artifacts on a real broker: who is no party of a run or a call gets nothing, and nobody gets at the store itself."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
import pytest
from nats.aio.msg import Msg

from dominie.keys import KeyPair
from dominie_audit.adapters.artifacts import Sweeper
from dominie_audit.projection import Log
from dominie_contracts import Conflict, Forbidden, Invalid, Unauthenticated, Unavailable
from dominie_contracts.artifact import CHUNK_BYTES, CallPass, Chunk, Reference, names
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.subjects import ARTIFACTS, SERVICES, call_subject
from dominie_contracts.token import Grants
from dominie_contracts.tool import (
    ChunkPut,
    FetchChunk,
    InvokeTool,
    KeepArtifact,
    PutChunk,
    RegisteredTool,
    RegisterTool,
    ToolResult,
    ToolSpec,
    WorkerAnswer,
    WorkerCall,
)
from dominie_guardrail import build as build_guardrail
from dominie_guardrail.settings import Settings as GuardrailSettings
from dominie_identity import build as build_identity
from dominie_identity.settings import Settings as IdentitySettings
from dominie_kit.blobs import StreamBlobs
from dominie_kit.bus import Inner
from dominie_kit.handler_testing import term
from dominie_kit.settings import KitSettings
from dominie_kit.testing import House, Peer, connected, house, serving
from dominie_tool import build as build_tool
from dominie_tool.settings import Settings as ToolSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
GRANTS = Grants(tools=("file", "show"))
LIMIT = 3 * CHUNK_BYTES
TEXT = b"of nobody in particular " * 8000


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Scene:
    """A house with identity, guardrail and the tool service; agents of two tenants, and two workers."""

    house: House
    settings: KitSettings
    keys: dict[str, KeyPair]

    async def token(self, peer: Peer, run: str, user: str = "u-dana") -> str:
        """An agent's token for a run."""
        return (await peer.ask(MintRunToken(user=user, run=run), RunToken)).token


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with house(tmp_path_factory.mktemp("house")) as found:
        shared = {"nats_url": found.url, "keys": found.keys.path, "state": found.keys.path / "state", "local": True}
        async with (
            serving(build_identity(IdentitySettings.model_validate(shared))),
            serving(build_guardrail(GuardrailSettings.model_validate(shared))),
            serving(build_tool(ToolSettings.model_validate({**shared, "tool_artifact_bytes": LIMIT}))),
        ):
            keys = {
                "desk": await found.register("a-desk", grants=GRANTS, users=("u-dana",)),
                "other": await found.register("a-other", grants=GRANTS, users=("u-dana",)),
                "abroad": await found.register("a-desk", tenant="abroad", grants=GRANTS, users=("u-dana",)),
                "files": await found.register("w-files", grants=Grants(tools=("file",))),
                "shows": await found.register("w-shows", grants=Grants(tools=("show",))),
            }
            yield Scene(found, KitSettings.model_validate(shared), keys)


@pytest.fixture
async def desk(scene: Scene) -> AsyncIterator[Peer]:
    async with connected(scene.house.url, scene.keys["desk"], "acme", "a-desk") as peer:
        yield peer


async def keep(peer: Peer, token: str | None, data: bytes = TEXT, call: CallPass | None = None) -> Reference:
    chunks = [
        (await peer.ask(PutChunk(data=base64.b64encode(part).decode(), call=call), ChunkPut, token=token)).name
        for part in (data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))
    ]
    return await peer.ask(
        KeepArtifact(chunks=tuple(chunks), media_type="text/plain", call=call), Reference, token=token
    )


async def fetch(peer: Peer, token: str | None, name: str, call: CallPass | None = None, index: int = 0) -> bytes:
    found = await peer.ask(FetchChunk(name=name, index=index, call=call), Chunk, token=token)
    return base64.b64decode(found.data)


async def test_the_run_that_put_it_gets_it_and_no_other_does(scene: Scene, desk: Peer) -> None:
    token = await scene.token(desk, "r-1")
    found = await keep(desk, token)
    assert await fetch(desk, token, found.name) + await fetch(desk, token, found.name, index=1) == TEXT
    with pytest.raises(Forbidden, match="holds no artifact"):
        await fetch(desk, await scene.token(desk, "r-2"), found.name)
    for key, tenant, agent in (("other", "acme", "a-other"), ("abroad", "abroad", "a-desk")):
        async with connected(scene.house.url, scene.keys[key], tenant, agent) as peer:
            with pytest.raises(Forbidden):
                await fetch(peer, await scene.token(peer, f"r-1-{key}"), found.name)
            with pytest.raises(Forbidden):
                await fetch(peer, token, found.name)
    for call in (None, CallPass(tool="file", action="1", agent="a-desk", names=(found.name,), run="r-1", proof="x.y")):
        async with connected(scene.house.url, scene.keys["files"], "acme", "w-files") as worker:
            with pytest.raises((Unauthenticated, Forbidden)):
                await fetch(worker, None, found.name, call)


async def test_what_is_refused_says_why_and_keeps_nothing(scene: Scene, desk: Peer) -> None:
    token = await scene.token(desk, "r-bad")
    whole, short = [
        (await desk.ask(PutChunk(data=base64.b64encode(data).decode()), ChunkPut, token=token)).name
        for data in (b"x" * CHUNK_BYTES, b"y")
    ]
    bad = {
        "chunk-missing": (whole, "0" * 32),
        "chunk-out-of-order": (short, whole),
        "too-large": (whole, whole, whole, short),
    }
    for reason, chunks in bad.items():
        with pytest.raises(Invalid) as raised:
            await desk.ask(KeepArtifact(chunks=chunks, media_type="text/plain"), Reference, token=token)
        assert raised.value.extra["reason"] == reason
    with pytest.raises(Invalid) as raised:
        await desk.ask(PutChunk(data="eA==", size=LIMIT + 1), ChunkPut, token=token)
    assert raised.value.extra == {"size": LIMIT + 1, "limit": LIMIT, "reason": "too-large"}
    for data in ("", "not base64", "eA==\n"):
        with pytest.raises(Invalid):
            await desk.ask(PutChunk(data=data), ChunkPut, token=token)
    for name in ("*", ">", "../x"):
        with pytest.raises(Invalid):
            await desk.ask(FetchChunk.model_construct(name=name, index=0, call=None), Chunk, token=token)
        with pytest.raises(Invalid, match="was not put"):
            await desk.ask(KeepArtifact(chunks=(name,), media_type="text/plain"), Reference, token=token)


async def test_an_argument_that_the_run_does_not_hold_is_refused_and_leaves_no_trail(scene: Scene, desk: Peer) -> None:
    await register(scene, "w-files", "file")
    found = await keep(desk, await scene.token(desk, "r-mine"))
    token = await scene.token(desk, "r-theirs")
    before = await scene.house.operator.client.jetstream().stream_info("EVENTS_0", subjects_filter="evt.*.*.tool.*")
    with pytest.raises(Forbidden, match="holds no artifact"):
        command = InvokeTool(tool="file", arguments={"text": found.stand_in})
        await desk.ask(command, ToolResult, resource="file", token=token)
    after = await scene.house.operator.client.jetstream().stream_info("EVENTS_0", subjects_filter="evt.*.*.tool.*")
    assert (before.state.subjects or {}) == (after.state.subjects or {})


async def register(scene: Scene, worker: str, tool: str) -> None:
    """Have a worker register a tool of its own."""
    spec = ToolSpec(name=tool, effect="read", timeout_s=20, input_schema={"type": "object"})
    async with connected(scene.house.url, scene.keys[worker.removeprefix("w-")], "acme", worker) as peer:
        with anyio.fail_after(20):
            while True:
                try:
                    await peer.ask(RegisterTool(spec=spec), RegisteredTool)
                    return
                except (Unavailable, Conflict):
                    await anyio.sleep(0.05)


async def test_a_worker_gets_the_arguments_of_its_call_and_nothing_else(scene: Scene, desk: Peer) -> None:
    await register(scene, "w-files", "file")
    await register(scene, "w-shows", "show")
    token = await scene.token(desk, "r-call")
    given, withheld = await keep(desk, token), await keep(desk, token, TEXT[:-1])
    tried = list[str]()

    async with (
        connected(scene.house.url, scene.keys["files"], "acme", "w-files") as worker,
        connected(scene.house.url, scene.keys["shows"], "acme", "w-shows") as other,
    ):

        async def work(message: Msg) -> None:
            call = WorkerCall.model_validate_json(message.data)
            shown = call.call_pass
            tried.append("given" if shown.names == (given.name,) else "what was never asked for")
            data = await fetch(worker, None, given.name, shown) + await fetch(worker, None, given.name, shown, 1)
            more = shown.model_copy(update={"names": (given.name, withheld.name)})
            elsewhere = shown.model_copy(update={"run": "r-1"})
            for peer, name, call_pass in (
                (worker, withheld.name, shown),
                (worker, withheld.name, more),
                (worker, given.name, elsewhere),
                (worker, given.name, shown.model_copy(update={"tool": "show"})),
                (other, given.name, shown),
            ):
                tried.append(await outcome(peer, name, call_pass))
            result = await keep(worker, None, data.upper(), shown)
            await worker.client.publish(
                call.reply_to, WorkerAnswer(result={"text": result.stand_in}).model_dump_json().encode()
            )

        await worker.client.subscribe(call_subject("acme", "file"), queue="file", cb=work)
        await worker.client.flush()
        command = InvokeTool(tool="file", arguments={"text": given.stand_in})
        reply = await desk.ask(command, ToolResult, resource="file", token=token, timeout_s=30)
    assert tried == ["given", *["refused"] * 5]
    (name,) = names(reply.result)
    assert await fetch(desk, token, name) + await fetch(desk, token, name, index=1) == TEXT.upper()


async def outcome(peer: Peer, name: str, call: CallPass) -> str:
    """Whether a worker gets an artifact; what is raised in a subscription ends it."""
    try:
        await fetch(peer, None, name, call)
    except Forbidden:
        return "refused"
    return "got"


@pytest.mark.parametrize("subject", ["art.acme.key.c.x", ARTIFACTS, "$JS.API.STREAM.INFO.ARTIFACTS"])
async def test_no_agent_and_no_worker_gets_at_the_store(scene: Scene, desk: Peer, subject: str) -> None:
    async with connected(scene.house.url, scene.keys["files"], "acme", "w-files") as worker:
        for peer in (desk, worker):
            for wanted in (subject, f"$JS.API.DIRECT.GET.ARTIFACTS.{subject}", "$JS.API.STREAM.MSG.GET.ARTIFACTS"):
                assert not await peer.may_publish(wanted)
            assert not await peer.may_subscribe(subject)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_gets_at_the_store_if_it_has_to(scene: Scene, service: str) -> None:
    inner, refused = Inner(service, scene.settings), list[str]()
    await inner.open()

    async def note(error: Exception) -> None:
        refused.append(str(error))

    inner.client._error_cb = note
    tried = {
        "put": "art.acme.key.c.mine",
        "get": "$JS.API.DIRECT.GET.ARTIFACTS.art.acme.key.c.mine",
        "remove": "$JS.API.STREAM.MSG.DELETE.ARTIFACTS",
        "purge": "$JS.API.STREAM.PURGE.ARTIFACTS",
        "drop": "$JS.API.STREAM.DELETE.ARTIFACTS",
    }
    allowed = set()
    try:
        for what, subject in tried.items():
            before = len(refused)
            await inner.client.publish(subject, b'{"seq": 999999999}')
            await inner.client.flush()
            await inner.client.flush()
            if len(refused) == before:
                allowed.add(what)
    finally:
        await inner.close()
    assert allowed == {"tool": {"put", "get"}, "audit": {"get", "remove"}}.get(service, set())


async def test_audit_sweeps_with_its_own_rights(scene: Scene, desk: Peer) -> None:
    token = await scene.token(desk, "r-swept")
    found = await keep(desk, token, b"swept " * 50_000)
    inner = Inner("audit", scene.settings)
    await inner.open()
    try:
        with Log(term=term) as log:
            blobs = StreamBlobs(inner.client)

            async def caught_up(timeout_s: float) -> None:
                """Nothing refers to anything here."""

            await Sweeper(log, blobs, caught_up, grace_s=3600, interval_s=1).sweep()
            assert await fetch(desk, token, found.name)
            sweeper = Sweeper(log, blobs, caught_up, grace_s=0, interval_s=1)
            before = await sweeper.count()
            assert before.artifacts >= 1 and before.bytes > 300_000 and before.chunks >= 3
            await sweeper.sweep()
            after = await sweeper.count()
            assert (after.artifacts, after.chunks, after.bytes) == (0, 0, 0)
            assert after.swept >= before.artifacts + before.chunks
    finally:
        await inner.close()
    with pytest.raises(Forbidden, match="holds no artifact"):
        await fetch(desk, token, found.name)
