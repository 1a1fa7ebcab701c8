"""What policies are told of what checks found: only where they look, and never half of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from typer.testing import CliRunner

from dominie.cli import build
from dominie_contracts.audit import Entry
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.tool import ToolSpec
from dominie_kit.checks.looking import Found
from dominie_kit.handler_testing import PERMIT_ALL
from dominie_kit.policy.asking import Typed
from dominie_kit.policy.checking import PolicyError, check_policies
from dominie_kit.policy.looked_for import told
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question
from dominie_kit.policy.recorded import Lost, Recorded, again

PAY = Typed.of(ToolSpec(name="pay", input_schema={"type": "object", "properties": {"to": {"type": "string"}}}))
IBAN = 'context.found.contains("pii.iban")'
RIVALS = PolicyFile(name="deny.rivals.txt", text="mallory")


def forbid(condition: str, name: str = "f") -> str:
    return f'@id("{name}") @ask("privacy") forbid (principal, action, resource is Tool) when {{ {condition} }};'


def files(*texts: str) -> tuple[PolicyFile, ...]:
    return (PolicyFile(name="a.cedar", text="\n".join((PERMIT_ALL, *texts))), RIVALS)


def policies(*conditions: str) -> Policies:
    return Policies("d", files(*(forbid(each, f"f{at}") for at, each in enumerate(conditions))))


def asked(*kinds: str, checked: tuple[str, ...] = (), told_too: bool = True) -> Question:
    question = PAY.question("tool.invoke", {"to": "x"}, {}, principal="a-desk", tenant="acme", user="u-dana")
    if not told_too:
        return question
    found = told(Found({"/to": kinds} if kinds else {}, checked), frozenset())
    return replace(question, context={**question.context, **found})


@pytest.mark.parametrize(
    ("conditions", "sought"),
    [
        (('context.effect == "read"',), set()),
        ((IBAN,), {"pii.iban"}),
        ((IBAN, 'context.found.containsAny(["secret.jwt", "unchecked"])'), {"pii.iban", "secret.jwt", "unchecked"}),
        (('context.found.containsAll(["pii.email"])',), {"pii.email"}),
        (("context.found.isEmpty()",), {"*"}),
        (("context.found.contains(context.effect)",), {"*"}),
        ((f'{IBAN} && context.found == ["pii.iban"]',), {"pii.iban", "*"}),
        (('context.found.containsAny([context.effect, "pii.iban"])',), {"*"}),
        (('context == {"found": ["x"]}',), {"*"}),
    ],
    ids=range(9),
)
def test_what_policies_look_for_is_known_beforehand(conditions: tuple[str, ...], sought: set[str]) -> None:
    found = policies(*conditions)
    assert found.seeks(asked(told_too=False)) == sought
    assert ("found" in found.looks_at(asked(told_too=False))) == bool(sought)


def test_where_nobody_looks_nothing_has_to_be_found() -> None:
    found = policies('context.effect == "read"')
    assert found.decide(asked(told_too=False)).decision == "allow"
    assert found.decide(asked("pii.iban", checked=("pii",))).decision == "allow"


def test_a_policy_decides_by_what_was_found() -> None:
    found = policies(IBAN)
    assert found.decide(asked("pii.iban", checked=("pii",))).decision == "ask"
    assert found.decide(asked("pii.email", checked=("pii",))).decision == "allow"
    assert found.decide(asked("unchecked")).decision == "allow"


@pytest.mark.parametrize("question", [asked(told_too=False), asked(), asked(checked=("secret",))], ids=range(3))
def test_what_was_not_looked_for_is_not_decided(question: Question) -> None:
    """Policies may have changed since the checks looked."""
    decided = policies(IBAN).decide(question)
    assert decided.decision == "deny"
    assert decided.why == ("undecidable: the checks that policies look at have not looked",)


def test_who_looks_at_all_of_it_is_told_all() -> None:
    found, question = policies("!context.found.isEmpty()"), asked(told_too=False)
    everything = told(Found({"/to": ("pii.email",)}, ("pii", "secret")), frozenset({"*"}))
    assert found.decide(replace(question, context={**question.context, **everything})).decision == "ask"
    assert found.decide(asked("pii.email", checked=("pii", "secret"))).decision == "deny"


def recorded(question: Question, under: Policies) -> Recorded:
    data: dict[str, Any] = under.decide(question).model_dump(mode="json")
    entry = Entry(
        position=1,
        stream=f"acme.tool.{1:032x}",
        version=2,
        type="tool.decided.v1",
        time="2026-11-21T12:00:00+00:00",
        agent="a-desk",
        user="u-dana",
        run="r-1",
        summary="",
        data=data,
    )
    return Recorded.of(entry)


def test_a_past_call_is_decided_again_by_what_was_found_then() -> None:
    past = recorded(asked("pii.iban", checked=("pii",)), policies(IBAN))
    assert again(past, policies(IBAN)).decision == "ask"
    assert again(past, policies('context.found.contains("pii.card")')).decision == "allow"
    assert again(past, policies("false")).decision == "allow"


@pytest.mark.parametrize("question", [asked(told_too=False), asked("pii.iban", checked=("pii",))], ids=range(2))
def test_a_past_call_that_was_not_looked_at_so_cannot_be_decided_again(question: Question) -> None:
    past = recorded(question, policies("false"))
    with pytest.raises(Lost, match="did not look then"):
        again(past, policies('context.found.contains("secret.jwt")'))


def test_a_kind_that_nothing_finds_is_a_slip() -> None:
    kinds = ("pii.iban", "injection", "unchecked", "deny.rivals")
    assert check_policies(files(*(forbid(f'context.found.contains("{kind}")', kind) for kind in kinds))) == 5
    for slip in ("pii.ibann", "deny.others", "iban"):
        with pytest.raises(PolicyError, match=r"in context\.found, which no check finds"):
            check_policies(files(forbid(f'context.found.contains("{slip}")')))


@pytest.mark.parametrize("text", ["# nothing", "..."])
def test_a_set_with_a_bad_deny_list_is_refused(text: str) -> None:
    bad = PolicyFile(name="deny.bad.txt", text=text)
    with pytest.raises(PolicyError, match=r"deny\.bad\.txt: .*term"):
        check_policies((*files(), bad))
    with pytest.raises(ValueError, match="term"):
        Policies("d", (*files(), bad))


CASES: list[tuple[dict[str, JsonValue], str]] = [
    ({"arguments": {"to": "DE89370400440532013000"}}, "ask"),
    ({"arguments": {"to": "DE88370400440532013000"}}, "allow"),
    ({"arguments": {"to": "Mallory"}}, "deny"),
    ({"arguments": {"to": "x"}, "found": ["pii.iban"]}, "ask"),
    ({"arguments": {"to": "Mallory"}, "found": []}, "allow"),
]


def test_the_cases_of_a_folder_are_looked_at(tmp_path: Path) -> None:
    rivals = '@id("rivals") forbid (principal, action, resource) when { context.found.contains("deny.rivals") };'
    (tmp_path / "a.cedar").write_text("\n".join((PERMIT_ALL, forbid(IBAN), rivals)))
    (tmp_path / RIVALS.name).write_text(RIVALS.text)
    (tmp_path / "tools.json").write_text(json.dumps({"tools": [PAY.spec.model_dump()]}))
    rows = [f'[[case]]\nname = "{at}"\ntool = "pay"\nexpect = "{expect}"' for at, (_, expect) in enumerate(CASES)]
    told_ = [
        f"arguments = {{ to = {json.dumps(case['arguments']['to'])} }}"  # type: ignore[index,call-overload]  # as above
        + (f"\nfound = {json.dumps(case['found'])}" if "found" in case else "")
        for case, _ in CASES
    ]
    (tmp_path / "cases.toml").write_text("\n".join(f"{row}\n{more}" for row, more in zip(rows, told_, strict=True)))
    done = CliRunner().invoke(build(), ["policy", "test", str(tmp_path), "--folder", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["ok"], found["unproven"]) == (True, [])


def test_a_case_that_only_a_model_could_tell_has_to_say_it(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text("\n".join((PERMIT_ALL, forbid('context.found.contains("injection")'))))
    (tmp_path / "tools.json").write_text(json.dumps({"tools": [PAY.spec.model_dump()]}))
    case = '[[case]]\nname = "one"\ntool = "pay"\nexpect = "ask"\narguments = { to = "x" }\n'
    run = ["policy", "test", str(tmp_path), "--folder", str(tmp_path)]
    (tmp_path / "cases.toml").write_text(case)
    assert "say what is `found`: injection" in CliRunner().invoke(build(), run).stderr
    (tmp_path / "cases.toml").write_text(case + 'found = ["injection"]\n')
    assert CliRunner().invoke(build(), run).exit_code == 0


def test_the_commands_say_what_there_is_and_what_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(PERMIT_ALL)
    (tmp_path / RIVALS.name).write_text(RIVALS.text)
    file, there = tmp_path / "value.json", ["--policies", str(tmp_path), "--json"]
    file.write_text(json.dumps({"to": ["mallory", "dana@example.com"]}))
    listed = json.loads(CliRunner().invoke(build(), ["checks", "list", *there]).stdout)
    assert [each["name"] for each in listed["checks"]][-3:] == ["pii", "secret", "deny.rivals"]
    tried = json.loads(CliRunner().invoke(build(), ["checks", "try", "--file", str(file), *there]).stdout)
    assert tried["at"] == {"/to/0": ["deny.rivals"], "/to/1": ["pii.email"]}
    plain = CliRunner().invoke(build(), ["checks", "try", "nothing here"])
    assert (plain.exit_code, plain.stdout) == (0, "Nothing was found by pii, secret.\n")
    assert CliRunner().invoke(build(), ["checks", "try"]).exit_code == 1
    assert CliRunner().invoke(build(), ["checks", "try", "--file", str(tmp_path / "gone")]).exit_code == 1
