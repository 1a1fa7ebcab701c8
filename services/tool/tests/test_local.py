"""Functions in the agent's own process: recorded and decided before they run, finished after."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from pydantic import JsonValue

from dominie_contracts import Conflict, Forbidden, Invalid, ToolFailed
from dominie_contracts.audit import FromRecord
from dominie_contracts.token import Fork
from dominie_contracts.tool import TOOL, BeginLocal, Begun, FinishLocal, InvokeTool, ToolSpec
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_tool.handlers import Handlers

pytestmark = pytest.mark.anyio

NO_SHELL = PERMIT_ALL + '@id("shell") @why("no shell") forbid (principal, action == Action::"tool.begin", resource);'
BEGUN = ["requested.v1", "decided.v1", "started.v1"]
SHORT_S = 0.5


def begin(process: str = "p1", arguments: dict[str, JsonValue] | None = None, **more: Any) -> BeginLocal:
    schema = {"type": "object", "properties": {"cents": {"type": "integer", "x-dominie": {"role": "amount"}}}}
    spec = ToolSpec.model_validate({"name": "pay", "input_schema": schema, **more})
    return BeginLocal(spec=spec, arguments=arguments or {}, process=process)


def finish(begun: Begun, **more: Any) -> FinishLocal:
    return FinishLocal.model_validate({"action": begun.action, "duration_ms": 1, **more})


async def test_it_is_begun_on_the_record_and_finished(desk: Desk, handlers: Handlers) -> None:
    begun = await handlers.begin(begin(), desk.context())
    assert (begun.then, await desk.types(TOOL)) == ("run", BEGUN)
    done = await handlers.finish(finish(begun, result=7), desk.context())
    assert (done.result, done.action) == (7, begun.action)
    events = [event async for event in desk.store.read_all(category=TOOL)]
    assert [events[2].envelope.data["enforcement"], events[3].envelope.data["result"]] == ["cooperative", 7]


async def test_what_ran_before_is_answered_from_the_record(desk: Desk, instance: Callable[[], Handlers]) -> None:
    first, second = instance(), instance()
    begun = await first.begin(begin(), desk.context("k"))
    await first.finish(finish(begun, result=7), desk.context())
    again = await second.begin(begin("p2"), desk.context("k"))
    assert (again.then, again.result) == ("finished", 7)


async def test_a_finish_that_is_repeated_changes_nothing(desk: Desk, handlers: Handlers) -> None:
    begun = await handlers.begin(begin(), desk.context("k"))
    for _ in range(2):
        await handlers.finish(finish(begun, result=7), desk.context())
    assert await desk.types(TOOL) == [*BEGUN, "finished.v1"]


async def test_a_function_that_fails_has_failed(desk: Desk, handlers: Handlers) -> None:
    begun = await handlers.begin(begin(), desk.context("k"))
    await handlers.finish(finish(begun, error="no money"), desk.context())
    with pytest.raises(ToolFailed, match="pay: no money"):
        await handlers.begin(begin(), desk.context("k"))


async def test_the_same_process_asking_again_has_not_run_it(desk: Desk, handlers: Handlers) -> None:
    await handlers.begin(begin("p1"), desk.context("k"))
    assert (await handlers.begin(begin("p1"), desk.context("k"))).then == "run"
    assert await desk.types(TOOL) == BEGUN


async def test_another_process_waits_for_the_first_ones_outcome(desk: Desk, handlers: Handlers) -> None:
    begun = await handlers.begin(begin("p1"), desk.context("k"))
    found: list[Begun] = []

    async def other() -> None:
        found.append(await handlers.begin(begin("p2"), desk.context("k")))

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await anyio.wait_all_tasks_blocked()
        await handlers.finish(finish(begun, result=7), desk.context())
    assert [(each.then, each.result) for each in found] == [("finished", 7)]


@pytest.mark.parametrize("process", ["p2", ""])
@pytest.mark.parametrize("more", [{"effect": "read"}, {"idempotent": True}])
async def test_after_its_time_another_process_repeats_what_may_be(
    desk: Desk, handlers: Handlers, process: str, more: dict[str, Any]
) -> None:
    first = begin("p1" if process else "", timeout_s=SHORT_S, **more)
    await handlers.begin(first, desk.context("k"))
    again = await handlers.begin(begin(process, timeout_s=SHORT_S, **more), desk.context("k"))
    assert again.then == "run"
    assert await desk.types(TOOL) == [*BEGUN, "started.v1"]


async def test_after_its_time_the_rest_is_unknown(desk: Desk, handlers: Handlers) -> None:
    begun = await handlers.begin(begin("p1", timeout_s=SHORT_S), desk.context("k"))
    with pytest.raises(Conflict, match="nobody can tell"):
        await handlers.begin(begin("p2", timeout_s=SHORT_S), desk.context("k"))
    with pytest.raises(Conflict, match="is unknown, not started"):
        await handlers.finish(finish(begun), desk.context())
    assert await desk.types(TOOL) == [*BEGUN, "unknown.v1"]


async def test_a_registered_tool_wins(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> None:
    await have("pay", effect="read")
    assert (await handlers.begin(begin(), desk.context("k"))).then == "invoke"
    assert await desk.types(TOOL) == []
    await handlers.invoke(InvokeTool(tool="pay", arguments={}), desk.context("k"))
    assert len(worker.calls) == 1


async def test_a_policy_may_forbid_it(desk: Desk, handlers: Handlers) -> None:
    await desk.publish(NO_SHELL)
    with pytest.raises(Forbidden, match="no shell"):
        await handlers.begin(begin(), desk.context())
    assert await desk.types(TOOL) == ["requested.v1", "decided.v1", "finished.v1"]


@pytest.mark.parametrize(
    "command",
    [
        begin(arguments={"cents": -1}),
        begin(arguments={"cents": "1"}),
        begin(input_schema={"type": "thing"}),
        begin(input_schema={"$ref": "http://127.0.0.1:9/"}),
    ],
)
async def test_what_does_not_fit_is_invalid_on_the_record(desk: Desk, handlers: Handlers, command: BeginLocal) -> None:
    with pytest.raises(Invalid):
        await handlers.begin(command, desk.context())
    assert await desk.types(TOOL) == ["requested.v1", "finished.v1"]


async def test_another_agent_cannot_finish_it(desk: Desk, handlers: Handlers) -> None:
    begun = await handlers.begin(begin(), desk.context())
    with pytest.raises(Forbidden, match="another agent's"):
        await handlers.finish(finish(begun, result="forged"), desk.context(agent="a-other"))
    with pytest.raises(Invalid, match="no local call"):
        await handlers.finish(finish(begun), desk.context(tenant="other"))
    assert await desk.types(TOOL) == BEGUN


async def test_only_a_local_call_can_be_finished(desk: Desk, handlers: Handlers, have: Any) -> None:
    await have("refund")
    done = await handlers.invoke(InvokeTool(tool="refund", arguments={}), desk.context())
    with pytest.raises(Invalid, match="no local call"):
        await handlers.finish(FinishLocal(action=done.action, duration_ms=1), desk.context())


async def test_in_a_fork_what_is_on_record_is_finished_and_does_not_run(desk: Desk, handlers: Handlers) -> None:
    begun = await handlers.begin(begin(), desk.context("k"))
    await handlers.finish(finish(begun, result=7), desk.context())
    desk.others.record = await desk.last(TOOL)
    again = await handlers.begin(begin(), desk.context("k", run="r-2", fork=Fork(run="r-1", at=10**6)))
    assert (again.then, again.result) == ("finished", 7) and again.action != begun.action
    desk.others.record = FromRecord()
    assert (await handlers.begin(begin(), desk.context("l", run="r-2", fork=Fork(run="r-1", at=1)))).then == "run"
