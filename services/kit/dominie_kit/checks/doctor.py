"""Whether the checks that are installed can look."""

from collections.abc import Iterator

from dominie_kit.checks.installed import installed
from dominie_kit.house.doctor import Check


def probe() -> Iterator[Check]:
    """One line for those that can, one for each that cannot."""
    here = installed()
    yield Check("checks of content", True, found=", ".join(here.checks))
    for name, why in here.broken.items():
        yield Check(f"check {name!r}", False, todo=f"cannot be loaded ({why}): mend or remove its package")
