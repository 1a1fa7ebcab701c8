"""A chat as the edge hands it on: what the scheduler and the provider are asked, and what the log then holds."""

from typing import Any

import pytest

from dominie_contracts import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Grants,
    Invalid,
    Problem,
    QuotaExceeded,
    Unavailable,
)
from dominie_contracts.audit import FromRecord
from dominie_contracts.line import line
from dominie_contracts.model import MODEL, OFFER, OFFERS, Chat, ListModels, ModelsOffered
from dominie_contracts.scheduler import AskPermit, ReleasePermit
from dominie_contracts.token import Fork
from dominie_kit.context import Context
from dominie_kit.handler_testing import PERMIT_ALL
from dominie_model.adapters.provider import ProviderError
from dominie_model.projection import Offered

pytestmark = pytest.mark.anyio

NO_TOOLS = (
    PERMIT_ALL
    + """
@id("no-shell") @why("no shell here") forbid (principal, action == Action::"model.chat", resource)
when { context.tools.contains("shell") };
"""
)
TRAIL = ["requested.v1", "decided.v1", "started.v1", "finished.v1"]
REFUSED = ["requested.v1", "finished.v1"]
SHELL = {"type": "function", "function": {"name": "shell"}}


def chat(text: str = "hello", **more: Any) -> Chat:
    return Chat.model_validate({"messages": [{"role": "user", "content": text}], **more})


async def test_a_chat_is_answered_and_recorded_with_its_cost(house: Any) -> None:
    done = await house.handlers().chat(chat(), house.desk.context())
    assert done.completion["choices"][0]["message"]["content"] == "Good day."
    assert (done.model, done.cost_usd, done.input_tokens, done.output_tokens) == ("openai/x", 0.25, 2, 3)
    assert done.waited_ms == 7
    assert await house.desk.types(MODEL) == TRAIL
    last = [event async for event in house.desk.store.read_all(category=MODEL)][-1].envelope.data
    assert (last["cost_usd"], last["input_tokens"], last["result"]) == (0.25, 2, done.completion)


async def test_a_slot_is_asked_for_and_given_back_with_what_it_took(house: Any) -> None:
    done = await house.handlers().chat(chat(model="fast", priority="interactive"), house.desk.context())
    asked, released = house.scheduler.sent
    assert isinstance(asked, AskPermit) and isinstance(released, ReleasePermit)
    assert (asked.permit, asked.model, asked.priority, asked.agent) == (done.action, "fast", "interactive", "a-desk")
    assert 0 < asked.deadline_ms <= 5_000
    assert asked.lease_ms == 30_000
    assert (released.permit, released.output_tokens, released.cost_usd) == (done.action, 3, 0.25)
    assert house.scheduler.keys == [f"{done.action}:1:permit", f"{done.action}:1:release"]


async def test_messages_tools_and_options_reach_the_provider(house: Any) -> None:
    await house.handlers().chat(chat(tools=[SHELL], options={"temperature": 0.5}), house.desk.context())
    (asked,) = house.provider.asked
    assert list(asked.messages) == [{"role": "user", "content": "hello"}]
    assert (asked.options, asked.timeout_s) == ({"temperature": 0.5, "tools": [SHELL]}, 30)


async def test_deltas_are_streamed_in_order_and_then_the_whole(house: Any) -> None:
    done = await house.handlers().chat(chat(stream=True, stream_id="s-1"), house.desk.context())
    deltas = house.out.deltas
    assert [(delta.number, delta.stream_id) for delta in deltas] == [(0, "s-1"), (1, "s-1"), (2, "s-1")]
    words = [delta.chunk["choices"][0]["delta"]["content"] for delta in deltas]
    assert "".join(words) == done.completion["choices"][0]["message"]["content"]
    assert house.provider.closed == 1


async def test_a_repeated_chat_is_not_asked_again(house: Any) -> None:
    first = await house.handlers().chat(chat(), house.desk.context("k"))
    for handlers in (house.handlers(), house.handlers()):
        again = await handlers.chat(chat(), house.desk.context("k"))
        assert again.completion == first.completion
    assert (len(house.provider.asked), len(house.scheduler.sent)) == (1, 2)
    with pytest.raises(Conflict):
        await house.handlers().chat(chat("bye"), house.desk.context("k"))


