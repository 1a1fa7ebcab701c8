"""Artifacts in arguments and results: the schema sees the value, policies and the record see what stands for it."""

from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from dominie_contracts import ApprovalRequired, Conflict, DeadlineExceeded, Forbidden, Invalid, ToolFailed, Unavailable
from dominie_contracts.action import Finished, Requested
from dominie_contracts.artifact import CHUNK_BYTES, Reference
from dominie_contracts.registry import parse_event
from dominie_contracts.token import Fork
from dominie_contracts.tool import TOOL, BeginLocal, FinishLocal, InvokeTool, KeepArtifact, ToolSpec
from dominie_kit.artifacts import Artifacts
from dominie_kit.blobs import Blob
from dominie_kit.context import Context
from dominie_kit.governed.work import NotDone
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_tool.adapters.artifacts import Parties, Values, of_run
from dominie_tool.adapters.boxes import Boxes
from dominie_tool.aggregate import State
from dominie_tool.handlers import Handlers
from dominie_tool.projection import tool_of
from dominie_tool.settings import Settings

pytestmark = pytest.mark.anyio
STRING = {"type": "string", "minLength": 5}
ASK = PERMIT_ALL + '@id("look") @ask("finance") @why("look first") forbid (principal, action, resource);'


async def keep(desk: Desk, context: Context, data: bytes, media_type: Any = "text/plain") -> Reference:
    artifacts, holding = Artifacts(desk.blobs), of_run(context)
    parts = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    return await artifacts.keep(holding, [await artifacts.put(holding, part) for part in parts], media_type)


def call(**arguments: JsonValue) -> InvokeTool:
    return InvokeTool(tool="file", arguments=arguments)


async def payloads(desk: Desk) -> list[Any]:
    return [parse_event(event.type, event.envelope.data) async for event in desk.store.read_all(category=TOOL)]


