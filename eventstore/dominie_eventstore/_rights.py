"""The subjects a connection must be allowed to publish to for its use of the event store, and no others.

Replies and deliveries arrive under the connection's own inbox prefix alone. Consumers' names are wildcards here,
because the server checks what a consumer reads (its filter, in the subject of the request) against these rights.
"""

from collections.abc import Iterable

EVERYTHING = "*"
"""In `categories_read`: the events of all categories."""
_SEGMENT = 0
_STREAM = f"EVENTS_{_SEGMENT}"


def publish_subjects(categories_owned: Iterable[str], categories_read: Iterable[str] = ()) -> tuple[str, ...]:
    """What a service may publish to that writes some categories and reads others; what it owns it also reads."""
    owned = set(categories_owned)
    read = owned | set(categories_read)
    everything = EVERYTHING in read
    filters = [f"evt.{_SEGMENT}.>"] if everything else [_filter(category) for category in sorted(read)]
    return (
        *(_filter(category) for category in sorted(owned)),
        *(f"$JS.API.DIRECT.GET.{_STREAM}.{subjects}" for subjects in filters),
        *(f"$JS.API.CONSUMER.CREATE.{_STREAM}.*.{subjects}" for subjects in filters),
        *([f"$JS.FC.{_STREAM}.>"] if filters else []),
        *([f"$JS.API.STREAM.INFO.{_STREAM}"] if everything else []),
    )


def _filter(category: str) -> str:
    return f"evt.{_SEGMENT}.*.{category}.*"
