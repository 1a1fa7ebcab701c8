"""Erasing a person: what to look for, where it is found, and what is signed about it."""