async def test_the_worker_is_sent_the_reference_and_the_record_has_it(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    await have("file", {"text": STRING})
    context = desk.context()
    found = await keep(desk, context, b"a long text" * 20_000)
    worker.results["file"] = {"copy": found.stand_in}
    done = await handlers.invoke(call(text=found.stand_in), context)
    assert worker.calls == [("file", {"text": found.stand_in})]
    written = await payloads(desk)
    assert [each.arguments for each in written if isinstance(each, Requested)] == [{"text": found.stand_in}]
    assert (
        [each.result for each in written if isinstance(each, Finished)] == [done.result] == [{"copy": found.stand_in}]
    )


@pytest.mark.parametrize(
    ("data", "media_type", "schema"),
    [(b"four", "text/plain", STRING), (b"[1, 2]", "application/json", STRING), (b"[1", "application/json", {})],
)
async def test_the_schema_sees_the_value(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, data: bytes, media_type: str, schema: dict[str, Any]
) -> None:
    await have("file", {"text": schema})
    context = desk.context()
    found = await keep(desk, context, data, media_type)
    with pytest.raises(Invalid):
        await handlers.invoke(call(text=found.stand_in), context)
    assert worker.calls == []


async def test_what_policies_decide_by_is_no_artifact(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await have("file", {"to": "recipient"})
    context = desk.context()
    found = await keep(desk, context, b"eve@example.com")
    with pytest.raises(Invalid, match="policies decide by 'to'"):
        await handlers.invoke(call(to=found.stand_in), context)
    assert worker.calls == []


async def test_an_artifact_of_another_run_is_refused_and_nothing_written(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    await have("file", {"text": STRING})
    found = await keep(desk, desk.context(run="r-other"), b"a long text")
    for command in (handlers.invoke, handlers.begin):
        spec = ToolSpec(name="mine", input_schema={})
        wanted: Any = call(text=found.stand_in) if command == handlers.invoke else begin(spec, found)
        with pytest.raises(Forbidden, match="holds no artifact"):
            await command(wanted, desk.context())
    assert worker.calls == await desk.types(TOOL) == []


def begin(spec: ToolSpec, found: Reference) -> BeginLocal:
    return BeginLocal(spec=spec, arguments={"text": found.stand_in}, process="p")


@pytest.mark.parametrize("effect", ["read", "external"])
async def test_a_result_that_was_not_put_is_the_tools_failure(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, effect: str
) -> None:
    await have("file", effect=effect)
    worker.results["file"] = [Reference(name="0" * 32, size=1, media_type="text/plain").stand_in]
    with pytest.raises(ToolFailed, match="its result is not there"):
        await handlers.invoke(call(), desk.context("k"))
    with pytest.raises(ToolFailed):
        await handlers.invoke(call(), desk.context("k"))
    assert (await desk.types(TOOL)).count("finished.v1") == 1


async def test_a_store_that_is_away_is_no_failure_of_the_tool(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await have("file", effect="read")
    worker.results["file"] = Reference(name="0" * 32, size=1, media_type="text/plain").stand_in

    async def away(subject: str) -> Blob | None:
        raise Unavailable("the store of artifacts does not answer")

    monkeypatch.setattr(desk.blobs, "get", away)
    with pytest.raises(Unavailable, match="ask again with the same key"):
        await handlers.invoke(call(), desk.context())
    assert await desk.types(TOOL) == []


async def test_a_yes_is_bound_to_the_bytes(desk: Desk, handlers: Handlers, have: Any) -> None:
    await have("file", {"text": STRING})
    await desk.join("a-desk")
    await desk.publish(ASK)
    digests, context = set(), desk.context()
    for key, data in (("k", b"a long text"), ("k", b"a long text"), ("l", b"a long tale")):
        found = await keep(desk, context, data)
        with pytest.raises(ApprovalRequired) as asked:
            await handlers.invoke(call(text=found.stand_in), desk.context(key))
        digests.add(asked.value.extra["digest"])
    assert len(digests) == 2
    asked_for = [each for each in await payloads(desk) if isinstance(each, Requested)]
    assert [each.arguments["text"]["size"] for each in asked_for] == [11, 11]  # type: ignore[index,call-overload]  # JSON
    with pytest.raises(Conflict, match="another request"):
        await handlers.invoke(call(text=found.stand_in), desk.context("k"))


async def test_a_local_result_is_looked_at_before_it_is_on_record(desk: Desk, handlers: Handlers) -> None:
    context = desk.context()
    found = await keep(desk, context, b"a long text")
    begun = await handlers.begin(begin(ToolSpec(name="mine", input_schema={}), found), context)
    gone = Reference(name="0" * 32, size=1, media_type="text/plain")
    with pytest.raises(Forbidden):
        await handlers.finish(FinishLocal(action=begun.action, result=gone.stand_in, duration_ms=1), context)
    done = await handlers.finish(FinishLocal(action=begun.action, result=found.stand_in, duration_ms=1), context)
    assert done.result == found.stand_in


async def test_a_fork_holds_what_it_was_served(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await have("file", {"text": STRING}, effect="read")
    parent = desk.context("k")
    found = await keep(desk, parent, b"a long text")
    worker.results["file"] = found.stand_in
    await handlers.invoke(call(text=found.stand_in), parent)
    desk.others.record = await desk.last(TOOL)
    context = desk.context("k", run="r-2", fork=Fork(run="r-1", at=10**6))
    served = await handlers.invoke(call(text=found.stand_in), context)
    assert (served.result, len(worker.calls)) == (found.stand_in, 1)
    assert (await Artifacts(desk.blobs).find(of_run(context), found.name)).reference == found


@pytest.mark.parametrize("refused", [True, False])
async def test_all_arguments_together_have_a_limit(desk: Desk, handlers: Handlers, refused: bool) -> None:
    context = desk.context()
    found = await keep(desk, context, b"x" * 40_000)
    parts: list[JsonValue] = [found.stand_in] * (2000 if refused else 3)
    command = BeginLocal(spec=ToolSpec(name="mine", input_schema={}), arguments={"parts": parts}, process="p")
    if not refused:
        assert (await handlers.begin(command, context)).then == "run"
        return
    with pytest.raises(Invalid) as raised:
        await handlers.begin(command, context)
    assert (raised.value.extra["reason"], raised.value.extra["size"]) == ("too-large", 80_000_000)
    assert await desk.types(TOOL) == []


async def test_a_reference_that_says_less_than_there_is_does_not_get_past_the_limit(
    desk: Desk, handlers: Handlers
) -> None:
    context = desk.context()
    found = await keep(desk, context, b"x" * 40_000)
    small = found.model_copy(update={"size": 1})
    parts: list[JsonValue] = [found.stand_in, small.stand_in]
    command = BeginLocal(spec=ToolSpec(name="mine", input_schema={}), arguments={"parts": parts}, process="p")
    with pytest.raises(Invalid, match="not what its reference says"):
        await handlers.begin(command, context)


async def test_at_its_deadline_a_command_stops(desk: Desk, handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    found, given_up = await keep(desk, desk.context(), b"a long text"), list[str]()

    async def never(subject: str) -> Blob | None:
        try:
            await anyio.sleep_forever()
        finally:
            given_up.append(subject)
        return None

    monkeypatch.setattr(desk.blobs, "get", never)
    context = desk.context(deadline_s=0.05)
    parties = Parties(Artifacts(desk.blobs), desk.keyring.by_id, lambda *_: False)
    with anyio.fail_after(30):
        with pytest.raises(DeadlineExceeded):
            await handlers.begin(begin(ToolSpec(name="mine", input_schema={}), found), context)
        with pytest.raises(DeadlineExceeded):
            wanted = KeepArtifact(chunks=("0" * 32,), media_type="text/plain")
            await parties.keep(wanted, desk.context(deadline_s=0.05))
    assert len(given_up) == 2 and await desk.types(TOOL) == []


async def test_a_box_waits_for_the_same_room_and_does_not_run_after_the_deadline(desk: Desk) -> None:
    context, values = desk.context(), Values(Artifacts(desk.blobs))
    arguments: dict[str, JsonValue] = {"text": (await keep(desk, context, b"a long text")).stand_in}
    spec = ToolSpec(name="boxed", input_schema={}, kind="sandboxed", source="def f(text): return 1", function="f")
    boxes, late = Boxes(Settings(), values), desk.context(deadline_s=0.05)
    async with values.whole(arguments, context) as one, values.whole(arguments, context) as two:
        assert one == two == {"text": "a long text"}
        with anyio.fail_after(30), pytest.raises(NotDone) as raised:
            await boxes.run(tool_of(State(), spec), arguments, desk.actions(TOOL).open(late))
    assert isinstance(raised.value.problem, DeadlineExceeded)
    assert await values.load(arguments, context) == one
