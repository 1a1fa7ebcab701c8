"""Sandboxed tools run with what their registration asks for, as long as their owner may still have it."""

import pytest
from pydantic import JsonValue

from dominie_contracts import Forbidden, ToolFailed, Unavailable
from dominie_contracts.artifact import CHUNK_BYTES, reference
from dominie_contracts.tool import TOOL, Profile, ToolRegistered, ToolSpec
from dominie_kit import NotDone
from dominie_kit.artifacts import Artifacts
from dominie_kit.handler_testing import Desk
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.boxes import Boxes
from dominie_tool.aggregate import State, evolve
from dominie_tool.projection import tool_of
from dominie_tool.sandbox import Sandbox
from dominie_tool.sandbox.testing import gvisor
from dominie_tool.settings import Settings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]
HOG = "def hog(mb): return len(bytearray(mb << 20)) >> 20"


async def hog(
    desk: Desk,
    settings: Settings,
    mb: int,
    profile: Profile | None,
    *,
    source: str = HOG,
    output: dict[str, JsonValue] | None = None,
) -> JsonValue:
    spec = ToolSpec(
        name="hog",
        input_schema={},
        output_schema=output or {},
        kind="sandboxed",
        source=source,
        function="hog",
        profile=profile,
    )
    state = evolve(State(), ToolRegistered(spec=spec, owner="u-dana"))
    boxes = Boxes(settings, Values(Artifacts(desk.blobs, max_bytes=settings.tool_artifact_bytes)))
    return await boxes.run(tool_of(state, spec), {"mb": mb}, desk.actions(TOOL).open(desk.context()))


async def test_a_tool_has_the_memory_it_asked_for(desk: Desk) -> None:
    assert await hog(desk, Settings(), 300, Profile(memory_mb=512)) == 300
    with pytest.raises(ToolFailed, match="needed more than 256 MB"):
        await hog(desk, Settings(), 300, None)
    with pytest.raises(ToolFailed, match="needed more than 64 MB"):
        await hog(desk, Settings(), 100, Profile(memory_mb=64))


@pytest.mark.parametrize(
    ("schema", "returned", "why"),
    [
        ({"type": "integer"}, "7", None),
        ({"type": "integer"}, "'7'", 'its result: $: does not fit "type": "integer"'),
        ({"type": "array", "items": {"type": "integer"}}, "[1, None]", 'its result: $[1]: does not fit "type"'),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"const": 7}}}, "8", 'its result: $: does not fit "const"'),
        ({"$ref": "#"}, "8", "refers to what is not in it, or to itself"),
    ],
)
async def test_a_result_is_what_the_output_schema_says(
    desk: Desk, schema: dict[str, JsonValue], returned: str, why: str | None
) -> None:
    source = f"def hog(mb): return {returned}"
    if why is None:
        assert await hog(desk, Settings(), 1, None, source=source, output=schema) == 7
        return
    with pytest.raises(ToolFailed) as raised:
        await hog(desk, Settings(), 1, None, source=source, output=schema)
    assert why in raised.value.detail


DEEP = """
def hog(mb):
    nested = mb
    for _ in range(mb):
        nested = [nested]
    return nested
"""


@pytest.mark.parametrize("deep", [201, 240, 256, 900])
async def test_a_result_that_could_not_be_read_again_is_none(desk: Desk, deep: int) -> None:
    with pytest.raises(ToolFailed, match="its result cannot be read"):
        await hog(desk, Settings(), deep, None, source=DEEP)


async def test_a_result_may_be_nested(desk: Desk) -> None:
    found = await hog(desk, Settings(), 150, None, source=DEEP)
    assert str(found).count("[") == 150


async def test_a_large_result_is_an_artifact(desk: Desk) -> None:
    profile = Profile(output_bytes=2_000_000)
    result = await hog(desk, Settings(), 1, profile, source="def hog(mb): return {'a': 'x' * 1_000_000, 'b': 1}")
    assert isinstance(result, dict) and result["b"] == 1
    found = reference(result["a"])
    assert found is not None and (found.size, found.media_type) == (1_000_000, "text/plain")
    small = Settings(tool_artifact_bytes=CHUNK_BYTES)
    with pytest.raises(ToolFailed, match="are too many"):
        await hog(desk, small, 1, profile, source="def hog(mb): return 'x' * 1_000_000")


WHERE = "def hog(mb):\n  import os\n  return os.uname().release.endswith('-gvisor')"


@pytest.mark.timeout(1000)  # of which gVisor's build takes most, once
async def test_a_tool_runs_in_the_back_end_it_asked_for_or_as_the_service_is_set(desk: Desk) -> None:
    runsc = gvisor()
    asked = Profile(backend="runsc")
    assert await hog(desk, Settings(tool_runsc=runsc), 1, asked, source=WHERE) is True
    assert await hog(desk, Settings(tool_runsc=runsc), 1, None, source=WHERE) is False
    usual = Settings(tool_runsc=runsc, tool_sandbox_backend="runsc")
    assert await hog(desk, usual, 1, Profile(memory_mb=64), source=WHERE) is True
    assert await hog(desk, usual, 1, Profile(backend="bubblewrap"), source=WHERE) is False


async def test_without_its_back_end_a_tool_is_not_run(desk: Desk) -> None:
    without = Settings(tool_runsc="/nowhere/runsc")
    with pytest.raises(NotDone, match="'/nowhere/runsc' is not installed") as raised:
        await hog(desk, without, 1, Profile(backend="runsc"), source=WHERE)
    assert isinstance(raised.value.problem, Unavailable)
    boxes = Boxes(without, Values(Artifacts(desk.blobs)))
    spec = ToolSpec(name="hog", input_schema={}, kind="sandboxed", profile=Profile(backend="runsc"))
    assert "is not installed" in str(await boxes.lacking(spec))
    assert await boxes.layers(spec) == ()
    assert await boxes.lacking(spec.model_copy(update={"profile": None})) is None


async def test_what_is_open_no_longer_is_not_run(desk: Desk) -> None:
    less = Settings(tool_sandbox_owners={"u-dana": Profile(memory_mb=128)})
    with pytest.raises(NotDone) as raised:
        await hog(desk, less, 1, Profile(memory_mb=512))
    assert isinstance(raised.value.problem, Forbidden)
    assert raised.value.problem.extra == {"part": "memory_mb", "limit": 128}