@pytest.mark.parametrize(
    "more",
    [{"model": "gpt-9"}, {"max_cost_usd": 0.1}, {"stream": True}, {"tools": [{"name": "shell"}]}],
)
async def test_what_cannot_be_asked_is_invalid_on_the_record(house: Any, more: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await house.handlers().chat(chat(**more), house.desk.context())
    assert await house.desk.types(MODEL) == REFUSED
    assert not house.scheduler.sent


async def test_a_model_that_was_not_granted_is_forbidden_on_the_record(house: Any) -> None:
    with pytest.raises(Forbidden, match="not granted the model 'auto'"):
        await house.handlers().chat(chat(), house.desk.context(grants=Grants(models=("fast",))))
    assert await house.desk.types(MODEL) == REFUSED


async def test_policies_see_the_tools_that_are_offered(house: Any) -> None:
    await house.desk.publish(NO_TOOLS)
    await house.handlers().chat(chat(), house.desk.context())
    with pytest.raises(Forbidden, match="no shell here"):
        await house.handlers().chat(chat(tools=[SHELL]), house.desk.context())
    assert len(house.provider.asked) == 1


@pytest.mark.parametrize("stream", [{}, {"stream": True, "stream_id": "s"}])
@pytest.mark.parametrize(
    ("kind", "problem", "retry_after_s"),
    [
        ("rate-limited", QuotaExceeded, 7.0),
        ("unauthenticated", Unavailable, None),
        ("timeout", Unavailable, 7.0),
        ("unavailable", Unavailable, 7.0),
    ],
)
async def test_a_call_that_failed_gives_its_slot_back_and_may_be_tried_again(
    house: Any, kind: Any, problem: type[Problem], retry_after_s: float | None, stream: dict[str, Any]
) -> None:
    house.provider.fails = ProviderError(kind, "openai", "sorry", retry_after_s=7)
    with pytest.raises(problem) as raised:
        await house.handlers().chat(chat(**stream), house.desk.context("k"))
    assert raised.value.retry_after_s == retry_after_s
    assert [type(each) for each in house.scheduler.sent] == [AskPermit, ReleasePermit]
    assert house.scheduler.sent[1].cost_usd is None
    house.provider.fails = None
    assert (await house.handlers().chat(chat(**stream), house.desk.context("k"))).output_tokens == 3
    assert house.scheduler.keys[2].endswith(":2:permit")


async def test_what_the_provider_calls_wrong_is_wrong_for_good(house: Any) -> None:
    house.provider.fails = ProviderError("invalid", "openai", "no such option")
    for _ in range(2):
        with pytest.raises(Invalid, match="the provider refused the request: no such option"):
            await house.handlers().chat(chat(), house.desk.context("k"))
    assert len(house.provider.asked) == 1
    assert await house.desk.types(MODEL) == TRAIL


@pytest.mark.parametrize("problem", [Unavailable("scheduler is not running"), DeadlineExceeded("no slot in time")])
async def test_without_a_slot_nothing_is_asked_and_nothing_given_back(house: Any, problem: Problem) -> None:
    house.scheduler.problem = problem
    with pytest.raises(type(problem)):
        await house.handlers().chat(chat(), house.desk.context("k"))
    assert (house.provider.asked, [type(each) for each in house.scheduler.sent]) == ([], [AskPermit])
    house.scheduler.problem = None
    await house.handlers().chat(chat(), house.desk.context("k"))
    assert len(house.provider.asked) == 1


async def test_the_models_on_offer_are_listed(house: Any) -> None:
    found = await house.handlers().list_models(ListModels(), house.desk.context())
    assert [(offer.name, offer.slots) for offer in found.models] == [("auto", 2), ("fast", 1)]


async def test_the_log_says_what_was_offered_last(house: Any) -> None:
    offered = Offered()
    for models in ((), (await house.handlers().list_models(ListModels(), house.desk.context())).models):
        for event in await house.desk.append(OFFER, OFFERS, ModelsOffered(models=models), tenant="svc"):
            offered.apply(event)
    assert (offered.version, len(offered.state.models or ())) == (2, 2)
    offered.reset()
    assert (offered.version, offered.position, offered.state.models) == (0, 0, None)


def in_fork(house: Any, key: str | None = None, **more: Any) -> Context:
    context = house.desk.context(key, run="r-2", fork=Fork(run="r-1", at=10**6, model="fast"), **more)
    assert isinstance(context, Context)
    return context


async def test_a_forks_own_calls_go_to_another_model(house: Any) -> None:
    house.desk.others.record = FromRecord()
    done = await house.handlers().chat(chat(), in_fork(house))
    assert [request.target.model for request in house.provider.asked] == ["openai/y"]
    first, *_ = [event.envelope.data async for event in house.desk.store.read_all(category=MODEL)]
    assert (done.model, first["resource"]) == ("openai/y", "fast")


async def test_a_judge_asks_the_model_it_always_asks(house: Any) -> None:
    house.desk.others.record = FromRecord()
    await house.handlers().chat(chat(), in_fork(house, f"{'a' * 32}:model:auto"))
    assert [request.target.model for request in house.provider.asked] == ["openai/x"]


async def test_another_model_has_to_be_granted(house: Any) -> None:
    house.desk.others.record = FromRecord()
    with pytest.raises(Forbidden, match="'fast'"):
        await house.handlers().chat(chat(), in_fork(house, grants=Grants(models=("auto",))))
    assert not house.provider.asked


async def test_what_is_on_record_costs_no_call(house: Any) -> None:
    done = await house.handlers().chat(chat(), house.desk.context())
    house.desk.others.record = await house.desk.last(MODEL)
    again = await house.handlers().chat(chat(), in_fork(house, grants=Grants()))
    assert again == done.model_copy(update={"action": again.action, "waited_ms": 0.0})
    assert len(house.provider.asked) == 1 and len(house.scheduler.sent) == 2
    lines = [line(event) async for event in house.desk.store.read_all(category=MODEL)]
    assert sum(found.cost_usd or 0 for found in lines) == 0.25, "it is not charged to the fork"
