"""The desk's tools, moved out to the process that holds the ledger: `dominie worker tools.py`."""

from typing import Any

import ledger

import dominie


@dominie.tool(effect="read", integrity="record")
def lookup_order(order: str) -> dict[str, Any]:
    """Look up an order: who bought it, their e-mail address, and what they paid."""
    return ledger.lookup_order(order)


@dominie.tool(effect="read", integrity="record")
def list_customers() -> list[dict[str, str]]:
    """List every customer with their e-mail address."""
    return ledger.list_customers()


@dominie.tool(effect="external", idempotent=True, timeout_s=10, roles={"amount_cents": "amount"})
def refund(order: str, amount_cents: int, ctx: dominie.ToolContext) -> str:
    """Pay back an amount, in cents, for an order."""
    return ledger.refund(order, amount_cents, key=ctx.key)


@dominie.tool(effect="external", idempotent=True, timeout_s=10, roles={"to": "recipient"})
def send_mail(to: str, subject: str, body: str, ctx: dominie.ToolContext) -> str:
    """Send an e-mail."""
    return ledger.send_mail(to, subject, body, key=ctx.key)
