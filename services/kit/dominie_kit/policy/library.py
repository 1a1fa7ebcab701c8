"""The policies that ship with guardrail for whoever wants them: a folder like any other, with its cases."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from dominie_contracts import Message
from dominie_contracts.guardrail import PolicyFile
from dominie_kit.errors import KitError
from dominie_kit.policy.cases import CASES
from dominie_kit.policy.rules import TOOLS, read_rules

_GUARDRAIL = "dominie_guardrail"


class Shelved(Message):
    """One file of the library."""

    name: str
    about: str
    policies: tuple[str, ...]
    """By their ids."""


def library_folder() -> Path:
    """Where it is.

    Raises:
        KitError: Guardrail, which brings it, is not installed here.
    """
    spec = find_spec(_GUARDRAIL)
    if spec is None or spec.origin is None:
        raise KitError("the library comes with guardrail, which is not installed here")
    return Path(spec.origin).parent / "policies" / "library"


def shelved() -> list[Shelved]:
    """What there is."""
    return [_shelved(path) for path in sorted(library_folder().glob("*.cedar"))]


def copy_library(into: Path) -> tuple[str, ...]:
    """Copy all of it into a folder, cases and all; the names of the files. It overwrites nothing.

    Raises:
        KitError: The folder has a file of one of these names already, or cannot be written to.
    """
    source = library_folder()
    names = tuple(sorted([*(path.name for path in source.glob("*.cedar")), CASES, TOOLS]))
    there = [name for name in names if (into / name).exists()]
    if there:
        raise KitError(f"{str(into)!r} has {', '.join(there)} already: name a new folder, and take from there")
    try:
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(source / name, into / name)
    except OSError as error:
        raise KitError(f"{str(into)!r} cannot be written to: {error}") from error
    return names


def _shelved(path: Path) -> Shelved:
    text = path.read_text()
    about = text.partition("\n")[0].removeprefix("// ")
    rules = read_rules(PolicyFile(name=path.name, text=text))
    return Shelved(name=path.stem, about=about, policies=tuple(rule.name for rule in rules))
