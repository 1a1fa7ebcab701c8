"""`dominie worker FILE…`, `dominie tool add | list | show | deprecate`."""

import json as jsonlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from dominie_contracts.tool import Tools, ToolShown, ToolSpec

Name = Annotated[str, typer.Argument(metavar="TOOL", help="The tool's name.")]

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Python files with @dominie.tool functions.")]


def register(app: typer.Typer) -> None:
    """Add `worker` and `tool`."""
    app.command()(worker)
    tools = typer.Typer(help="The tools that agents call.", no_args_is_help=True)
    tools.command("add")(add)
    tools.command("list")(list_tools)
    tools.command("show")(show)
    tools.command("deprecate")(deprecate)
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
    rows = [
        (each.name, each.version, each.kind, each.effect, found.owners.get(each.name, ""), _described(each, found))
        for each in found.tools
    ]
    columns = ("tool", "version", "kind", "effect", "owner", "description")
    say(
        found.model_dump(mode="json"),
        lambda console: table(
            console, columns, rows, "No tools are registered; `dominie worker FILE` serves a file's."
        ),
        as_json=json,
    )


def show(name: Name, json: Json = False) -> None:
    """One tool: its versions, whose it is, who may call it, what it takes."""
    from dominie.commands._people import developer
    from dominie_contracts.catalog import ShowTool
    from dominie_contracts.tool import ToolShown

    with developer() as client:
        found = client.ask(ShowTool(name=name), ToolShown)
    say(found.model_dump(mode="json"), lambda console: _shown(console, found), as_json=json)


def deprecate(
    name: Name,
    why: Annotated[str, typer.Option(help="What to use instead; who calls it is told.")] = "",
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="It is refused from then on (UTC)."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It may be used again.")] = False,
    json: Json = False,
) -> None:
    """Say that a tool should not be used any more: it answers with a warning, and is refused from a date on."""
    from dominie.commands._people import developer
    from dominie_contracts.catalog import Deprecated, DeprecateTool

    until_s = None if until is None else int(until.replace(tzinfo=UTC).timestamp())
    command = DeprecateTool(name=name, why=why, until_s=until_s, withdraw=undo)
    with developer() as client:
        done = client.ask(command, Deprecated)
    if not json:
        note(f"{name} version {done.version} is {'not deprecated' if undo else 'deprecated'}.")
    say(done.model_dump(mode="json"), lambda console: None, as_json=json)


def _described(spec: "ToolSpec", found: "Tools") -> str:
    said = spec.description.partition("\n")[0]
    return f"DEPRECATED {found.deprecated[spec.name]}" if spec.name in found.deprecated else said


def _shown(console: "Console", found: "ToolShown") -> None:
    from rich.text import Text

    spec = found.spec
    lines = [
        f"{spec.name} {spec.version}: {spec.kind}, {spec.effect}, of {found.owner}",
        *([f"DEPRECATED {found.deprecated.words}"] if found.deprecated else []),
        spec.description,
        f"granted to {', '.join(found.granted) or 'nobody'}",
        *([f"profile {spec.profile.model_dump_json(exclude_none=True)}"] if spec.profile else []),
        jsonlib.dumps(spec.input_schema, indent=2, ensure_ascii=False),
    ]
    console.print(Text(safe("\n".join(line for line in lines if line))))
    rows = [(each.version, each.effect, each.owner, each.registered) for each in found.versions]
    table(console, ("version", "effect", "registered by", "when"), rows, "")
