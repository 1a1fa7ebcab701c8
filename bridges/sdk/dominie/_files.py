"""Tools in files that the command line is given."""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from dominie._config import PRINCIPAL, URL
from dominie._tool import AnyTool, Tool
from dominie_contracts import Invalid, Problem


def load_tools(files: Sequence[Path]) -> list[AnyTool]:
    """The tools of Python files, in the order in which they stand there.

    Raises:
        Invalid: A file cannot be loaded, or there is no tool.
    """
    found: list[AnyTool] = []
    for file in files:
        for value in vars(_load(file)).values():
            if isinstance(value, Tool) and value not in found:
                found.append(value)
    if not found:
        raise Invalid(f"no @dominie.tool in {', '.join(map(str, files))}")
    return found


def worker_name(given: str | None, file: Path) -> str:
    """What a worker is called: as said, as the environment says, else as its file is."""
    own = os.environ.get(PRINCIPAL, "")
    if given is None and URL in os.environ and own.startswith("w-"):
        return own.removeprefix("w-")
    return given or re.sub(r"[^A-Za-z0-9_.@-]+", "-", file.stem).strip("-._@")[:60] or "tools"


def _load(file: Path) -> ModuleType:
    name = file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise Invalid(f"{str(file)!r} is no Python file")
    if name in sys.modules:
        raise Invalid(f"{str(file)!r} has the name of a module that is already loaded; rename it")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Problem:
        raise
    except Exception as error:
        raise Invalid(f"{str(file)!r} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
