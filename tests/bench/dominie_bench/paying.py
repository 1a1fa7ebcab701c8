"""The tool worker of the back-test's benchmark: what it pays, nobody gets."""

import dominie


@dominie.tool(effect="external", idempotent=True, roles={"cents": "amount", "to": "recipient"})
async def pay(to: str, cents: int, note: str = "") -> str:
    """Pay somebody."""
    return "paid"


@dominie.tool(effect="read", integrity="record")
async def customers() -> list[str]:
    """Whom there is to pay."""
    return ["c-1", "c-2", "c-3"]


if __name__ == "__main__":
    dominie.serve(pay, customers, name="bench")
