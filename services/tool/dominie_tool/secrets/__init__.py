"""Secrets that sandboxed tools may use, and never see."""
