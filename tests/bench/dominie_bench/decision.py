"""`dominie bench decision`: what a decision costs, schema check and reasons included, on the calls of AgentDojo."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dominie_bench.measure import percentile
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.provenance import Label
from dominie_contracts.tool import ToolSpec
from dominie_kit.policy.asking import Typed
from dominie_kit.policy.checking import check_policies
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question

_CALLS = Path(__file__).with_name("dojo_calls.json")
_GENERAL = """
@id("granted")
permit (principal, action, resource);

@id("untrusted-recipient")
@why("the recipient comes from no record of this run")
forbid (principal, action == Action::"tool.invoke", resource)
when { context.effect == "external" && context.untrusted.contains("recipient") };
"""


def run(policies: int, passes: int, say: Callable[[str], None]) -> dict[str, object]:
    """Decide every call of the suites, each pass as another agent, so that none is known; then once more, all known."""
    found = json.loads(_CALLS.read_text())
    specs = [ToolSpec.model_validate(spec) for spec in found["tools"]]
    typed = {spec.name: Typed.of(spec) for spec in specs}
    files = (PolicyFile(name="bench.cedar", text=_set(specs, policies)),)
    held = check_policies(files, [each.shape for each in typed.values()])
    say(f"{held} policies, {len(found['calls'])} calls of AgentDojo {found['suites']}, {len(specs)} tools")
    made = Policies("bench", files)
    rate = 0.0
    misses_us, hits_us = list[float](), list[float]()
    for number in range(passes + 1):
        questions = [_question(typed[call["tool"]], call["arguments"], number) for call in found["calls"]]
        first, second = _pass(made, questions), _pass(made, questions)
        if number > 0:  # in the first pass what is kept of set and schemas is made
            misses_us += [took for took, hit in first if not hit]
            hits_us += [took for took, hit in second if hit]
            rate = sum(hit for _, hit in first) / len(first)
    return {
        "policies": held,
        "p50_us": round(percentile(sorted(misses_us), 0.5), 1),
        "p99_us": round(percentile(sorted(misses_us), 0.99), 1),
        "cached_p50_us": round(percentile(sorted(hits_us), 0.5), 1),
        "hit_rate": round(rate, 3),
        "calls": len(found["calls"]),
    }


def _pass(policies: Policies, questions: list[Question]) -> list[tuple[float, bool]]:
    """Microseconds of each decision, and whether it was known."""
    found = list[tuple[float, bool]]()
    for question in questions:
        hits, begun = policies.hits, time.perf_counter()
        policies.decide(question)
        found.append(((time.perf_counter() - begun) * 1e6, policies.hits > hits))
    return found


def _question(tool: Typed, arguments: dict[str, Any], number: int) -> Question:
    labels = {name: Label(integrity="record") for name in tool.roles if name in arguments}
    return tool.question("tool.invoke", arguments, labels, principal=f"a-dojo-{number}", tenant="local", user="u-emma")


def _set(specs: list[ToolSpec], policies: int) -> str:
    """Two policies for every tool, and then one after another for one tool each; every other one reads an argument."""
    rules = [_GENERAL]
    for number in range(policies - 2):
        spec = specs[number % len(specs)]
        rules.append(_rule(f"own-{number}", spec, reads=number % 2 == 0))
    return "\n".join(rules)


def _rule(name: str, spec: ToolSpec, *, reads: bool) -> str:
    properties = spec.input_schema.get("properties")
    texts = [
        key
        for key, part in (properties.items() if isinstance(properties, dict) else ())
        if isinstance(part, dict) and part.get("type") == "string"
    ]
    condition = 'context.user == "u-nobody"'
    if reads and texts:
        read = f"context.arguments.{texts[0]}"
        condition = f'context.arguments has {texts[0]} && {read} like "*forbidden*"'
    head = f'forbid (principal, action in Action::"{spec.name}", resource)'
    return f'@id("{name}")\n{head}\nwhen {{ {condition} }};\n'
