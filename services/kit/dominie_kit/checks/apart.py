"""Looks with one check in a process of its own: a regular expression there holds nobody up."""

import json
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from subprocess import DEVNULL

import anyio
from pydantic import TypeAdapter, ValidationError

from dominie_kit.checks import apart_main

_MEMORY = 2 * 2**30
_PATIENCE_S = 30.0
_room = anyio.CapacityLimiter(2)
_answer = TypeAdapter(list[list[str]])


class NotLooked(Exception):
    """A check could not look; its text says why."""


async def look_apart(entry: EntryPoint, texts: Sequence[str], cpu_s: float) -> list[list[str]]:
    """What a check finds in each text, within so many seconds of the processor's time.

    Raises:
        NotLooked: It took longer, it failed, or others are looking.
    """
    named = [entry.name, entry.value, entry.group]
    asked = json.dumps([cpu_s, _MEMORY, sys.path, named, list(texts)]).encode()
    command = [sys.executable, "-I", apart_main.__file__]
    try:
        with anyio.fail_after(_PATIENCE_S):
            async with _room:
                ended = await anyio.run_process(command, input=asked, stderr=DEVNULL, check=False)
    except TimeoutError as late:
        raise NotLooked(f"no answer within {_PATIENCE_S:g} s") from late
    if ended.returncode:
        raise NotLooked(f"failed, or took longer than {cpu_s:g} s of the processor's time")
    try:
        found = _answer.validate_json(ended.stdout)
    except ValidationError as error:
        raise NotLooked("its answer is none") from error
    if len(found) != len(texts):
        raise NotLooked("its answer is none")
    return found
