"""The tool worker of the governed-call benchmark: one read-only tool that does next to nothing."""

import dominie


@dominie.tool(effect="read", integrity="record")
async def balance(account: str) -> dict[str, int]:
    """The balance of an account, in cents."""
    return {"cents": len(account)}


if __name__ == "__main__":
    dominie.serve(balance, name="bench")
