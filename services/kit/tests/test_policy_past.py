"""Decisions of the past: made again, explained, and learnt from."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from dominie_contracts.action import Decided
from dominie_contracts.audit import Entry
from dominie_contracts.digests import digest_json
from dominie_contracts.guardrail import PoliciesPublished, PolicyFile
from dominie_contracts.personal import ERASED
from dominie_contracts.provenance import Label
from dominie_contracts.tool import ToolSpec
from dominie_kit.handler_testing import PERMIT_ALL
from dominie_kit.policy.asking import Typed
from dominie_kit.policy.backtest import Backtest, Report
from dominie_kit.policy.checking import check_policies
from dominie_kit.policy.explain import explain, set_of
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question
from dominie_kit.policy.suggest import Suggesting
from dominie_kit.settings import KitSettings

PROPERTIES: Any = {
    "cents": {"type": "integer", "x-dominie": {"role": "amount"}},
    "to": {"type": "string", "x-dominie": {"role": "recipient"}},
    "note": {"type": "string"},
}
PAY = Typed.of(ToolSpec(name="pay", input_schema={"type": "object", "properties": PROPERTIES, "required": ["cents"]}))
ASK = '@id("large") @ask("finance") forbid (principal, action in Action::"pay", resource) when {context.amount > %d};'
NOON_S = 1_795_521_600


def policies(*rules: str) -> Policies:
    return Policies("d", (PolicyFile(name="a.cedar", text="\n".join((PERMIT_ALL, *rules))),))


def pay(cents: int, *, untrusted: bool = False, agent: str = "a-desk", **more: JsonValue) -> Question:
    arguments: dict[str, JsonValue] = {"cents": cents, **more}
    labels = {"to": Label(integrity="untrusted")} if untrusted else {}
    return PAY.question("tool.invoke", arguments, labels, principal=agent, tenant="acme", user="u-dana")


def entry(decided: Decided, position: int = 1, category: str = "tool", **more: Any) -> Entry:
    """What audit says of a decision."""
    return Entry(
        position=position,
        stream=f"acme.{category}.{position:032x}",
        version=2,
        type=f"{category}.decided.v1",
        time="2026-11-21T12:00:00+00:00",
        agent="a-desk",
        user="u-dana",
        run="r-1",
        summary="",
        data={**decided.model_dump(mode="json"), **more},
    )


def backtest(candidate: Policies, *entries: Entry) -> Report:
    test = Backtest(candidate)
    for each in entries:
        test.take(each)
    return test.report


cents = st.integers(0, 10_000)
questions = st.builds(pay, cents, untrusted=st.booleans(), to=st.sampled_from("ab"), note=st.text(max_size=3))


@given(st.lists(questions, max_size=8), cents, cents, st.integers(0, 2 * NOON_S))
def test_the_same_policies_change_nothing_and_others_what_they_would_decide(
    asked: list[Question], before: int, after: int, clock_s: int
) -> None:
    looking = '@id("x") forbid (principal, action, resource) when {context.untrusted.contains("recipient")};'
    night = '@id("n") forbid (principal, action, resource) when {context.now.toTime() < duration("6h")};'
    first, second = policies(ASK % before, looking, night), policies(ASK % after, night)
    entries = [entry(first.decide(each, clock_s=clock_s), at) for at, each in enumerate(asked, 1)]
    assert backtest(first, *entries).same == len(asked)
    found = backtest(second, *entries)
    live = [second.decide(each, clock_s=clock_s).decision for each in asked]
    said = {change.position: change.now for change in found.changes}
    assert [said.get(each.position, each.data["decision"]) for each in entries] == live
    assert found.undecidable == 0


def test_a_lower_limit_lists_what_would_now_ask_by_tool_and_user() -> None:
    first = policies(ASK % 5000)
    entries = [entry(first.decide(pay(amount)), at) for at, amount in enumerate((1000, 2500, 4000, 9000), 1)]
    found = backtest(policies(ASK % 2000), *entries)
    assert [(each.amount, each.was, each.now, each.policies) for each in found.changes] == [
        (2500, "allow", "ask", ("large",)),
        (4000, "allow", "ask", ("large",)),
    ]
    (row,) = found.rows
    assert (row.tool, row.user, row.actions, row.amount, row.largest) == ("pay", "u-dana", 2, 6500, 4000)
    assert (found.decisions, found.same, found.changed, found.open_loop) == (4, 2, 2, True)


def test_who_is_asked_is_part_of_the_decision() -> None:
    asked = policies(ASK % 5)
    others = policies((ASK % 5).replace("finance", "legal"))
    assert [(each.was, each.now) for each in backtest(others, entry(asked.decide(pay(9)))).changes] == [("ask", "ask")]


def test_a_yes_of_then_is_no_change_of_policy() -> None:
    asked = policies(ASK % 5)
    lifted = asked.decide(pay(9)).model_copy(update={"decision": "allow", "why": ("approved",), "asks": ()})
    assert backtest(asked, entry(lifted)).changed == 0
    assert [(each.was, each.now) for each in backtest(policies(), entry(lifted)).changes] == [("ask", "allow")]


READS = 'forbid (principal, action in Action::"pay", resource) when {context.arguments.note == "x"};'
HAS = 'forbid (principal, action in Action::"pay", resource) when {context.arguments has note};'
OLD: dict[str, JsonValue] = {
    "tenant": "acme",
    "user": "u-dana",
    "effect": "external",
    "kind": "worker",
    "version": "1",
    "untrusted": [],
    "amount": 9,
}


def test_what_was_erased_or_not_recorded_is_undecidable() -> None:
    decided = policies().decide(pay(9))
    for request in (ERASED, {ERASED: True}, {}, {"principal": 7}):
        assert backtest(policies(ASK % 5), entry(decided, request=request)).undecidable == 1
    old = policies().decide(Question("a-desk", "tool.invoke", "Tool", "pay", OLD))
    old = old.model_copy(update={"request": {**old.request, "action": {"type": "Action", "id": "tool.invoke"}}})
    for rule in (READS, HAS):
        found = backtest(policies(f'@id("n") {rule}'), entry(old))
        assert (found.undecidable, found.changed) == (1, 0), found
    assert backtest(policies(f'@id("n") {READS}'), entry(decided)).undecidable_why == {
        "an attribute was not recorded then": 1
    }
    assert backtest(policies(ASK % 5), entry(old)).changed == 1


def test_what_calls_have_together_is_not_known_of_other_limits() -> None:
    limit = (
        '@id("daily") @limit("%d") @per("user") @within("day") forbid (principal, action in Action::"pay", resource);'
    )
    limited = policies(limit % 500)
    recorded = entry(limited.decide(pay(9)))
    assert backtest(limited, recorded).same == 1
    for other in (policies(), policies(limit % 400)):
        assert backtest(other, recorded).undecidable_why == {"another limit counts what calls have together": 1}
    assert backtest(policies(limit % 400, '@id("no") forbid (principal, action, resource);'), recorded).changed == 1


LOOKING = '@id("x") forbid (principal, action in Action::"pay", resource) when {%s};'


@pytest.mark.parametrize("told", ["context.min has recipient && context.min.recipient < 3", "context has outside"])
def test_where_arguments_came_from_was_not_always_recorded(told: str) -> None:
    looking, of_now = policies(LOOKING % told), policies().decide(pay(9, untrusted=True, to="x"))
    context = {name: value for name, value in of_now.request["context"].items() if name != "min"}  # type: ignore[union-attr]
    old = of_now.model_copy(update={"request": {**of_now.request, "context": context}})
    assert backtest(looking, entry(old)).undecidable_why == {"where the arguments came from was not recorded then": 1}
    assert backtest(policies(ASK % 5), entry(old)).changed == 1
    assert backtest(looking, entry(of_now)).undecidable == 0


def test_whether_any_better_source_had_it_was_not_always_recorded() -> None:
    looking = policies(LOOKING % 'context.unknown.contains("recipient")')
    of_now = looking.decide(pay(9, untrusted=True, to="x"))
    context = {name: value for name, value in of_now.request["context"].items() if name != "unknown"}  # type: ignore[union-attr]
    old = of_now.model_copy(update={"request": {**of_now.request, "context": context}})
    assert (of_now.decision, looking.decide(pay(9, to="x")).decision) == ("deny", "allow")
    assert backtest(looking, entry(old)).undecidable_why == {"where the arguments came from was not recorded then": 1}
    assert backtest(policies(ASK % 5), entry(old)).undecidable == 0
    assert backtest(looking, entry(of_now)).same == 1


def test_what_could_not_be_decided_then_cannot_now() -> None:
    unfit = policies().decide(pay(9)).model_copy(update={"decision": "deny", "why": ("undecidable: …",)})
    assert backtest(policies(), entry(unfit)).undecidable_why == {"it could not be decided then": 1}


@given(st.lists(questions, min_size=1, max_size=12), questions)
def test_what_is_suggested_permits_what_was_done_and_nothing_untrusted(done: list[Question], other: Question) -> None:
    learning = Suggesting()
    for at, each in enumerate(done, 1):
        learning.take(entry(policies().decide(each), at))
    found = learning.suggestion
    suggested = Policies("s", (PolicyFile(name="s.cedar", text=found.policies),))
    trusted = [each for each in done if not each.context["untrusted"]]
    assert found.permits == len(suggested) == min(1, len(trusted))
    assert all(suggested.decide(each).decision == "allow" for each in trusted)
    assert sum(found.left_out.values()) == len(done) - len(trusted)
    if other.context["untrusted"]:
        assert suggested.decide(other).decision == "deny"
    if trusted:
        assert check_policies((PolicyFile(name="s.cedar", text=found.policies),), [PAY.shape]) == 1


def test_of_what_was_refused_only_what_was_observed_is_suggested() -> None:
    denied = policies('@id("no") forbid (principal, action, resource);').decide(pay(9))
    learning = Suggesting()
    learning.take(entry(denied))
    assert (learning.suggestion.permits, learning.suggestion.left_out) == (0, {"a-desk pay: deny": 1})
    learning.take(entry(denied.model_copy(update={"observed": True}), 2))
    assert learning.suggestion.permits == 1


def test_each_agent_model_and_namespace_is_suggested_by_itself() -> None:
    learning = Suggesting()
    own: dict[str, JsonValue] = {"tenant": "acme", "user": "u-dana"}
    asked = [
        pay(5),
        pay(9, agent='a-"; permit (principal'),
        Question("a-desk", "model.chat", "Model", "auto", {**own, "tools": [], "priority": "standard"}),
        Question("a-desk", "memory.recall", "Namespace", "notes", own),
        Question("a-desk", "tool.begin", "Tool", "pay", {**OLD, "amount": 7}),
    ]
    for at, each in enumerate(asked, 1):
        learning.take(entry(policies().decide(each), at))
    text = learning.suggestion.policies
    assert check_policies((PolicyFile(name="s.cedar", text=text),), [PAY.shape]) == 5
    suggested = Policies("s", (PolicyFile(name="s.cedar", text=text),))
    assert [suggested.decide(each).decision for each in asked] == ["allow"] * 5
    beyond = [pay(6), pay(5, agent="a-other"), Question("a-desk", "memory.remember", "Namespace", "notes", own)]
    assert [suggested.decide(each).decision for each in beyond] == ["deny"] * 3


def test_an_explanation_quotes_the_policies_and_what_they_looked_at() -> None:
    found = policies(ASK % 5, '@id("other") forbid (principal, action, resource) when {context has code};')
    told = explain(found.decide(pay(9, note="n"), clock_s=NOON_S), found)
    (because,) = told.because
    assert (told.decision, because.policy, because.effect, because.file) == ("ask", "large", "forbid", "a.cedar")
    assert because.looked_at == {"amount": 9}
    assert because.text.startswith('@ask("finance")') and "> 5" in because.text
    assert because.ask is not None and because.ask.group == "finance"
    assert explain(found.decide(pay(9)), None).known is False


def test_a_set_is_found_by_its_digest_alone_or_with_a_tenants_own() -> None:
    def published(digest: str, tenant: str, position: int) -> Entry:
        files = (PolicyFile(name=f"{digest}.cedar", text=PERMIT_ALL),)
        event = PoliciesPublished(digest=digest, files=files, by="operator")
        found = entry(Decided(decision="allow", policies=(), request={}), position)
        return found.model_copy(
            update={
                "type": "policy.published.v1",
                "stream": f"{tenant}.policy.main",
                "data": event.model_dump(mode="json"),
            }
        )

    log = [published("a", "svc", 1), published("b", "acme", 2), published("c", "svc", 3)]
    names = {
        digest: [file.name for file in set_of(log, digest) or ()]
        for digest in ("a", "c", digest_json(["a", "b"]), digest_json(["c", "b"]), digest_json(["b", "a"]))
    }
    assert list(names.values()) == [["a.cedar"], ["c.cedar"], ["a.cedar", "b.cedar"], ["c.cedar", "b.cedar"], []]


@pytest.mark.parametrize("decision", ["deny", "ask"])
def test_what_is_observed_goes_on(decision: Any) -> None:
    assert Decided(decision=decision, policies=(), request={}, observed=True).held == "allow"
    assert Decided(decision=decision, policies=(), request={}).held == decision


def test_only_local_development_observes() -> None:
    assert KitSettings(observe=True, local=True).observe
    with pytest.raises(ValidationError, match="local development"):
        KitSettings(observe=True, local=False)
