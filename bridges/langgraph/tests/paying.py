"""A tool worker that pays, once for a key, and notes what it paid."""

import os
from pathlib import Path

import dominie

paid: set[str] = set()


@dominie.tool(effect="external", idempotent=True, roles={"cents": "amount"})
def pay(order: str, cents: int, ctx: dominie.ToolContext) -> str:
    """Pay for an order."""
    if ctx.key not in paid:
        paid.add(ctx.key)
        with Path(os.environ["PAID"]).open("a") as file:
            file.write(f"{order}\n")
    return f"paid {cents} for {order}"
