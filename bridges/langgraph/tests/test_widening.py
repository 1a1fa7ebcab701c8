"""A graph whose run asks for more than it was let."""

from typing import Annotated, Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, tools_condition
from langgraph.types import Command

import dominie
from dominie_langgraph import ChatDominie, ToolNode, awiden, widen

from .test_agent import double, pay, say

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def erin(house: Any, client: dominie.Client) -> str:
    """Somebody who lets the agent double numbers, and nothing else."""
    with client.run(user="erin"):
        pass  # registers the agent
    house.ask("approvals", "enrol", "erin", "--group", "people")
    house.ask("delegate", "desk", "--for", "1h", "--tool", "double", "--as", "erin")
    return "erin"


@pytest.fixture
def config(erin: str, thread: Any) -> dict[str, Any]:
    found: dict[str, Any] = thread()
    found["configurable"]["user"] = erin
    return found


def need_pay(state: MessagesState) -> None:
    """A node that asks before anything is paid."""
    widen(state, tools=["pay"], reason="dana's order came broken", approval_wait_s=0.2)


@tool(description="Ask to be let pay.")
async def ask_to_pay(state: Annotated[dict[str, Any], InjectedState]) -> str:
    await awiden(state, tools=["pay"], reason="the model wants to pay")
    return "you may"


ask_to_pay.metadata = {"dominie": {"idempotent": True}}  # it is run again when people have answered


def graph(*, node: bool, **options: Any) -> Any:
    model = ChatDominie("auto").bind_tools([pay, double, ask_to_pay])
    drawn = StateGraph(MessagesState)
    drawn.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    drawn.add_node("tools", ToolNode([pay, double, ask_to_pay]))
    drawn.add_conditional_edges("agent", tools_condition)
    drawn.add_edge("tools", "agent")
    if node:
        drawn.add_node("need_pay", need_pay)
        drawn.add_edge("need_pay", "agent")
    drawn.add_edge(START, "need_pay" if node else "agent")
    return drawn.compile(**options)


def test_what_was_not_delegated_is_refused(config: dict[str, Any], house: Any) -> None:
    assert "not granted" in graph(node=False).invoke(say("pay 10 for W0"), config)["messages"][-1].text
    assert house.paid().count("W0") == 0


def test_a_widening_interrupts_and_the_resume_only_wakes(config: dict[str, Any], house: Any) -> None:
    drawn = graph(node=True, checkpointer=InMemorySaver())
    asked = drawn.invoke(say("pay 3000 for W1"), config)["__interrupt__"][0].value
    assert asked["widen"] == {"tools": ["pay"], "reason": "dana's order came broken"}
    assert (asked["groups"], [ask["group"] for ask in asked["asks"]]) == (["user"], ["user"])
    assert "__interrupt__" in drawn.invoke(Command(resume=True), config), "a resume is no approval"
    house.ask("approvals", "approve", asked["approval"], "--as", "erin")
    assert drawn.invoke(Command(resume=True), config)["messages"][-1].text == "Done: paid 3000 for W1"
    assert house.paid().count("W1") == 1


def test_a_no_is_raised_in_the_graph(config: dict[str, Any], house: Any) -> None:
    drawn = graph(node=True, checkpointer=InMemorySaver())
    asked = drawn.invoke(say("pay 3000 for W2"), config)["__interrupt__"][0].value
    house.ask("approvals", "deny", asked["approval"], "--as", "erin")
    with pytest.raises(dominie.Forbidden, match="u-erin said no"):
        drawn.invoke(Command(resume=True), config)
    assert house.paid().count("W2") == 0


def test_without_a_checkpointer_it_waits_until_the_deadline(config: dict[str, Any]) -> None:
    with pytest.raises(dominie.ApprovalRequired):
        graph(node=True).invoke(say("pay 3000 for W3"), config)


@pytest.mark.anyio
async def test_a_tool_asks_and_goes_on_once_it_may(config: dict[str, Any], house: Any) -> None:
    drawn = graph(node=False, checkpointer=InMemorySaver())
    asked = (await drawn.ainvoke(say("ask, then pay 20 for W4"), config))["__interrupt__"][0].value
    assert asked["widen"]["reason"] == "the model wants to pay"
    house.ask("approvals", "approve", asked["approval"], "--as", "erin")
    answer = await drawn.ainvoke(Command(resume=True), config)
    assert answer["messages"][-1].text == "Done: paid 20 for W4"
    assert house.paid().count("W4") == 1
