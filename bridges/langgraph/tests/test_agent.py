"""An agent of `create_agent` with one more line."""

import time
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dominie import ApprovalRequired
from dominie_langgraph import ChatDominie, DominieMiddleware
from dominie_langgraph._runs import current_run

shouted: list[str] = []


def pay(order: str, cents: int) -> str:
    """Pay for an order."""
    raise AssertionError("a registered tool of the same name runs instead")


def double(number: int) -> int:
    """Twice a number."""
    raise AssertionError("a registered tool of the same name runs instead")


def shout(word: str) -> str:
    """Say a word loudly."""
    shouted.append(word)
    return word.upper() + "!"


def shred(word: str) -> str:
    """Destroy a word."""
    raise AssertionError("policy forbids it")


def agent(**options: Any) -> Any:
    middleware = [DominieMiddleware(approval_wait_s=options.pop("approval_wait_s", 30))]
    return create_agent(
        ChatDominie("nobody-asks-this-one"), [pay, double, shout, shred], middleware=middleware, **options
    )


def say(text: str) -> dict[str, list[HumanMessage]]:
    return {"messages": [HumanMessage(text)]}


def test_worker_tools_run_in_the_house(house: Any, thread: Any) -> None:
    answer = agent().invoke(say("pay 3000 for A1"), thread())
    assert answer["messages"][-1].text == "Done: paid 3000 for A1"
    assert house.paid().count("A1") == 1


def test_sandboxed_tools_run_in_the_house(thread: Any) -> None:
    assert agent().invoke(say("double 21"), thread())["messages"][-1].text == "It is 42."


def test_local_tools_run_here_and_leave_a_trail(house: Any, thread: Any) -> None:
    answer = agent().invoke(say("shout hey"), config := thread())
    assert answer["messages"][-1].text == "HEY!"
    assert shouted.count("hey") == 1
    run = run_of(answer, config)
    assert [type for type in house.events(run) if type.startswith("tool.")] == [
        "tool.requested.v1",
        "tool.decided.v1",
        "tool.started.v1",
        "tool.finished.v1",
    ]


def test_what_policy_forbids_comes_back_as_the_tools_error(thread: Any) -> None:
    answer = agent().invoke(say("shred paper"), thread())
    assert "nobody shreds here" in answer["messages"][-1].text


@pytest.mark.anyio
async def test_an_asynchronous_agent_does_the_same(house: Any, thread: Any) -> None:
    answer = await agent().ainvoke(say("pay 100 for B1"), thread())
    assert answer["messages"][-1].text == "Done: paid 100 for B1"
    assert (await agent().ainvoke(say("shout async"), thread()))["messages"][-1].text == "ASYNC!"
    assert house.paid().count("B1") == 1


def test_an_answer_that_promises_too_much_is_held(thread: Any) -> None:
    last = agent().invoke(say("promise"), thread())["messages"][-1]
    assert last.text == "This answer was held back for review."
    assert last.response_metadata["dominie"]["held"]


def test_an_approval_interrupts_and_the_resume_only_wakes(house: Any, thread: Any) -> None:
    graph, config = agent(checkpointer=InMemorySaver()), thread()
    asked = graph.invoke(say("pay 9000 for C1"), config)["__interrupt__"][0].value
    assert (asked["tool"], asked["groups"]) == ("pay", ["finance"])
    assert [(ask["group"], ask["quorum"]) for ask in asked["asks"]] == [("finance", 1)]
    assert "__interrupt__" in graph.invoke(Command(resume=True), config), "a resume is no approval"
    house.approve(asked["approval"])
    answer = graph.invoke(Command(resume=True), config)
    assert answer["messages"][-1].text == "Done: paid 9000 for C1"
    assert house.paid().count("C1") == 1
    assert house.events(run_of(answer, config)).count("model.requested.v1") == 2


def test_without_a_checkpointer_it_waits_until_the_deadline(thread: Any) -> None:
    began = time.monotonic()
    with pytest.raises(ApprovalRequired):
        agent(approval_wait_s=0.5).invoke(say("pay 9000 for D1"), thread())
    assert time.monotonic() - began < 20


def test_a_restarted_agent_finds_its_run(house: Any, thread: Any) -> None:
    config, message = thread(), {"messages": [HumanMessage("pay 10 for E1", id="m-1")]}
    first = agent().invoke(message, config)
    second = agent().invoke(message, config)
    assert first["messages"][-1].text == second["messages"][-1].text
    assert house.paid().count("E1") == 1


def run_of(answer: dict[str, Any], config: Any) -> str:
    from langchain_core.runnables.config import set_config_context

    with set_config_context(config) as context:
        return str(context.run(lambda: current_run(answer["messages"]).id))
