"""`dominie login | whoami | logout`: people whom an OpenID provider knows."""

from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, say

if TYPE_CHECKING:
    from dominie._device import Device
    from dominie._login import Login
    from dominie_contracts.people import IssuerView

Issuer = Annotated[
    str | None, typer.Option("--issuer", metavar="NAME", help="Where you sign in, if there are several.")
]
Gateway = Annotated[str | None, typer.Option("--gateway", metavar="URL", help="The gateway; else DOMINIE_GATEWAY_URL.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(login)
    app.command()(whoami)
    app.command()(logout)


def login(issuer: Issuer = None, gateway: Gateway = None, json: Json = False) -> None:
    """Sign in with your organisation's account, in any browser."""
    import anyio

    from dominie._login import keep
    from dominie._signing_in import Place, sign_in

    place = Place.find(gateway)
    found = anyio.run(lambda: sign_in(place, issuer, show=_show))
    path = keep(found)
    who = found.who
    text = f"You are {who.principal} of {who.tenant} until {_utc(who.until_s)}{_in(who.groups)}."
    say(_data(found), lambda console: console.print(text, markup=False, highlight=False), as_json=json)
    if not json:
        note(f"Your key is in {path}.")


def whoami(json: Json = False) -> None:
    """Who you are logged in as, or else whom commands speak as here."""
    from dominie._config import here
    from dominie._login import find
    from dominie._project import Project

    found = find(here())
    if found is None or found.is_over:
        if found is not None:
            note(f"The login of {found.who.principal} is over; `dominie login` begins another.")
        project = Project.find()
        data = {"logged_in": False, "principal": project.developer, "tenant": project.tenant}
        text = f"Nobody is logged in; commands speak as {project.developer} of {project.tenant}."
    else:
        data = _data(found)
        who = found.who
        text = f"{who.principal} of {who.tenant}, by {who.issuer}, until {_utc(who.until_s)}{_in(who.groups)}"
    say(data, lambda console: console.print(text, markup=False, highlight=False), as_json=json)


def logout(json: Json = False) -> None:
    """Take your key away from this machine."""
    from dominie._config import here
    from dominie._login import forget

    gone = forget(here())
    text = "You are logged out." if gone else "Nobody was logged in."
    say({"logged_out": gone}, lambda console: console.print(text), as_json=json)


def _show(device: "Device", issuer: "IssuerView") -> None:
    from dominie.commands._show import safe

    note(f"To sign in with {safe(issuer.name)}, open {safe(device.verification_uri)} and type {safe(device.user_code)}")
    if device.verification_uri_complete is not None:
        note(f"or open {safe(device.verification_uri_complete)} if it shows the same code.")
    note("Waiting …")


def _data(found: "Login") -> dict[str, object]:
    return {"logged_in": True, **found.who.model_dump(mode="json")}


def _in(groups: tuple[str, ...]) -> str:
    return f", in {', '.join(groups)}" if groups else ""


def _utc(unix_s: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M} UTC"
