"""What guardrail keeps beside its aggregates."""
