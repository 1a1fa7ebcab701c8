"""The subjects a connection must be allowed to publish to for its use of the event store, and no others.

Replies and deliveries arrive under the connection's own inbox prefix alone. Consumers' names are wildcards here,
because the server checks what a consumer reads (its filter, in the subject of the request) against these rights.
"""

from collections.abc import Iterable

from dominie_contracts.subjects import SEGMENTS_STREAM

EVERYTHING = "*"
"""In `categories_read`: the events of all categories."""


def publish_subjects(categories_owned: Iterable[str], categories_read: Iterable[str] = ()) -> tuple[str, ...]:
    """What a service may publish to that writes some categories and reads others; what it owns it also reads."""
    owned = set(categories_owned)
    read = owned | set(categories_read)
    everything = EVERYTHING in read
    filters = ["evt.>"] if everything else [_filter(category) for category in sorted(read)]
    return (
        *(_filter(category) for category in sorted(owned)),
        *(f"$JS.API.DIRECT.GET.*.{subjects}" for subjects in filters),
        *(f"$JS.API.CONSUMER.CREATE.*.*.{subjects}" for subjects in filters),
        *(["$JS.FC.*.>", f"$JS.API.STREAM.MSG.GET.{SEGMENTS_STREAM}"] if filters else []),
        *(["$JS.API.STREAM.INFO.*"] if everything else []),
    )


def _filter(category: str) -> str:
    return f"evt.*.*.{category}.*"
