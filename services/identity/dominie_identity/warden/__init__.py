"""Who floods, and what is refused."""
