"""`dominie keys list | rotate`: the deployment's own keys. As the operator."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominie_kit.commands import HERE, Folder, Json, Keys, NatsUrl, problems, say, where

if TYPE_CHECKING:
    from dominie_kit.keys.list import Held
    from dominie_kit.keys.replacing import Part

Overlap = Annotated[int, typer.Option("--overlap-s", min=0, help="Seconds for which the old key is taken too.")]


def register(keys: typer.Typer) -> None:
    """Add to `dominie keys`."""
    keys.command("list")(list_keys)
    rotate = typer.Typer(help="Let a new key take the place of one in use; nothing stops.", no_args_is_help=True)
    rotate.command("signer")(rotate_signer)
    rotate.command("services")(rotate_services)
    rotate.command("callout")(rotate_callout)
    rotate.command("identity")(rotate_identity)
    rotate.command("operator")(rotate_operator)
    rotate.command("person")(rotate_person)
    rotate.command("all")(rotate_all)
    keys.add_typer(rotate, name="rotate")


def list_keys(folder: Folder = HERE, nats_url: NatsUrl = None, keys: Keys = None, json: Json = False) -> None:
    """Every key: since when, how it is kept, who uses it. `--json` has the published JSON Web Key Set, too."""
    import anyio

    from dominie_kit.house.operator import operator
    from dominie_kit.house.state import StateFolder
    from dominie_kit.keys.list import held_keys
    from dominie_kit.keys.public import read_keys

    async def read() -> dict[str, Any]:
        async with operator(url, held) as asking:
            return await read_keys(asking.client)

    with problems():
        url, held = where(folder, nats_url, keys)
        published = anyio.run(read)
        found = held_keys(StateFolder.find(folder), held, published["keys"])
    if json:
        say({**published, "held": [each.model_dump(mode="json") for each in found]}, None, json=True)
    else:
        _print(found)


def rotate_signer(
    overlap_s: Overlap = 600, folder: Folder = HERE, nats_url: NatsUrl = None, keys: Keys = None, json: Json = False
) -> None:
    """Have run tokens signed by a new key. It is made here, in the folder of keys that identity reads."""
    import anyio

    from dominie_contracts.keys import Keys as Taken
    from dominie_kit.house.operator import operator
    from dominie_kit.keys.rotation import rotate_signer as rotate

    async def run() -> Taken:
        async with operator(url, held) as asking:
            return await rotate(asking, held, overlap_s=overlap_s)

    with problems():
        url, held = where(folder, nats_url, keys)
        done = anyio.run(run)
    words = f"Run tokens are signed by another key in a moment; the one before is taken for {overlap_s} s more."
    say(done.model_dump(mode="json"), words, json=json)


def rotate_services(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; none given: all.")] = None,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Give services new keys for the bus, one service after the other. Where `dominie up` runs."""
    from dominie_contracts import Invalid
    from dominie_kit.house.state import StateFolder
    from dominie_kit.keys.replacing import Part

    with problems():
        there = StateFolder.find(folder).up().services
        if unknown := set(names or ()) - set(there):
            raise Invalid(f"no service {min(unknown)!r} runs here; there are: {', '.join(there)}")
        done = _rotate(folder, *(Part("service", name) for name in names or there))
    say(done, "The services have new keys; the old ones are not taken any more.", json=json)


def rotate_callout(folder: Folder = HERE, json: Json = False) -> None:
    """Have the broker's user tokens issued by a new key. Where `dominie up` runs."""
    from dominie_kit.keys.replacing import Part

    with problems():
        done = _rotate(folder, Part("callout"))
    say(done, "The callout has a new issuer; the old one is not taken any more.", json=json)


def rotate_identity(folder: Folder = HERE, json: Json = False) -> None:
    """Give identity new keys for its connections to the callout and to the system account. Where `dominie up` runs."""
    from dominie_kit.keys.replacing import Part

    with problems():
        done = _rotate(folder, Part("callout-user"), Part("warden"))
    say(done, "The callout's user and the warden have new keys; the old ones are not taken any more.", json=json)


def rotate_operator(folder: Folder = HERE, json: Json = False) -> None:
    """Give the operator another key. Where `dominie up` runs."""
    from dominie_kit.keys.replacing import OPERATORS

    with problems():
        done = _rotate(folder, OPERATORS)
    say(done, "The operator has another key; the old one is not taken any more.", json=json)


def rotate_person(
    name: Annotated[str, typer.Argument(help="An approver; `dev` is the project's developer.")],
    overlap_s: Overlap = 600,
    folder: Folder = HERE,
    nats_url: NatsUrl = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Give a person whose key is on this machine another one, protected as the one before. As the operator."""
    import anyio

    from dominie_contracts.identity import PrincipalView
    from dominie_contracts.subjects import check_principal
    from dominie_kit.house.operator import operator
    from dominie_kit.house.state import StateFolder
    from dominie_kit.keys.people import rotate_person as rotate

    principal = check_principal(name if name.startswith("u-") else f"u-{name}")

    async def run() -> PrincipalView:
        async with operator(url, held) as asking:
            return await rotate(asking, StateFolder.find(folder), held, principal, overlap_s=overlap_s)

    with problems():
        url, held = where(folder, nats_url, keys)
        found = anyio.run(run)
    words = f"{principal} has another key; the one before is taken for {overlap_s} s more."
    say({"principal": principal, "nkey": found.nkey, "overlap_s": overlap_s}, words, json=json)


def rotate_all(folder: Folder = HERE, json: Json = False) -> None:
    """All that the broker knows by its configuration, at once: services, the callout, the warden, the operator."""
    from dominie_kit.house.state import StateFolder
    from dominie_kit.keys.replacing import OPERATORS, Part

    with problems():
        services = [Part("service", name) for name in StateFolder.find(folder).up().services]
        done = _rotate(folder, OPERATORS, Part("callout"), Part("callout-user"), Part("warden"), *services)
    say(done, "Everything that the broker knows has new keys; the old ones are not taken any more.", json=json)


def _rotate(folder: Path, *parts: "Part") -> dict[str, Any]:
    import anyio

    from dominie_kit.house.state import StateFolder
    from dominie_kit.keys.rotation import rotate

    state = StateFolder.find(folder)
    return anyio.run(lambda: rotate(state, parts, tell=_tell)).model_dump(mode="json")


def _tell(step: str) -> None:
    typer.echo(f"  {step}", err=True)


def _print(keys: "list[Held]") -> None:
    from time import time

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    for column in ("for", "name", "age", "kept", "key", "used by"):
        table.add_column(column, no_wrap=column != "used by")
    for key in keys:
        kept = f"{key.kept}, others can read it" if key.exposed else key.kept
        if key.until_s is not None:
            kept = f"taken until {datetime.fromtimestamp(key.until_s, UTC):%H:%M:%S}"
        table.add_row(key.use, key.name, _age(time() - key.since_s), kept, f"{key.nkey[:8]}…", key.used_by)
    Console().print(table)
    plain = [each.name for each in keys if each.kept == "plain" and each.use in ("operator", "person")]
    if plain:
        words = "In plain files, which whoever runs as you can read: "
        typer.echo(f"{words}{', '.join(plain)}. `dominie keys protect` keeps one under a passphrase.", err=True)


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
