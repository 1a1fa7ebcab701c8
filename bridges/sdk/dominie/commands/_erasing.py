"""Waiting for an erasure, however long it takes, and saying on standard error how far it is."""

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from dominie import AsyncClient, Credentials
    from dominie_contracts.audit import EraseSubject, Erasing, Erasure

_ASK_S, _POLL_S = 30.0, 0.5
_WHAT = {
    "collecting": "collecting what to look for",
    "destroying": "destroying the key",
    "rebuilding": "building everything anew",
    "reading": "looking for what is left",
}


async def waited(credentials: "Credentials", command: "EraseSubject") -> "Erasure":
    """Erase, and say how far it is.

    Raises:
        Problem: What audit answered; Unavailable or DeadlineExceeded where it says no more that it is at it.
    """
    from dominie import AsyncClient, Problem

    found: Erasure | Problem
    async with AsyncClient(credentials=credentials) as client, anyio.create_task_group() as group:
        with _shown() as show:
            following = _Following(client, show)
            group.start_soon(following.run)
            try:
                found = await _answer(client, command, following)
            except Problem as problem:  # raised here, it would come out as a group of one
                found = problem
            group.cancel_scope.cancel()
    if isinstance(found, Problem):
        raise found
    return found


class _Following:
    """Asks how far it is, for ever."""

    def __init__(self, client: "AsyncClient", show: "Callable[[Erasing], None]") -> None:
        self._client = client
        self._show = show
        self.heard = False
        """Whether it was under way since this was set to False."""

    async def run(self) -> None:
        from dominie import Problem
        from dominie_contracts.audit import AskErasing, Erasing

        while True:
            await anyio.sleep(_POLL_S)
            with suppress(Problem):
                erasing = await self._client.ask(AskErasing(), Erasing, timeout_s=_ASK_S)
                self.heard |= erasing.stage is not None
                self._show(erasing)


async def _answer(client: "AsyncClient", command: "EraseSubject", following: _Following) -> "Erasure":
    """The same command under the same key joins what is under way."""
    from dominie import DeadlineExceeded
    from dominie_contracts.audit import Erasure

    key = uuid.uuid4().hex
    while True:
        following.heard = False
        try:
            return await client.ask(command, Erasure, key=key, timeout_s=_ASK_S)
        except DeadlineExceeded:
            if not following.heard:
                raise


@contextmanager
def _shown() -> "Iterator[Callable[[Erasing], None]]":
    """A bar where somebody looks; elsewhere a line for each thing that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("[dim]{task.fields[told]}[/]"))
    told = set[str]()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("asking", total=None, told="")

        def show(erasing: "Erasing") -> None:
            what = _WHAT.get(erasing.stage or "", "asking")
            if progress.disable and erasing.stage is not None and what not in told:
                told.add(what)
                print(f"{what} …", file=sys.stderr)
            total = erasing.all_bytes if erasing.stage == "reading" else None
            progress.update(task, description=what, total=total, completed=erasing.read_bytes, told=_told(erasing))

        yield show


def _told(erasing: "Erasing") -> str:
    if erasing.stage == "reading":
        return f"{erasing.files:,} files, {erasing.read_bytes / 1e6:,.0f} of {erasing.all_bytes / 1e6:,.0f} MB"
    return ", ".join(erasing.waits_for)
