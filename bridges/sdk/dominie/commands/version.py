"""`dominie version`."""

import platform
from importlib.metadata import version as installed

import typer

from dominie.commands._show import Json, say


def register(app: typer.Typer) -> None:
    """Add `version`."""
    app.command()(version)


def version(json: Json = False) -> None:
    """Which version this is."""
    found = {"dominie": installed("dominie"), "python": platform.python_version()}
    say(found, lambda console: console.print(f"dominie {found['dominie']} (Python {found['python']})"), as_json=json)
