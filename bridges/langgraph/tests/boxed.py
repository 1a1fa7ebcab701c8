"""A tool that runs in the sandbox."""

import dominie


@dominie.tool(kind="sandboxed", effect="read")
def double(number: int) -> int:
    """Twice a number."""
    return 2 * number
