"""What fits into one list of approvals. Pure."""

from collections.abc import Sequence

from dominie_contracts.guardrail import ApprovalView

_MOST_BYTES = 512 * 1024
"""Half of what the bus carries in one message."""
_LARGE = 4096
"""Arguments of more bytes are left out of a list."""


def page(newest: Sequence[ApprovalView], most: int) -> tuple[ApprovalView, ...]:
    """The newest that fit, oldest first; one alone comes whole, for whoever answers has to see it."""
    if len(newest) == 1:
        return tuple(newest)
    shown, size = list[ApprovalView](), 0
    for view in map(_short, newest[:most]):
        size += len(view.model_dump_json())
        if size > _MOST_BYTES:
            break
        shown.append(view)
    return tuple(reversed(shown))


def _short(view: ApprovalView) -> ApprovalView:
    size = len(view.model_dump_json(include={"arguments", "labels"}))
    return view if size <= _LARGE else view.model_copy(update={"arguments": {}, "labels": {}, "whole": False})
