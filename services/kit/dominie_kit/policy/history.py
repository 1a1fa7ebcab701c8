"""The decisions and the policies of the past, as audit tells them to who may read it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from dominie_contracts import Invalid, StreamName
from dominie_contracts.action import Decided
from dominie_contracts.audit import Entries, Entry, Search
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.tool import TOOL
from dominie_kit.policy.explain import files_of, set_of

if TYPE_CHECKING:
    from dominie import Client

_PAGE = 1000


def decisions(client: "Client", since: datetime | None, until: datetime | None) -> Iterator[Entry]:
    """Every decision in this time, oldest first in each category."""
    for category in (TOOL, MODEL, MEMORY):
        yield from _all(
            client,
            lambda after, category=category: Search(  # type: ignore[misc]  # mypy knows no default of a lambda
                type=f"{category}.decided", since=since, until=until, after=after, earliest=True, limit=_PAGE
            ),
        )


def decisions_of(client: "Client", action: str) -> list[Entry]:
    """How one action was decided, each time.

    Raises:
        Invalid: No action begins so, or several do, or it was never decided.
    """
    try:
        asked = Search(action=action, earliest=True, limit=_PAGE)
    except ValidationError as error:
        raise Invalid(f"{action!r} is no action's id: `dominie trace RUN --json` has them") from error
    found = client.ask(asked, Entries).entries
    streams = {entry.stream for entry in found if entry.type.endswith(f".{Decided.KIND}")}
    if len(streams) != 1:
        what = "several actions begin" if streams else "no action that was decided begins"
        raise Invalid(f"{what} with {action!r}: `dominie trace RUN` and `dominie approvals list` show their ids")
    return [entry for entry in found if entry.type.endswith(f".{Decided.KIND}")]


def policies_of(client: "Client", digest: str) -> tuple[PolicyFile, ...] | None:
    """A policy set that was in force once, or proposed; None where it is not to be found."""
    return set_of(_all(client, lambda after: Search(type="policy", after=after, earliest=True, limit=_PAGE)), digest)


def policies_in_force(client: "Client") -> tuple[PolicyFile, ...]:
    """What decides for the caller's tenant now: the platform's set, and the tenant's own.

    Raises:
        Invalid: There is none.
    """
    latest: dict[str, Entry] = {}
    for entry in _all(client, lambda after: Search(type="policy.published", after=after, earliest=True, limit=_PAGE)):
        latest[StreamName.parse(entry.stream).tenant] = entry
    if PLATFORM not in latest:
        raise Invalid("no policies are in force: `dominie policy publish DIR` puts some")
    sets = (latest[PLATFORM], *(entry for tenant, entry in latest.items() if tenant != PLATFORM))
    return tuple(file for entry in sets for file in files_of(entry))


def _all(client: "Client", page: Callable[[int], Search]) -> Iterator[Entry]:
    after = 0
    while True:
        found = client.ask(page(after), Entries)
        yield from found.entries
        if not found.truncated or not found.entries:
            return
        after = found.entries[-1].position
