"""Runs: identity's second aggregate, and what a run token may say."""
