"""Policies and approvals."""
