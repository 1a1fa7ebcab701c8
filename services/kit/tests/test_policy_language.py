"""What policies may say: a slip is refused when it is checked, and what passes decides what it says."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts import Invalid
from dominie_contracts.action import Decided
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.provenance import Integrity, Label
from dominie_contracts.tool import ToolSpec
from dominie_kit.handler_testing import PERMIT_ALL
from dominie_kit.policy.asking import Typed
from dominie_kit.policy.checking import PolicyError, check_policies, unknown_tools
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question
from dominie_kit.policy.rules import diff

REFUND = ToolSpec(
    name="refund",
    input_schema={
        "type": "object",
        "properties": {
            "order": {"type": "string", "x-dominie": {"role": "object"}},
            "cents": {"type": "integer", "x-dominie": {"role": "amount"}},
            "to": {"anyOf": [{"type": "string"}, {"type": "null"}], "x-dominie": {"role": "recipient"}},
            "on": {"type": "string", "x-dominie": {"role": "when"}},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
            "rate": {"type": "number"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["order", "cents", "rate"],
        "$defs": {
            "Line": {
                "type": "object",
                "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["sku", "n"],
            }
        },
    },
)
TYPED = Typed.of(REFUND)
GOOD: dict[str, JsonValue] = {"order": "A1", "cents": 900, "rate": 0.5}
LINES: list[JsonValue] = [{"sku": "s", "n": 2.0}]
NOON_S = 1_795_521_600


def files(*texts: str) -> tuple[PolicyFile, ...]:
    return (PolicyFile(name="a.cedar", text="\n".join(texts)),)


def ask(arguments: dict[str, JsonValue] = GOOD, *, untrusted: tuple[str, ...] = ()) -> Question:
    worst: dict[bool, Integrity] = {True: "untrusted", False: "record"}
    labels = {name: Label(integrity=worst[name in untrusted]) for name in TYPED.roles if name in arguments}
    return TYPED.question("tool.invoke", arguments, labels, principal="a-desk", tenant="acme", user="u-dana")


def decide(rule: str, question: Question, *, clock_s: int = NOON_S) -> Decided:
    return Policies("d", files(PERMIT_ALL, rule)).decide(question, clock_s=clock_s)


def forbid(condition: str, action: str = 'action in Action::"refund"') -> str:
    return f'@id("x") forbid (principal, {action}, resource) when {{ {condition} }};'


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (forbid("true", 'action in Action::"refnd"'), "refnd"),
        (forbid("true", 'action == Action::"refund@2"'), "refund@2"),
        (forbid("context.arguments.cnts > 5"), "cnts"),
        (forbid("context has recipent"), "asks for context.recipent"),
        (forbid("context.arguments has ordr"), "asks for context.arguments.ordr"),
        (forbid('context.cents == "many"'), "cents"),
        (forbid('context.amount == "many"'), "not compatible"),
        (forbid('context.untrusted.contains("recipent")'), "knows no 'recipent'"),
        (forbid('context.untrusted.containsAny(["amount", "recipent"])'), "knows no 'recipent'"),
        (forbid('context.effect == "extern"'), "knows no 'extern'"),
        (forbid('["read", "wrte"].contains(context.effect)'), "knows no 'wrte'"),
        (forbid('action == Action::"refund"', "action"), "write `in`"),
        (forbid('[Action::"tool.invoke"].contains(action)', "action"), "write `in`"),
        (f'@quorom("2") {forbid("true")}', "@quorom is unknown"),
        ('@id("x") @ask("finance") permit (principal, action, resource);', "@ask stands on a permit"),
        ('@id("x") @ask forbid (principal, action, resource);', "@ask names no group"),
        ('@id("x") permit (principal == ?principal, action, resource);', "template"),
        ('@id("x") forbid (principal is User, action, resource);', "User"),
        ('@id("x") forbid (principal, action, resource) when {context.amount > 5};', "optional attribute `amount`"),
    ],
)
def test_a_slip_is_refused(rule: str, said: str) -> None:
    with pytest.raises(PolicyError) as raised:
        check_policies(files(PERMIT_ALL, rule), [TYPED.shape])
    problem = next(each for each in raised.value.problems if said in each)
    assert problem.startswith("a.cedar: ")


@pytest.mark.parametrize(
    ("condition", "arguments", "holds"),
    [
        ("context.amount > 800", GOOD, True),
        ("context.arguments.cents > 900", GOOD, False),
        ('context.object like "A*"', GOOD, True),
        ('context.arguments.rate == "0.5"', GOOD, True),
        ('context.arguments has tags && context.arguments.tags.contains("vip")', {**GOOD, "tags": ["a", "vip"]}, True),
        ("context.arguments has to", {**GOOD, "to": None}, False),
        (
            'context.arguments has lines && context.arguments.lines.contains({sku: "s", n: 2})',
            {**GOOD, "lines": LINES},
            True,
        ),
        ('context has undeclared && context.undeclared.contains("note")', {**GOOD, "note": "hello"}, True),
        ('context has when && context.when < datetime("2026-01-01")', {**GOOD, "on": "2025-12-31T23:59"}, True),
        (
            'context has when && context.when < datetime("2026-01-01")',
            {**GOOD, "on": "2026-01-01T01:00:00+02:00"},
            True,
        ),
        ('context has when && context.when < datetime("2026-01-01")', {**GOOD, "on": "2026-01-01"}, False),
        ('context.now.toTime() < duration("13h") && context.now.toTime() > duration("11h")', GOOD, True),
    ],
)
def test_every_argument_can_be_looked_at(condition: str, arguments: dict[str, JsonValue], holds: bool) -> None:
    assert check_policies(files(PERMIT_ALL, forbid(condition)), [TYPED.shape]) == 2
    decided = decide(forbid(condition), ask(arguments))
    assert (decided.decision, decided.policies) == (("deny", ("x",)) if holds else ("allow", ("all",)))


@pytest.mark.parametrize(
    "head",
    [
        '== Action::"tool.invoke"',
        'in Action::"tool.invoke"',
        '== Action::"refund"',
        'in [Action::"refund"]',
        '== Action::"refund@1"',
        "",
    ],
)
def test_a_tool_version_is_in_its_tool_and_in_all_tools(head: str) -> None:
    rule = forbid("true", f"action {head}")
    assert check_policies(files(PERMIT_ALL, rule), [TYPED.shape]) == 2
    assert decide(rule, ask()).policies == ("x",)
    begin = TYPED.question("tool.begin", GOOD, {}, principal="a-desk", tenant="acme", user="u-dana")
    assert decide(rule, begin).decision == ("allow" if head else "deny")


def test_what_a_local_function_says_of_itself_types_nothing() -> None:
    begin = TYPED.question("tool.begin", GOOD, {}, principal="a-desk", tenant="acme", user="u-dana")
    assert (begin.request["action"], "arguments" in begin.context) == ({"type": "Action", "id": "tool.begin"}, False)
    assert decide(forbid("context has amount && context.amount == 900", "action"), begin).policies == ("x",)


@pytest.mark.parametrize(
    "bad",
    [
        {"cents": -1},
        {"cents": 2**53},
        {"cents": 0.1 + 0.2},
        {"cents": True},
        {"on": "soon"},
        {"on": 7},
        {"on": "9999-12-31T23:59:59-23:00"},
    ],
)
def test_an_amount_or_a_time_that_is_none_is_refused(bad: dict[str, JsonValue]) -> None:
    with pytest.raises(Invalid):
        ask({**GOOD, **bad})


@pytest.mark.parametrize(
    "bad", [{"tags": "vip"}, {"tags": {"$ref": "x"}}, {"order": "\ud800"}, {"lines": [1]}, {"lines": [{"n": 2**63}]}]
)
def test_what_does_not_fit_where_policies_look_is_deny(bad: dict[str, JsonValue]) -> None:
    decided = decide(forbid('context.arguments has tags && context.arguments.tags.contains("x")'), ask({**GOOD, **bad}))
    assert (decided.decision, decided.why[0].startswith("undecidable: ")) == ("deny", True)


def test_names_that_cedar_would_read_otherwise_are_no_attributes() -> None:
    hostile = ToolSpec(
        name="x",
        version='1"] appliesTo {',
        input_schema={
            "type": "object",
            "properties": {
                "__entity": {"type": "object", "properties": {"type": {"type": "string"}, "id": {"type": "string"}}},
                'a"b': {"type": "string"},
                "if": {"type": "boolean"},
                "": {"type": "integer"},
            },
        },
    )
    arguments: dict[str, JsonValue] = {"__entity": {"type": "Agent", "id": "a-boss"}, 'a"b': "c", "if": True, "": 1}
    question = Typed.of(hostile).question("tool.invoke", arguments, {}, principal="a", tenant="t", user="u")
    assert question.context["undeclared"] == ["__entity"]
    rule = forbid('context.arguments has "a\\"b" && context.arguments["a\\"b"] == "c"', 'action in Action::"x"')
    assert check_policies(files(PERMIT_ALL, rule), [Typed.of(hostile).shape]) == 2
    assert decide(rule, question).policies == ("x",)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["order", "cents", "to", "on", "lines", "rate", "tags", "more"]), json_values))
def test_whatever_is_asked_is_decided_and_the_record_decides_it_again(more: dict[str, JsonValue]) -> None:
    try:
        question = ask({**GOOD, **more})
    except Invalid:
        return
    looking = forbid('context.arguments has tags && context.arguments.tags.contains("x")')
    first = decide(looking, question)
    if first.why and first.why[0].startswith("undecidable"):
        return
    request: Any = json.loads(json.dumps(first.request))
    again = Question("a-desk", request["action"]["id"], "Tool", "refund", request["context"])
    assert decide(looking, again).decision == first.decision


def test_the_clock_is_told_where_a_policy_looks_and_recorded_always() -> None:
    night = forbid('context.now.toTime() < duration("6h")')
    found = Policies("d", files(PERMIT_ALL, night))
    midnight_s = NOON_S - 12 * 3600
    decisions = [found.decide(ask(), clock_s=clock_s) for clock_s in (NOON_S, midnight_s, NOON_S)]
    assert [each.decision for each in decisions] == ["allow", "deny", "allow"]
    assert [each.clock_s for each in decisions] == [NOON_S, midnight_s, NOON_S]
    assert (decisions[0].policy_set, decisions[0].schema_digest) == ("d", TYPED.shape.digest)


def labelled(**labels: Label) -> Question:
    return TYPED.question("tool.invoke", {**GOOD, "to": "eve@y.org"}, labels, principal="a", tenant="acme", user="u")


@pytest.mark.parametrize(
    ("level", "number"), [("untrusted", 0), ("agent", 1), ("platform", 2), ("record", 3), ("user", 4)]
)
def test_policies_see_the_worst_of_each_role(level: Integrity, number: int) -> None:
    asked = labelled(to=Label(integrity=level), cents=Label(integrity="record"))
    for least in range(1, 5):
        decided = decide(forbid(f"context.min.recipient < {least}"), asked)
        assert decided.decision == ("deny" if number < least else "allow")
    assert asked.context["min"] == {"amount": 3, "object": 4, "recipient": number, "when": 4}
    assert asked.context["untrusted"] == (["recipient"] if number < 3 else [])
    anywhere = forbid("context.min has recipient && context.min.recipient < 1", 'action in Action::"tool.invoke"')
    assert decide(anywhere, asked).decision == ("deny" if number < 1 else "allow")
    local = TYPED.question("tool.begin", GOOD, asked.labels, principal="a", tenant="acme", user="u")
    assert decide(anywhere.replace("tool.invoke", "tool.begin").replace("in Action", "== Action"), local).decision == (
        "deny" if number < 1 else "allow"
    )


@pytest.mark.parametrize(
    "slip",
    [
        "context.min.recipent < 3",
        "context.min has recipent",
        "context.min.code < 3",
        "context.min < 3",
        "context.outsiders.isEmpty()",
    ],
)
def test_a_slip_about_where_things_came_from_is_told(slip: str) -> None:
    with pytest.raises(PolicyError):
        check_policies(files(PERMIT_ALL, forbid(slip)), [TYPED.shape])


def test_policies_see_who_may_not_read_what_is_said() -> None:
    leaking = forbid("context has outside")
    assert check_policies(files(PERMIT_ALL, leaking), [TYPED.shape]) == 2
    for readers, outside in (
        (None, None),
        (("@y.org",), None),
        (("@x.org", "eve@z.org"), ["eve@y.org"]),
        ((), ["eve@y.org"]),
    ):
        asked = labelled(to=Label(integrity="user"), order=Label(integrity="record", readers=readers))
        assert asked.context.get("outside") == outside
        assert asked.context.get("readers") == (None if readers is None else [*readers])
        assert decide(leaking, asked).decision == ("allow" if outside is None else "deny")
    unnamed = {"order": Label(integrity="record", readers=("@x.org",))}
    nobody = TYPED.question("tool.invoke", GOOD, unnamed, principal="a", tenant="acme", user="u")
    assert nobody.context["outside"] == ["*"]


MAIL = Typed.of(
    ToolSpec(
        name="mail",
        input_schema={
            "type": "object",
            "properties": {
                "to": {"type": "string", "x-dominie": {"role": "recipient"}},
                "cc": {"x-dominie": {"role": "recipient"}},
                "subject": {"type": "string", "x-dominie": {"role": "text"}},
                "body": {"x-dominie": {"role": "text"}},
            },
            "required": ["to", "subject"],
        },
    )
)


def mail(**arguments: JsonValue) -> Mapping[str, JsonValue]:
    known: dict[str, JsonValue] = {"to": "ada@acme.org", "subject": "hi", **arguments}
    return MAIL.question("tool.invoke", known, {}, principal="a", tenant="t", user="u").context


@pytest.mark.parametrize("body", ["see\nx", ["hi", "see"], {"see": "hi"}, {"a": [{"b": "see"}]}])
def test_policies_see_all_that_others_are_told(body: JsonValue) -> None:
    for where in ({"subject": "see", "body": "hi"}, {"body": body}):
        assert "see" in str(mail(**where)["text"]) and "hi" in str(mail(**where)["text"])
    assert mail()["text"] == mail(body=None)["text"] == "hi"


def test_of_several_recipients_none_stands_for_all() -> None:
    assert mail()["recipient"] == mail(cc=None)["recipient"] == mail(cc=[])["recipient"] == "ada@acme.org"
    assert "recipient" not in mail(cc="eve@evil.example") and "recipient" not in mail(cc=["eve@evil.example"])


def test_a_role_of_several_arguments_is_asked_for_with_has() -> None:
    def check(condition: str) -> int:
        return check_policies(files(PERMIT_ALL, forbid(condition, 'action in Action::"mail"')), [MAIL.shape])

    assert check('context has recipient && context.recipient == "x"') == check('context.text == "x"') == 2
    with pytest.raises(PolicyError, match="recipient"):
        check('context.recipient == "x"')


def test_what_no_policy_looks_at_does_not_cost_a_decision() -> None:
    found = Policies("d", files(PERMIT_ALL, forbid('context.untrusted.contains("recipient")')))
    for order in ("A1", "A2", "A3"):
        asked = ask({**GOOD, "order": order})
        assert found.decide(asked).request == asked.request
    assert (found.hits, found.misses) == (2, 1)
    assert found.decide(ask({**GOOD, "to": "x"}, untrusted=("to",))).decision == "deny"


def test_tools_that_are_not_registered_yet_are_described_by_the_set() -> None:
    described = PolicyFile(name="tools.json", text=json.dumps({"tools": [REFUND.model_dump()]}))
    rule = forbid("context.arguments.cents > 5")
    assert check_policies((*files(PERMIT_ALL, rule), described)) == 2
    with pytest.raises(PolicyError, match="refund"):
        check_policies(files(PERMIT_ALL, rule))
    with pytest.raises(PolicyError, match="describes no tools"):
        check_policies((*files(PERMIT_ALL), PolicyFile(name="tools.json", text='{"tools": [{}]}')))
    assert unknown_tools(files('permit(principal, action, resource == Tool::"refnd");'), [TYPED.shape]) == ["refnd"]


def test_two_tenants_tools_of_one_name_have_to_fit_both() -> None:
    other = REFUND.model_copy(update={"input_schema": {"type": "object", "properties": {"cents": {"type": "string"}}}})
    assert check_policies(
        files(PERMIT_ALL, forbid("context.arguments has cents")), [TYPED.shape, Typed.of(other).shape]
    )
    with pytest.raises(PolicyError, match="refund@1"):
        check_policies(files(PERMIT_ALL, forbid("context.arguments.cents > 5")), [TYPED.shape, Typed.of(other).shape])


def test_a_diff_names_policies_and_not_the_space_between() -> None:
    before = files(PERMIT_ALL, '@id("b") forbid (principal, action, resource) when {context has amount};')
    after = files(
        '@id("b")  // more\nforbid (principal, action, resource) when { context has  code };',
        PERMIT_ALL.replace(" ", "  "),
        '@id("c") permit (principal, action, resource);',
    )
    found = diff(before, after)
    assert (found.added, found.changed, found.removed) == (("c",), ("b",), ())
    assert diff(after, ()).removed == ("all", "b", "c")
    assert diff(files("permit ("), before).added == ("all", "b")


def test_each_of_many_policies_is_named() -> None:
    many = [f'@id("p{n}") forbid (principal, action, resource) when {{ context.tenant == {n} }};' for n in range(12)]
    with pytest.raises(PolicyError) as raised:
        check_policies(files(PERMIT_ALL, *many))
    assert {problem.split(": ")[1] for problem in raised.value.problems} == {f"p{n}" for n in range(12)}
    assert Policies("d", files(PERMIT_ALL, *many)).rules[11].text.startswith('@id("p10")\nforbid')
