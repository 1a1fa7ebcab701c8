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
    return (*(_filter(category) for category in sorted(owned)), *_reading(read))


def _reading(categories: set[str]) -> tuple[str, ...]:
    if not categories:
        return ()
    all_of_them = EVERYTHING in categories
    gets = [">"] if all_of_them else [_filter(category) for category in sorted(categories)]
    follows = [f"evt.{_SEGMENT}.>"] if all_of_them else gets
    return (
        *(f"$JS.API.DIRECT.GET.{_STREAM}.{subjects}" for subjects in gets),
        *(f"$JS.API.CONSUMER.CREATE.{_STREAM}.*.{subjects}" for subjects in follows),
        f"$JS.API.CONSUMER.INFO.{_STREAM}.*",
        f"$JS.FC.{_STREAM}.>",
    )


def _filter(category: str) -> str:
    return f"evt.{_SEGMENT}.*.{category}.*"
