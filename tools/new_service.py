"""Writes a new service from the template: `new_service.py NAME`, or `make service NAME=quota`.

Four places change: the service's folder, the contracts, the compose file, and the architecture's lists.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "newservice"
WORDS = """        case newservice.Noted():
            return f"noted: {_value(payload.text)}"
"""
SAMPLE = """    ("newservice", newservice.Noted(text="hello"), 'noted: "hello"'),
"""


def fill(text: str, name: str) -> str:
    """A template's text for this service."""
    return text.replace(PLACEHOLDER, name).replace(PLACEHOLDER.upper(), name.upper())


def edited(path: str, *edits: tuple[str, str]) -> tuple[Path, str]:
    """A file with each pattern's first match replaced; nothing is written yet."""
    text = (ROOT / path).read_text()
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, count=1, flags=re.M)
        if not count:
            sys.exit(f"{path}: no place for a new service ({pattern!r} is not there)")
    return ROOT / path, text


def tidy(paths: Sequence[Path]) -> None:
    """Sort the imports that were added, and break the lines that grew too long."""
    ruff = Path(sysconfig.get_path("scripts"), "ruff")
    for command in (("check", "--fix", "--select", "I"), ("format",)):
        subprocess.run([ruff, *command, "--quiet", "--no-cache", *paths], cwd=ROOT, check=True)


def main(name: str = "") -> None:
    """Write the service, or stop before anything is half done."""
    folder, contract = ROOT / "services" / name, ROOT / f"contracts/dominie_contracts/{name}.py"
    if not re.fullmatch(r"[a-z][a-z0-9]{1,20}", name) or folder.exists() or contract.exists():
        sys.exit(f"{name!r} must be one lowercase word that nothing is called yet: make service NAME=quota")
    compose = ROOT / "docker-compose.yml"
    changed = [
        (contract, fill((ROOT / "templates/newservice.py").read_text(), name)),
        edited("contracts/dominie_contracts/subjects.py", (r"^(SERVICES = \([^)]*?),?\s*\)", rf'\1, "{name}")')),
        edited(
            "contracts/dominie_contracts/registry.py",
            (r"^(?=from dominie_contracts\.)", f"from dominie_contracts import {name}\n"),
            (r"^(MODULES: [^{]*{[^}]*)}", rf'\1    "{name}": {name},\n}}'),
        ),
        edited(
            "contracts/dominie_contracts/summary.py",
            (r"^(?=from dominie_contracts\.)", f"from dominie_contracts import {name}\n"),
            (r"(        case judge\.Judged)", fill(WORDS, name) + r"\1"),
        ),
        edited(
            "contracts/tests/test_summary.py",
            (r"^(?=from dominie_contracts\.)", f"from dominie_contracts import {name}\n"),
            (r"^(SAMPLES: .*\n(?:    .*\n)*)]", r"\1" + fill(SAMPLE, name) + "]"),
        ),
        edited(
            "pyproject.toml",
            (r'^(  "dominie_gateway",)$', rf'\1\n  "dominie_{name}",'),
            (r"( \| dominie_gateway)", rf"\1 | dominie_{name}"),
        ),
        (compose, compose.read_text() + fill((ROOT / "templates/compose.yml").read_text(), name)),
    ]
    shutil.copytree(ROOT / "templates/service", folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for path in sorted(folder.rglob(f"*{PLACEHOLDER}*")):
        path.rename(path.with_name(fill(path.name, name)))
    for path in filter(Path.is_file, folder.rglob("*")):
        path.write_text(fill(path.read_text(), name))
    for path, text in changed:
        path.write_text(text)
    tidy([path for path, _ in changed if path.suffix == ".py"])
    subprocess.run([sys.executable, "tools/golden_schemas.py", "--write"], cwd=ROOT, check=True, stdout=sys.stderr)
    print(f"services/{name} is written. Next: make check test, then {contract.relative_to(ROOT)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
