"""Folders of Cedar policies, on their way to guardrail."""

from pathlib import Path

from dominie_contracts.guardrail import PolicyFile
from dominie_kit.checks.lists import is_list
from dominie_kit.errors import KitError
from dominie_kit.policy.rules import TOOLS


class NoPolicies(KitError):
    """A folder that should hold policies holds none."""

    def __init__(self, folder: Path, reason: str):
        super().__init__(f"{str(folder)!r} {reason}: name a folder with files that end in .cedar")
        self.folder = folder


def read_policies(folder: Path) -> tuple[PolicyFile, ...]:
    """Every `*.cedar` file of a folder, by name, its deny lists, and its `tools.json`.

    Raises:
        NoPolicies: There is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise NoPolicies(folder, "is no folder")
    try:
        paths = sorted(folder.glob("*.cedar"))
        lists = sorted(path for path in folder.glob("*.txt") if is_list(path.name)) if paths else []
        tools = [folder / TOOLS] if paths and (folder / TOOLS).exists() else []
        found = tuple(PolicyFile(name=path.name, text=path.read_text()) for path in [*paths, *lists, *tools])
    except (OSError, UnicodeDecodeError) as error:
        raise NoPolicies(folder, f"cannot be read ({error})") from error
    if not found:
        raise NoPolicies(folder, "holds no policies")
    return found
