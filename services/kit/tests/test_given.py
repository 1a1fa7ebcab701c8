"""The one label of what a run was given, as its outcomes say it."""

import pytest

from dominie_contracts import Forbidden, ToolFailed
from dominie_contracts.action import Finished, Unknown
from dominie_contracts.provenance import NOTHING, Label
from dominie_contracts.seen import LOST
from dominie_kit.governed.given import Given
from dominie_kit.handler_testing import Desk

pytestmark = pytest.mark.anyio
RECORD = Label(integrity="record", readers=("@x.org",), sources=("memory:note",))


async def test_it_is_the_join_of_what_each_outcome_says() -> None:
    desk, given, rebuilt = Desk("tool"), Given(), Given()
    fine = Finished(outcome="ok", label=RECORD, duration_ms=1)
    failed, refused = (
        Finished(outcome="error", problem=problem.details, duration_ms=1)
        for problem in (ToolFailed("x"), Forbidden("x"))
    )
    for run, *outcomes in (("r-1", fine, refused), ("r-2", fine, failed), ("r-3", Unknown(why="x")), ("r-4", fine)):
        await desk.append("tool", run, *outcomes, run=run)
    await desk.append("tool", "r-5", Finished(outcome="ok", duration_ms=1), run="r-4")
    for each in (given, rebuilt):
        async for event in desk.store.read_all(category="tool"):
            each.apply(event)
    assert given.of("acme", "r-1") == Label(integrity="platform", readers=("@x.org",), sources=("tool:r-1",))
    assert given.of("acme", "r-2").integrity == given.of("acme", "r-4").integrity == "untrusted"
    assert given.of("acme", "r-4").sources == ("tool:r-5", "tool:r-4")
    assert given.of("acme", "r-3") == given.of("other", "r-1") == given.of("acme", None) == NOTHING
    assert [rebuilt.of("acme", f"r-{at}") for at in range(6)] == [given.of("acme", f"r-{at}") for at in range(6)]


async def test_a_run_that_was_let_go_was_given_anything() -> None:
    desk, given = Desk("tool"), Given(runs=2)
    fine = Finished(outcome="ok", label=RECORD, duration_ms=1)
    for number in range(3):
        for event in await desk.append("tool", f"s{number}", fine, run=f"r-{number}"):
            given.apply(event)
    assert [given.of("acme", f"r-{number}").integrity for number in range(3)] == ["untrusted", "record", "record"]
    for event in await desk.append("tool", "again", fine, run="r-0"):
        given.apply(event)
    assert given.of("acme", "r-0") == LOST
