"""What policies are asked when a run wants more than it was let. Pure."""

import math

from pydantic import JsonValue

from dominie_contracts.token import Grants
from dominie_kit.policy.question import Question
from dominie_kit.policy.shapes import WIDEN


def widening(
    principal: str, run: str, grants: Grants, max_cost_usd: float | None, *, tenant: str, user: str
) -> Question:
    """May this agent's run have that, too, and spend so much in all?"""
    told: dict[str, JsonValue] = {
        "tenant": tenant,
        "user": user,
        "tools": [*grants.tools],
        "models": [*grants.models],
        "namespaces": [*grants.namespaces],
    }
    if max_cost_usd is not None:
        told["amount"] = math.ceil(round(max_cost_usd * 100, 6))
    return Question(principal, WIDEN, "Run", run, told)
