"""`dominie worker FILE…`, `dominie tool add | list`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from dominie.commands._show import Json, note, say, table

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Python files with @dominie.tool functions.")]


def register(app: typer.Typer) -> None:
    """Add `worker` and `tool`."""
    app.command()(worker)
    tools = typer.Typer(help="The tools that agents call.", no_args_is_help=True)
    tools.command("add")(add)
    tools.command("list")(list_tools)
    app.add_typer(tools, name="tool")


def worker(
    files: Files,
    name: Annotated[str | None, typer.Option(help="The worker's own name; none given: the first file's.")] = None,
    json: Json = False,
) -> None:
    """Run a tool worker: serve every tool in the files, until interrupted."""
    from dominie._files import load_tools, worker_name
    from dominie._serve import serve

    tools = [tool for tool in load_tools(files) if tool.spec.kind != "sandboxed"]
    principal = f"w-{worker_name(name, files[0])}"

    def ready() -> None:
        names = [tool.spec.name for tool in tools]
        if json:
            typer.echo(jsonlib.dumps({"worker": principal, "tools": names}))
        else:
            note(f"{principal} serves {', '.join(names)}. Ctrl-C stops it.")

    serve(*tools, name=principal.removeprefix("w-"), ready=ready)


def add(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Python files with @dominie.tool functions, WebAssembly modules."),
    ] = None,
    python: Annotated[
        bool, typer.Option("--python", help="`python`, which runs programs: a code interpreter.")
    ] = False,
    json: Json = False,
) -> None:
    """Register the tools of files for Dominie to run in its sandbox."""
    from dominie import interpreter
    from dominie._files import load_tools
    from dominie._modules import module_tool, modules
    from dominie.commands._people import developer
    from dominie_contracts import Invalid
    from dominie_contracts.tool import RegisteredTool, RegisterTool

    if not files and not python:
        raise Invalid("name a file with @dominie.tool functions, or --python for the code interpreter")
    wasm = modules(files or [])
    sources = [file for file in files or [] if file not in wasm]
    tools = load_tools(sources) if sources else []
    chosen = [*([interpreter.python] if python else []), *([t for t in tools if t.spec.kind == "sandboxed"] or tools)]
    specs = [*(tool.sandboxed() for tool in chosen), *map(module_tool, wasm)]
    with developer() as client:
        added = [client.ask(RegisterTool(spec=spec), RegisteredTool) for spec in specs]
    rows = [(each.name, each.version, "registered" if each.changed else "unchanged") for each in added]
    data = {"tools": [each.model_dump(mode="json") for each in added]}
    say(data, lambda console: table(console, ("tool", "version", ""), rows, "No tools."), as_json=json)


def list_tools(json: Json = False) -> None:
    """Which tools are registered."""
    from dominie.commands._people import developer
    from dominie_contracts.tool import ListTools, Tools

    with developer() as client:
        found = client.ask(ListTools(), Tools)
    rows = [(each.name, each.version, each.kind, each.effect, each.description) for each in found.tools]
    columns = ("tool", "version", "kind", "effect", "description")
    say(
        found.model_dump(mode="json"),
        lambda console: table(
            console, columns, rows, "No tools are registered; `dominie worker FILE` serves a file's."
        ),
        as_json=json,
    )
