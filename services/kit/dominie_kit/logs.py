"""What the processes of a house log: what happened and where in the code, and nothing that anybody said.

An error's text may quote an argument, and a log is not sealed (ADR 0016). So a line has the types of errors and the
places they came through; the text is in the reply, and in the action's own record.
"""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any

import structlog

OURS = "dominie"
"""The logger whose templates are constants of this code; of others' lines only the place is told."""


def set_up_logs(level: str) -> None:
    """Write JSON lines to standard error, those of libraries too."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            _without_texts,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=os.fdopen(os.dup(2), "w", buffering=1)),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)


def where(error: BaseException) -> str:
    """The types of an error and of those behind it, and where each came through."""
    return "\n".join(_told(error, set()))


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    yield from (line.rstrip() for line in traceback.format_list(traceback.extract_tb(error.__traceback__)))
    yield type(error).__qualname__
    if isinstance(error, BaseExceptionGroup):
        for number, each in enumerate(error.exceptions, 1):
            yield f"which holds, as number {number}:"
            yield from _told(each, seen)
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None and id(behind) not in seen:
        yield "which came from:"
        yield from _told(behind, seen)


def _without_texts(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say of an exception where it was, in place of structlog's own traceback, which ends in its text."""
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        line["exception"] = where(error)
    return line


class _Formatter(logging.Formatter):
    """A record as a line: its place, and its template where that is ours; never its arguments."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "event": record.msg if record.name.partition(".")[0] == OURS else "library",
            "logger": record.name,
            "place": f"{record.module}:{record.lineno}",
            "level": record.levelname.lower(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = where(record.exc_info[1])
        return json.dumps(line, default=str)
