"""Limits that calls share: guardrail's second aggregate, and the ledger that keeps their sums."""
