"""The options by which events are found, the same for every command that finds some."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from dominie_contracts.audit import Selection

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"([0-9]{1,9})([smhdw])")
_TIME = "A time (2026-11-21, 2026-11-21T09:30:00Z) or how long ago (30m, 2h, 7d)."


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """A command with these options before its own; its first argument is the `Selection` that they make."""
    _, *own = signature(command).parameters.values()
    options = signature(select).parameters

    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        command(select(**chosen), **given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*options.values(), *own)]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def select(
    *,
    agent: Annotated[str | None, typer.Option(help="Who acted.")] = None,
    user: Annotated[str | None, typer.Option(help="For whom.")] = None,
    run: Annotated[str | None, typer.Option(help="In which run.")] = None,
    tool: Annotated[str | None, typer.Option(help="With which tool, model or namespace.")] = None,
    type: Annotated[str | None, typer.Option(help="What happened: tool, tool.decided, tool.decided.v1.")] = None,
    decision: Annotated[Literal["allow", "ask", "deny"] | None, typer.Option(help="How it was decided.")] = None,
    policy: Annotated[str | None, typer.Option(help="By which policy.")] = None,
    cost_over: Annotated[float | None, typer.Option(min=0, metavar="USD", help="It cost more.")] = None,
    cost_under: Annotated[float | None, typer.Option(min=0, metavar="USD", help="It cost less.")] = None,
    text: Annotated[str | None, typer.Option(help="All these words were asked or answered.")] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=_TIME)] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="As above; not this moment itself.")] = None,
) -> "Selection":
    """What the options ask for.

    Raises:
        Invalid: A name or a time is none.
    """
    from pydantic import ValidationError

    from dominie import Invalid
    from dominie._config import as_user
    from dominie.commands._people import agent_principal
    from dominie_contracts.audit import Selection

    try:
        return Selection(
            agent=None if agent is None else agent_principal(agent),
            user=None if user is None else as_user(user),
            run=run,
            tool=tool,
            type=type,
            decision=decision,
            policy=policy,
            cost_over=cost_over,
            cost_under=cost_under,
            text=text,
            since=None if since is None else time_of(since),
            until=None if until is None else time_of(until),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"--{first['loc'][0]}: {first['msg']}".replace("_", "-")) from error


def span(text: str) -> timedelta:
    """How long, as people write it: 30m, 2h, 7d.

    Raises:
        Invalid: It is none.
    """
    from dominie import Invalid

    found = _AGO.fullmatch(text)
    try:
        if found:
            return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        pass
    raise Invalid(f"{text!r} is no length of time: write 30m, 2h or 7d")


def time_of(text: str) -> datetime:
    """A time as people write it; without an offset it is in UTC.

    Raises:
        Invalid: It is none.
    """
    from dominie import Invalid

    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"{text!r} is no time: write 2026-11-21, 2026-11-21T09:30:00Z, or how long ago, as 2h") from error
