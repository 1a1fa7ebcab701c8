"""The cases that a folder of policies carries, `cases.toml`, and whether the policies decide them as it says.

[[case]]
name = "a large refund asks finance"
tool = "refund"
arguments = { order = "A1", amount_cents = 9000 }
expect = "ask"
"""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import anyio
from pydantic import Field, JsonValue, NonNegativeFloat, ValidationError

from dominie_contracts import Grants, Message, Problem
from dominie_contracts.action import Decided, Decision
from dominie_contracts.endorsing import Better, Scope
from dominie_contracts.plans import Lack
from dominie_contracts.provenance import Integrity, Label
from dominie_contracts.tool import ToolSpec
from dominie_kit.checks.installed import installed
from dominie_kit.checks.looking import CPU_S, Found, Looking
from dominie_kit.errors import KitError
from dominie_kit.policy.asking import Command, Typed
from dominie_kit.policy.endorsing import endorsing
from dominie_kit.policy.looked_for import told as found_told
from dominie_kit.policy.planned import told
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question
from dominie_kit.policy.shapes import FOUND
from dominie_kit.policy.widening import widening

CASES = "cases.toml"


class BadCase(KitError):
    """A case that cannot be asked."""


class Endorsing(Message):
    """What a person says of data in a run."""

    by: str = "u-somebody"
    groups: tuple[str, ...] = ()
    was: Integrity = "untrusted"
    to: Better = "record"
    scope: Scope = "run"


class Case(Message):
    """One request, and how it is to be decided."""

    name: str = Field(min_length=1)
    expect: Decision
    policies: tuple[str, ...] | None = None
    """By which policies; None: whichever."""
    agent: str = "a-test"
    user: str = "u-test"
    tenant: str = "local"
    tool: str | None = None
    version: str | None = None
    model: str | None = None
    namespace: str | None = None
    command: Literal["tool.invoke", "tool.begin", "memory.remember", "memory.recall"] | None = None
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    found: tuple[str, ...] | None = None
    """What checks find in the arguments; None: what those find that are installed, and the lists of the folder."""
    untrusted: tuple[str, ...] = ()
    """The arguments that come from no record of the run."""
    labels: dict[str, Integrity] = Field(default_factory=dict)
    """Where arguments come from; one that stands nowhere here comes from a record."""
    doubtful: tuple[str, ...] = ()
    """Of the untrusted, those that a record has, too: they are too short to say from where they are."""
    readers: tuple[str, ...] | None = None
    """Who may read what the arguments say; None: anybody."""
    tools: tuple[str, ...] = ()
    """What a model is offered."""
    priority: str = "standard"
    now: datetime | None = None
    lacks: Lack | Literal["nothing"] | None = None
    """In a run with a plan: why that does not hold the call, or `nothing`."""
    widen: Grants | None = None
    """What a run asks for beyond what it was let."""
    max_cost_usd: NonNegativeFloat | None = None
    """What it asks to spend."""
    endorse: Endorsing | None = None
    """Of a run of this agent for this user."""


class Result(Message):
    """How a case went."""

    name: str
    ok: bool
    expect: Decision
    got: Decision
    policies: tuple[str, ...]
    why: tuple[str, ...]


