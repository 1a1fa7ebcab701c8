"""The synchronous client: the same methods, any number of threads, functions run where they are called."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import dominie
from dominie import AsyncClient, AsyncRun, Client, Credentials, Run, tool
from dominie.testing import House
from dominie_contracts.model import Chat, Completion
from dominie_contracts.tool import BeginLocal, Begun, FinishLocal, InvokeTool, ToolResult


@pytest.fixture
def house(open_house: House) -> House:
    open_house.on(InvokeTool, lambda command, asked: ToolResult(result=command.arguments, labels={}, action="act"))
    return open_house


@pytest.fixture
def client(credentials: Credentials, house: House) -> Iterator[Client]:
    with Client(credentials=credentials, timeout_s=10) as found:
        yield found


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_it_has_the_methods_of_the_async_one() -> None:
    assert public(Client) - {"portal"} == {n.replace("aclose", "close") for n in public(AsyncClient)}
    assert public(Run) == {n.replace("aclose", "close") for n in public(AsyncRun)}
    for name in public(Run) - {"position", "close", "chat", "stream"}:
        sync, async_ = getattr(Run, name), getattr(AsyncRun, name)
        assert list(inspect.signature(sync).parameters) == list(inspect.signature(async_).parameters), name


def test_threads_share_a_run(client: Client, house: House) -> None:
    with client.run("dana") as run, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda n: run.invoke("pay", {"n": n}).result, range(64)))
    assert found == [{"n": n} for n in range(64)]


def test_a_local_function_runs_in_the_calling_thread(client: Client, house: House) -> None:
    house.on(BeginLocal, lambda command, asked: Begun(action="act", then="run"))
    house.on(FinishLocal, lambda command, asked: ToolResult(result=command.result, labels={}, action="act"))
    where: list[threading.Thread] = []

    @tool
    def here(n: int) -> int:
        where.append(threading.current_thread())
        return n + 1

    with client.run("dana") as run:
        assert run.call_local(here, {"n": 1}).result == 2
    assert where == [threading.current_thread()]
    assert house.commands(BeginLocal)[0].command.spec.kind == "local"


def test_a_local_function_that_fails_is_recorded_and_raised(client: Client, house: House) -> None:
    house.on(BeginLocal, lambda command, asked: Begun(action="act", then="run"))
    house.on(FinishLocal, lambda command, asked: ToolResult(result=None, labels={}, action="act"))

    @tool
    def breaks() -> None:
        raise KeyError("gone")

    with client.run("dana") as run, pytest.raises(KeyError):
        run.call_local(breaks, {})
    assert house.commands(FinishLocal)[0].command.error == "KeyError: 'gone'"


def test_a_local_outcome_that_could_not_be_reported_is_not_made_again(client: Client, house: House) -> None:
    ran: list[int] = []
    house.on(BeginLocal, lambda command, asked: Begun(action="act", then="run"))
    house.on(FinishLocal, lambda command, asked: None)

    @tool
    def once(n: int) -> int:
        ran.append(n)
        return n

    with client.run("dana", id="r1", timeout_s=0.3) as run, pytest.raises(dominie.DeadlineExceeded):
        run.call_local(once, {"n": 1}, tool_call_id="c1")
    house.on(FinishLocal, lambda command, asked: ToolResult(result=command.result, labels={}, action="act"))
    with client.run("dana", id="r1") as run:
        assert run.call_local(once, {"n": 1}, tool_call_id="c1").result == 1
    assert ran == [1]


@pytest.mark.parametrize(("then", "result"), [("finished", 7), ("invoke", {"n": 1})])
def test_a_local_call_gives_way(client: Client, house: House, then: Any, result: Any) -> None:
    house.on(BeginLocal, lambda command, asked: Begun(action="act", then=then, result=7))

    @tool
    def never(n: int) -> int:
        raise AssertionError

    with client.run("dana") as run:
        assert run.call_local(never, {"n": 1}).result == result


def test_a_stream_is_read_in_the_calling_thread(client: Client, house: House) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    completion = Completion(
        completion={"choices": [choice]},  # type: ignore[list-item]  # JSON
        model="m",
        cost_usd=None,
        input_tokens=1,
        output_tokens=1,
        waited_ms=0,
        action="act",
    )
    house.on(Chat, lambda command, asked: completion)
    heard: list[tuple[threading.Thread, Any]] = []
    with client.run("dana") as run:
        reply = run.chat(
            [{"role": "user", "content": "hi"}],
            on_delta=lambda chunk: heard.append((threading.current_thread(), chunk)),
        )
    assert reply.text == "ok" and heard[-1][0] is threading.current_thread()


def test_a_closed_client_says_so(credentials: Credentials, house: House) -> None:
    client = Client(credentials=credentials)
    run = client.run("dana")
    client.close()
    with pytest.raises(RuntimeError):
        run.tools()


def test_an_unclosed_client_closes_with_its_last_reference(credentials: Credentials, house: House) -> None:
    before = threading.active_count()
    Client(credentials=credentials).run("dana").invoke("pay", {})
    assert threading.active_count() <= before


def test_an_async_client_can_be_used_from_one_loop_after_another(credentials: Credentials, house: House) -> None:
    client = AsyncClient(credentials=credentials)

    async def invoke(n: int) -> Any:
        return (await client.run("dana").invoke("pay", {"n": n})).result

    assert [asyncio.run(invoke(n)) for n in range(2)] == [{"n": 0}, {"n": 1}]
