"""Which subjects hold which events, and what a consumer may be called."""

import re

_CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,40}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


def category_filter(category: str | None) -> str:
    """What ends the subjects of one category's events, or of all, in any segment.

    Raises:
        ValueError: It is no category.
    """
    if category is None:
        return ">"
    if not _CATEGORY.fullmatch(category):
        raise ValueError(f"{category!r} is no category: use a service's name")
    return f"*.{category}.*"


def check_name(name: str) -> str:
    """Return the name if a consumer may be called so.

    Raises:
        ValueError: It is not 1 to 100 of `[A-Za-z0-9_-]`.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a consumer: use 1 to 100 of [A-Za-z0-9_-]")
    return name
