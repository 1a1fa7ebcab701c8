"""`dominie keys protect | unprotect`: a key that is not yours to lose, under a passphrase or in the keyring."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, say

if TYPE_CHECKING:
    from dominie.keys import KeyPair

OPERATOR = "operator"
Whose = Annotated[str, typer.Argument(metavar="[NAME]", help="An approver; none given: the operator.")]
File = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="A key that is kept elsewhere.")]


def register(keys: typer.Typer) -> None:
    """Add to `dominie keys`."""
    keys.command("protect")(protect)
    keys.command("unprotect")(unprotect)


def protect(
    name: Whose = OPERATOR,
    key: File = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="One of yours, also where a keyring is.")] = False,
    json: Json = False,
) -> None:
    """Keep a key under a passphrase: the keyring's, where there is one, else yours. Also to change it."""
    from dominie import passphrases
    from dominie.protected import protect as sealed
    from dominie.protected import replace_key_file

    path = _path(name, key)
    keys, before = _opened(path)
    ring = None if passphrase else passphrases.keyring()
    if ring is None:
        entry, secret = None, passphrases.new_passphrase(path)
    else:
        entry, secret = passphrases.keep(ring)
    replace_key_file(path, sealed(keys, secret, entry=entry))
    _forget(before)
    kept = "passphrase" if entry is None else "keyring"
    words = "under your passphrase" if entry is None else "under a passphrase that the keyring has"
    data = {"key": str(path), "nkey": keys.public, "kept": kept}
    say(data, lambda console: console.print(f"The key of {key or name} is kept {words}."), as_json=json)
    if before is None and not json:
        note(f"Who could read it before may have it still: `dominie keys rotate {_rotates(name)}` ends that.")
        if name == OPERATOR:
            note("Start `dominie up` again, if it runs: it has the key, and not yet the passphrase of the next one.")


def unprotect(name: Whose = OPERATOR, key: File = None, json: Json = False) -> None:
    """Keep a key in a plain file again, as local development does."""
    from dominie.protected import replace_key_file

    path = _path(name, key)
    keys, before = _opened(path)
    replace_key_file(path, keys.seed)
    _forget(before)
    words = f"The key of {key or name} is in a plain file: whoever runs as you can read it."
    say({"key": str(path), "nkey": keys.public, "kept": "plain"}, lambda console: console.print(words), as_json=json)


def _rotates(name: str) -> str:
    return OPERATOR if name == OPERATOR else f"person {name}"


def _path(name: str, key: Path | None) -> Path:
    import os

    from dominie import Invalid
    from dominie._config import KEYS, as_user
    from dominie._project import Project

    if key is not None:
        return key
    folder = Path(os.environ[KEYS]).expanduser() if os.environ.get(KEYS) else Project.find().keys
    if folder is None:
        raise Invalid("where is the key? give --key FILE")
    return folder / "operator.seed" if name == OPERATOR else folder / "people" / f"{as_user(name)}.seed"


def _opened(path: Path) -> "tuple[KeyPair, str | None]":
    """The key, and the keyring's entry for it, where there is one; '' where a person has its passphrase."""
    from dominie._project import load_keys
    from dominie.protected import Protected, read_key_file

    keys = load_keys(path)
    found = read_key_file(path)
    return keys, (found.entry or "") if isinstance(found, Protected) else None


def _forget(entry: str | None) -> None:
    """The old passphrase is good for nothing any more; where the keyring keeps it, that is said and no more."""
    from dominie import Problem
    from dominie.passphrases import forget

    if entry:
        try:
            forget(entry)
        except Problem as problem:
            note(str(problem))
