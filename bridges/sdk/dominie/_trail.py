"""Every event of a run, page by page."""

from dominie._sync import Client
from dominie_contracts import Invalid
from dominie_contracts.audit import Entries, Entry, Trail


def whole_trail(client: Client, run: str) -> list[Entry]:
    """The events of a run, in order.

    Raises:
        Invalid: No such run is on record.
    """
    found: list[Entry] = []
    while True:
        page = client.ask(Trail(run=run, after=found[-1].position if found else 0), Entries)
        found += page.entries
        if not page.truncated or not page.entries:
            break
    if not found:
        raise Invalid(f"no run {run!r} is on record; `dominie ps` shows the latest", run=run)
    return found
