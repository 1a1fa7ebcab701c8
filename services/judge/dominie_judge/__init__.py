"""Verdicts on outputs before they reach a user."""
