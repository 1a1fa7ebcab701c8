"""Witnesses that a person trusts: `--witness VKEY`, as often as there are, and `--quorum N`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dominie import Client
    from dominie.cosignatures import WitnessKey

WitnessKeys = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="VKEY", help="A witness that has to have signed it; repeat it for more."),
]
Quorum = Annotated[int | None, typer.Option(min=1, help="So many of the witnesses; none given: all.")]


def check_witnessed(client: "Client", keys: "Sequence[WitnessKey]", quorum: int) -> "tuple[int, tuple[str, ...]]":
    """Check that witnesses signed a checkpoint which the log extends; its size, and who did.

    Raises:
        ProofProblem
    """
    from dominie.cosignatures import check_quorum
    from dominie.notes import Checkpoint, VerifierKey
    from dominie.proofs import check_extension
    from dominie_contracts.audit import GetCheckpoint, SignedCheckpoint

    found = client.ask(GetCheckpoint(witnessed=True), SignedCheckpoint)
    signed = check_quorum(found.checkpoint, keys, quorum)
    key = VerifierKey.parse(found.key)
    old = Checkpoint.open(found.checkpoint, key)
    check_extension(old, client.ask(GetCheckpoint(extends=old.size), SignedCheckpoint), key)
    return old.size, tuple(each.name for each in signed)


def witness_keys(given: list[str] | None, quorum: int | None) -> "tuple[tuple[WitnessKey, ...], int]":
    """The witnesses that somebody trusts, and how many of them have to have signed.

    Raises:
        BadKey
    """
    from dominie import Invalid
    from dominie.cosignatures import WitnessKey

    keys = tuple(dict.fromkeys(WitnessKey.parse(each) for each in given or ()))
    if (quorum or 0) > len(keys):
        raise Invalid(f"--quorum {quorum} needs so many witnesses, and {len(keys)} are given with --witness")
    return keys, len(keys) if quorum is None else quorum
