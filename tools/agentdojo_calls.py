"""The calls of AgentDojo's suites, as `dominie bench decision` decides them; kept in `dojo_calls.json`.

python tools/agentdojo_calls.py > dojo_calls.json     runs where agentdojo is installed
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_jsonable_python

from dominie_bench.dojo.bank import Bank
from dominie_bench.dojo.suites import VERSION, suites

_RECIPIENTS = {"recipient", "recipients", "user", "user_email", "participants", "url", "email"}


def collect() -> dict[str, Any]:
    """Every tool, and every call that the ground truth of a user's task makes."""
    tools: dict[str, Any] = {}
    calls: list[Any] = []
    for name, suite in suites().items():
        for tool in Bank().tools([name]):
            tools[tool.spec.name] = _marked(tool.spec.model_dump(mode="json"))
        calls += (
            {"run": f"{name}-{task}", "tool": tool, "arguments": _told(args)} for task, tool, args in _calls(suite)
        )
    return {"suites": VERSION, "tools": [tools[name] for name in sorted(tools)], "calls": calls}


def _calls(suite: Any) -> Iterator[tuple[str, str, Any]]:
    for id_, task in suite.user_tasks.items():
        environment = task.init_environment(suite.load_and_inject_default_environment({}))
        for call in task.ground_truth(environment):
            yield id_, call.function, to_jsonable_python(dict(call.args))


def _told(value: Any) -> Any:
    """Arguments with a stand-in for each text of several words: that texts differ counts, not what they say."""
    if isinstance(value, dict):
        return {name: _told(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_told(part) for part in value]
    if isinstance(value, str) and " " in value:
        return f"text-{hashlib.sha256(value.encode()).hexdigest()[:12]}"
    return value


def _marked(spec: dict[str, Any]) -> dict[str, Any]:
    for name, part in spec["input_schema"].get("properties", {}).items():
        if name in _RECIPIENTS:
            part["x-dominie"] = {"role": "recipient"}
    return {key: spec[key] for key in ("name", "version", "input_schema", "effect")}


if __name__ == "__main__":
    print(json.dumps(collect(), ensure_ascii=False, separators=(",", ":")))
