"""What a document tells its reader to type exists."""

import re
from pathlib import Path

import pytest
import typer

from dominie.cli import build

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts) and "templates" not in path.parts
]


def typed(path: Path, program: str) -> list[list[str]]:
    """The words after the program's name, in code blocks and in code within a line."""
    text = path.read_text()
    code = re.findall(r"^```.*?^```", text, re.M | re.S) + re.findall(r"(?<!`)`[^`\n]+`(?!`)", text)
    found = re.findall(rf"(?:^|[\n`]|\$ ){program} ([a-z][^`\n#&]*)", "\n".join(code))
    return [line.split() for line in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_commands_exist(document: Path) -> None:
    command = typer.main.get_command(build())
    for words in typed(document, "dominie"):
        found = command
        for word in words:
            inner = getattr(found, "commands", None)
            if inner is None:
                break
            assert word in inner, f"dominie {' '.join(words)}"
            found = inner[word]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.M))
    asked = {word for words in typed(document, "make") for word in words if re.fullmatch(r"[a-z-]+", word)}
    assert asked <= targets
