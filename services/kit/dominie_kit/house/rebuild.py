"""Has a service rebuild its read models, and follows until they are done."""

from collections.abc import Callable

import anyio

from dominie_contracts import Invalid, Message, Unavailable
from dominie_contracts.operations import AskStatus, ReadModel, Rebuild, Rebuilding, ServiceStatus
from dominie_contracts.subjects import SERVICES
from dominie_kit.errors import NotRebuilt
from dominie_kit.house.operator import Operator

_POLL_S = 0.1
_AWAY_S = 60.0
"""How long a service may be away, for instance between its death and its next start, which goes on."""


class Rebuilt(Message):
    """What a rebuild came to; of several read models, all together."""

    service: str
    projection: str | None
    events: int
    seconds: float
    rate_per_s: float
    projections: tuple[ReadModel, ...]


async def rebuild(
    asking: Operator, service: str, read_model: str | None, *, tell: Callable[[ReadModel], None]
) -> Rebuilt:
    """Rebuild one read model of a service, or all, one after the other.

    Args:
        asking: The operator.
        service: Whose.
        read_model: Which; all, if none is named.
        tell: Called with each one that is under way, many times, and once when it is done.

    Raises:
        Problem: There is no such service or read model, or the service is away.
        NotRebuilt: It failed; the one before it goes on serving.
    """
    if service not in SERVICES:
        raise Invalid(f"there is no service {service!r}; there are {', '.join(SERVICES)}")
    names = (await asking.ask(Rebuild(read_model=read_model), Rebuilding, service=service)).read_models
    done: dict[str, ReadModel] = {}
    while len(done) < len(names):
        for model in await _status(asking, service):
            if model.name not in names or model.name in done:
                continue
            tell(model)
            if model.state == "failed":
                raise NotRebuilt(service, model.name, model.why or "")
            if model.state == "current":
                done[model.name] = model
        await anyio.sleep(_POLL_S)
    events, seconds = sum(model.events for model in done.values()), sum(model.seconds for model in done.values())
    return Rebuilt(
        service=service,
        projection=read_model,
        events=events,
        seconds=round(seconds, 3),
        rate_per_s=round(events / max(seconds, 1e-6)),
        projections=tuple(done.values()),
    )


async def _status(asking: Operator, service: str) -> tuple[ReadModel, ...]:
    with anyio.move_on_after(_AWAY_S):
        while True:
            try:
                return (await asking.ask(AskStatus(), ServiceStatus, service=service)).read_models
            except Unavailable:
                await anyio.sleep(_POLL_S)
    raise Unavailable(f"{service} has been away for {_AWAY_S:.0f} s; it goes on with the rebuild when it is back")
