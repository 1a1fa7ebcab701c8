"""`dominie approvals enrol`: who may answer for which groups. As the operator."""

from typing import Annotated

import typer

from dominie_kit.commands import HERE, Folder, Json, Keys, NatsUrl, problems, say, where


def register(approvals: typer.Typer) -> None:
    """Add it to `dominie approvals`."""
    approvals.command("enrol")(enrol)


def enrol(
    name: Annotated[str, typer.Argument(help="Who; `dominie approvals … --as NAME` then speaks as them.")],
    group: Annotated[list[str], typer.Option(help="A group that they answer for; once for each.")],
    nkey: Annotated[str | None, typer.Option(help="Their public key; without it one is made, beside yours.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose approvals; else those of this machine.")] = None,
    folder: Folder = HERE,
    nats_url: NatsUrl = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Let a person answer for these groups, and for no others. As the operator."""
    import anyio

    from dominie_contracts.identity import PrincipalView, Register
    from dominie_contracts.subjects import check_principal
    from dominie_kit.house.operator import operator
    from dominie_kit.house.state import TENANT

    person = check_principal(name if name.startswith("u-") else f"u-{name}")

    async def ask() -> PrincipalView:
        public = nkey or held.person_nkey(person)
        command = Register(principal=person, nkey=public, tenant=tenant or TENANT, groups=tuple(sorted(set(group))))
        async with operator(url, held) as asking:
            return await asking.ask(command, PrincipalView)

    with problems():
        url, held = where(folder, nats_url, keys)
        found = anyio.run(ask)
    data: dict[str, object] = {
        "principal": found.principal,
        "tenant": found.tenant,
        "groups": list(found.groups),
        "nkey": found.nkey,
    }
    say(data, f"{found.principal} answers for {', '.join(found.groups)}.", json=json)