def read_cases(folder: Path) -> list[Case]:
    """The cases of a folder.

    Raises:
        BadCase: There are none, or one cannot be read.
    """
    path = folder / CASES
    try:
        found = tomllib.loads(path.read_text())
        if found.keys() != {"case"}:
            raise BadCase(f"{str(path)!r} holds something else than [[case]]: {', '.join(sorted(found)) or 'nothing'}")
        return [Case.model_validate(each) for each in found["case"]]
    except FileNotFoundError as error:
        raise BadCase(f"{str(path)!r} is not there: write one [[case]] for each thing that must hold") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadCase(f"{str(path)!r} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadCase(f"{str(path)!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def run_cases(cases: Iterable[Case], policies: Policies, specs: Sequence[ToolSpec]) -> list[Result]:
    """Decide each.

    Raises:
        BadCase: One names a tool or an argument that is not known.
    """
    return [_result(case, decide_case(case, policies, specs)) for case in cases]


def decide_case(case: Case, policies: Policies, specs: Sequence[ToolSpec]) -> Decided:
    """How one is decided.

    Raises:
        BadCase: It names a tool or an argument that is not known, or a value that is none.
    """
    clock_s = int((case.now or datetime.now(UTC)).timestamp())
    try:
        return policies.decide(_looked_at(case, policies, _question(case, specs)), clock_s=clock_s)
    except Problem as problem:
        raise BadCase(f"{case.name!r}: {problem.detail}") from problem


def unproven(results: Iterable[Result], policies: Policies) -> list[str]:
    """The policies that decided no case."""
    decided = {name for result in results for name in result.policies}
    return [rule.name for rule in policies.rules if rule.name not in decided]


def _question(case: Case, specs: Sequence[ToolSpec]) -> Question:
    own: dict[str, JsonValue] = {"tenant": case.tenant, "user": case.user}
    if sum(each is not None for each in (case.tool, case.model, case.namespace, case.widen, case.endorse)) != 1:
        raise BadCase(f"{case.name!r}: name one of tool, model, namespace, widen, endorse")
    if case.endorse is not None:
        return _of_endorsing(case, case.endorse)
    if case.widen is not None:
        return widening(case.agent, "a-run", case.widen, case.max_cost_usd, tenant=case.tenant, user=case.user)
    if case.tool is not None:
        return _of_tool(case, case.tool, specs)
    if case.model is not None:
        offered: dict[str, JsonValue] = {**own, "tools": [*case.tools], "priority": case.priority}
        return Question(case.agent, "model.chat", "Model", case.model, offered)
    return Question(case.agent, case.command or "memory.recall", "Namespace", case.namespace or "", own)


def _of_endorsing(case: Case, said: Endorsing) -> Question:
    return endorsing(
        said.by,
        "a-run",
        tenant=case.tenant,
        user=case.user,
        agent=case.agent,
        groups=said.groups,
        was=said.was,
        becomes=said.to,
        scope=said.scope,
    )


def _of_tool(case: Case, name: str, specs: Sequence[ToolSpec]) -> Question:
    known = [spec for spec in specs if spec.name == name and case.version in (None, spec.version)]
    if not known:
        raise BadCase(
            f"{case.name!r}: no tool {name!r} is registered, or described by the policies: `dominie tool list --json "
            "> tools.json` in their folder describes those of a project"
        )
    typed = Typed.of(known[-1])
    strange = {*case.untrusted, *case.labels, *case.doubtful} - typed.roles.keys()
    if strange:
        raise BadCase(f"{case.name!r}: {name} has no argument with a role called {', '.join(sorted(strange))}")
    named: dict[str, Integrity] = {**dict.fromkeys(case.untrusted, "untrusted"), **case.labels}
    asked = case.arguments if case.readers is not None else [each for each in typed.roles if each in case.arguments]
    labels = {
        each: Label(integrity=named.get(each, "record"), readers=case.readers, doubtful=each in case.doubtful)
        for each in asked
    }
    command: Command = "tool.begin" if case.command == "tool.begin" else "tool.invoke"
    found = typed.question(command, case.arguments, labels, principal=case.agent, tenant=case.tenant, user=case.user)
    if case.lacks is None:
        return found
    return replace(found, context={**found.context, **told(None if case.lacks == "nothing" else case.lacks)})


def _looked_at(case: Case, policies: Policies, question: Question) -> Question:
    """The same, with what checks find, where a policy looks at it."""
    if FOUND not in policies.looks_at(question):
        return question
    sought = policies.seeks(question)
    if case.found is None:
        looking, arguments = Looking(installed(), cpu_s=CPU_S), dict(case.arguments)
        found = anyio.run(lambda: looking.look(arguments, sought, lists=policies.lists))
        if found.failed:
            why = "; ".join(f"{name}: {each}" for name, each in sorted(found.failed.items()))
            raise BadCase(f"{case.name!r}: say what is `found`: {why}")
    else:
        found = Found({"": case.found} if case.found else {}, tuple(sorted(sought)))
    return replace(question, context={**question.context, **found_told(found, sought)})


def _result(case: Case, decided: Decided) -> Result:
    same = case.policies is None or {*case.policies} == {*decided.policies}
    return Result(
        name=case.name,
        ok=decided.decision == case.expect and same,
        expect=case.expect,
        got=decided.decision,
        policies=decided.policies,
        why=decided.why,
    )
