"""What is logged of an error says where it was, and nothing that anybody said."""

import json
import subprocess
import sys

import pytest

from dominie_kit.errors import KitError
from dominie_kit.house.service_process import reason_of
from dominie_kit.logs import where

SAID = "Dana Whitlock lives at 17 Gooseberry Lane"
PROGRAM = f"""
import asyncio, logging, structlog
from dominie_kit.logs import set_up_logs

set_up_logs("info")
log = structlog.get_logger()

def fail():
    raise KeyError({SAID!r})

async def main():
    await asyncio.gather(asyncio.to_thread(fail))

try:
    fail()
except KeyError as error:
    log.error("one.passed", exc_info=error)
    log.exception("one.caught")
    logging.getLogger("dominie.bus").exception("a message could not be handled")
    logging.getLogger("litellm").error("failed with %s" % error)
try:
    asyncio.run(main())
except KeyError as error:
    log.error("one.awaited", exc_info=ExceptionGroup({SAID!r}, [ValueError({SAID!r}), error]))
asyncio.new_event_loop().call_exception_handler({{"message": {SAID!r}, "exception": KeyError({SAID!r})}})
"""


def test_a_line_says_where_and_of_what_type_and_nothing_that_was_said() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert "Whitlock" not in done.stdout + done.stderr
    told = [(line["event"], line["level"]) for line in lines]
    ours = [("one.passed", "error"), ("one.caught", "error"), ("a message could not be handled", "error")]
    assert told == [*ours, ("library", "error"), ("one.awaited", "error"), ("library", "error")]
    assert all("KeyError" in line["exception"] for line in lines if line.get("logger") != "litellm")
    assert "in fail" in lines[0]["exception"] and lines[3]["place"] == "<string>:20"


def test_what_an_error_came_from_is_told_and_a_loop_ends() -> None:
    def fail() -> None:
        try:
            raise KeyError(SAID)
        except KeyError as error:
            raise ValueError(SAID) from error

    with pytest.raises(ValueError, match="Whitlock") as caught:
        fail()
    told = where(caught.value)
    assert told.index("ValueError") < told.index("which came from:") < told.rindex("KeyError")
    assert caught.value.__cause__ is not None
    caught.value.__cause__.__cause__ = caught.value
    assert where(caught.value) == told
    assert SAID not in told


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ExceptionGroup("", [KeyError(SAID)]), "KeyError"),
        (KitError("give another folder"), "KitError: give another folder"),
        (FileNotFoundError(2, "No such file", "/x"), "FileNotFoundError: [Errno 2] No such file: '/x'"),
    ],
)
def test_why_a_service_ended_is_told_in_our_words_alone(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
