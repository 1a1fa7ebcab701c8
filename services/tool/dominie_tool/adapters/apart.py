"""Checks values against a schema in a process of its own, in bounded time and memory.

There `jsonschema-rs` does it, in a hundredth of the time. A schema can end its process (decision 0006), as its limits
do; here that is a refusal.
"""

import sys
from subprocess import DEVNULL

import anyio
from pydantic import JsonValue
from pydantic_core import from_json, to_json

from dominie_contracts import Invalid, Unavailable
from dominie_tool.adapters import apart_main
from dominie_tool.adapters.schema_parts import misfit

_CPU_S = 2.0
"""Of the processor's time, so that what is refused does not depend on what else runs."""
_MEMORY = 2 * 2**30
_PATIENCE_S = 15.0
_room = anyio.CapacityLimiter(2)


async def wrong_apart(schema: dict[str, JsonValue], value: JsonValue) -> str | None:
    """What is wrong with a value, and where; None if it fits.

    Raises:
        Invalid: It could not be checked within the limits, or the schema cannot be followed.
        Unavailable: Others are being checked.
    """
    command, asked = [sys.executable, "-I", apart_main.__file__], to_json([_CPU_S, _MEMORY, schema, value])
    try:
        with anyio.fail_after(_PATIENCE_S):
            async with _room:
                ended = await anyio.run_process(command, input=asked, stderr=DEVNULL, check=False)
    except TimeoutError as late:
        raise Unavailable("other arguments are being checked", retry_after_s=1) from late
    if ended.returncode:
        raise Invalid(f"could not be checked in time ({_CPU_S:g} s), or in {_MEMORY >> 30} GB of memory")
    wrong: list[list[str | int]] | bool | None = from_json(ended.stdout)
    if wrong is False:
        raise Invalid("its input schema refers to what is not in it, or to itself, or has a pattern nobody can read")
    return misfit(wrong[0], wrong[1], schema) if isinstance(wrong, list) else None
