"""What is personal: sealed under a key of its own, opened where it may be, forgotten with it."""
