"""The registry of tools, and their execution."""
