"""A `StateGraph` of one's own."""

from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.types import Command, interrupt

from dominie_langgraph import ChatDominie, ToolNode

from .test_agent import pay, run_of, say, shout


def graph(**options: Any) -> Any:
    model = ChatDominie("auto").bind_tools([pay, shout])
    drawn = StateGraph(MessagesState)
    drawn.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    drawn.add_node("tools", ToolNode([pay, shout]))
    drawn.add_edge(START, "agent")
    drawn.add_conditional_edges("agent", tools_condition)
    drawn.add_edge("tools", "agent")
    return drawn.compile(**options)


def test_the_tool_node_is_a_drop_in(house: Any, thread: Any) -> None:
    answer = graph().invoke(say("pay 5 for F1"), thread())
    assert answer["messages"][-1].text == "Done: paid 5 for F1"
    assert house.paid().count("F1") == 1


def test_an_approval_interrupts_the_graph(house: Any, thread: Any) -> None:
    drawn, config = graph(checkpointer=InMemorySaver()), thread()
    asked = drawn.invoke(say("pay 7000 for G1"), config)["__interrupt__"][0].value
    house.approve(asked["approval"])
    assert drawn.invoke(Command(resume=True), config)["messages"][-1].text == "Done: paid 7000 for G1"
    assert house.paid().count("G1") == 1


def test_a_node_that_is_run_again_repeats_no_call(house: Any, thread: Any) -> None:
    model = ChatDominie("auto")

    def ask_then_wait(state: MessagesState) -> dict[str, Any]:
        first, second = model.invoke(state["messages"]), model.invoke(state["messages"])
        interrupt("go on?")
        return {"messages": [first, second]}

    drawn = StateGraph(MessagesState)
    drawn.add_node("node", ask_then_wait)
    drawn.add_edge(START, "node")
    compiled: Any = drawn.compile(checkpointer=InMemorySaver())
    config = thread()
    compiled.invoke(say("hello"), config)
    answer = compiled.invoke(Command(resume=True), config)
    assert house.events(run_of({"messages": answer["messages"][:1]}, config)).count("model.requested.v1") == 2


def test_a_model_streams(thread: Any) -> None:
    chunks = list(ChatDominie("auto").stream([HumanMessage("hello")], thread()))
    assert len(chunks) > 1 and all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == "Hello there."


@pytest.mark.anyio
async def test_a_model_streams_asynchronously(thread: Any) -> None:
    text = [chunk.text async for chunk in ChatDominie("auto").astream([HumanMessage("hello")], thread())]
    assert "".join(text) == "Hello there."
