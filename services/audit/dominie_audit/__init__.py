"""Trails, search and the check of the log."""
