"""Functions as tools, and their schemas."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from dominie import Integrity, Invalid, Role, ToolContext, tool
from dominie_contracts.labels import wrong_marks

CONTEXT = ToolContext("k1", "u-dana", "a-desk", "r1", 30.0)


class Address(BaseModel):
    street: str
    city: str = "Leith"


def test_a_tool_is_still_the_function() -> None:
    @tool
    def double(n: int) -> int:
        """Twice as much.

        And nothing else.
        """
        return n * 2

    assert double(4) == 8
    assert repr(double) == "<tool 'double' version 1 (worker)>"
    assert (double.spec.name, double.spec.description) == ("double", "Twice as much.")
    assert (double.spec.effect, double.spec.kind, double.spec.idempotent) == ("external", "worker", False)


def test_the_schema_comes_from_the_annotations() -> None:
    @tool(roles={"to": "recipient"}, name="pay.out", version="2", effect="write", idempotent=True, timeout_s=5)
    def pay(
        to: str, cents: Annotated[int, Role("amount")], title: str, context: ToolContext, copy: list[str] | None = None
    ) -> None: ...

    schema: Any = pay.spec.input_schema
    assert list(schema["properties"]) == ["to", "cents", "title", "copy"]
    assert schema["required"] == ["to", "cents", "title"] and schema["additionalProperties"] is False
    assert schema["properties"]["to"] == {"type": "string", "x-dominie": {"role": "recipient"}}
    assert schema["properties"]["cents"] == {"type": "integer", "x-dominie": {"role": "amount"}}
    assert schema["properties"]["title"] == {"type": "string"}
    assert pay.spec.output_schema == {"type": "null"}
    assert (pay.spec.name, pay.spec.version, pay.spec.timeout_s) == ("pay.out", "2", 5)


def test_who_may_read_and_who_wrote_a_part_is_marked_beside_it() -> None:
    class Mail(BaseModel):
        sender: Annotated[str, Integrity("record")]
        text: Annotated[str, Integrity("user", readers=("@x.org",), author="sender")]

    @tool
    def pay(euros: Annotated[float, Role("amount", "major")]) -> Mail:
        return Mail(sender="dana", text=str(euros))

    found: Any = pay.spec.output_schema
    asked: Any = pay.spec.input_schema
    marks = {"integrity": "user", "readers": ["@x.org"], "author": "sender"}
    assert found["properties"]["text"]["x-dominie"] == marks
    assert asked["properties"]["euros"]["x-dominie"] == {"role": "amount", "unit": "major"}
    assert [*wrong_marks(found), *wrong_marks(asked)] == []


def test_integrity_is_marked_whole_or_in_parts() -> None:
    class Ticket(BaseModel):
        customer: Annotated[str, Integrity("record")]
        text: str

    @tool(integrity="record")
    def customer() -> dict[str, str]:
        return {}

    @tool
    def ticket() -> Ticket:
        return Ticket(customer="dana", text="hi")

    parts: Any = ticket.spec.output_schema
    assert customer.spec.output_schema["x-dominie"] == {"integrity": "record"}
    assert parts["properties"]["customer"]["x-dominie"] == {"integrity": "record"}
    assert parts["properties"]["text"] == {"type": "string"}


def test_json_arguments_become_values_and_results_json() -> None:
    @tool
    def ship(to: Address, parcels: int = 1) -> list[Address]:
        return [to] * parcels

    assert ship.run({"to": {"street": "Shore"}, "parcels": 1}, CONTEXT) == [{"street": "Shore", "city": "Leith"}]
    with pytest.raises(Invalid, match=r"to\.street"):
        ship.run({"to": {}}, CONTEXT)
    with pytest.raises(Invalid, match="more: Extra"):
        ship.run({"to": {"street": "Shore"}, "more": 1}, CONTEXT)


@pytest.mark.anyio
async def test_an_async_tool_runs_on_the_loop() -> None:
    @tool
    async def whom(context: ToolContext) -> str:
        return context.user

    assert await whom.arun({}, CONTEXT) == "u-dana"


def test_what_cannot_be_a_tool_is_refused() -> None:
    def many(*numbers: int) -> None: ...
    def one(n: int) -> None: ...

    for attempt in (
        lambda: tool(many),
        lambda: tool(roles={"m": "amount"})(one),
        lambda: tool(name="no spaces")(one),
        lambda: tool(timeout_s=0)(one),
    ):
        with pytest.raises(Invalid):
            attempt()


def test_a_sandboxed_tool_brings_its_module() -> None:
    @tool(kind="sandboxed")
    def inside(n: int) -> int:
        return n

    spec = inside.sandboxed()
    assert spec.kind == "sandboxed" and spec.function == "inside"
    assert spec.source is not None and "def inside(n: int)" in spec.source
