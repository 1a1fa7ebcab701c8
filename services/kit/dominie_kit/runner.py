"""Runs services in this process until a signal."""

import gc
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import EntryPoint, entry_points

import anyio
import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from dominie_contracts import Invalid
from dominie_kit.logs import set_up_logs
from dominie_kit.service import Service
from dominie_kit.settings import KitSettings

_COLLECT_AT = (20_000, 20, 20)
"""Allocations between two collections: a command makes hundreds of values that die with it."""


def targets() -> dict[str, EntryPoint]:
    """Every service that is installed, by name."""
    return {found.name: found for found in entry_points(group="dominie.services")}


def load(name: str) -> Service:
    """Build one service.

    Raises:
        Invalid: It is not installed, or its settings cannot be used.
    """
    found = targets().get(name)
    if found is None:
        raise Invalid(f"no service {name!r} is installed here; there are: {', '.join(sorted(targets())) or 'none'}")
    try:
        service = found.load()()
    except (ValidationError, SettingsError) as error:
        raise Invalid(f"the settings of {name!r} cannot be used: {'; '.join(str(error).splitlines())}") from error
    assert isinstance(service, Service)
    return service


def main(names: Sequence[str], *, on_ready: Callable[[], None] | None = None) -> None:
    """Run the named services in this process until SIGINT or SIGTERM.

    Args:
        names: Installed services.
        on_ready: Called once all of them take commands.
    """
    set_up_logs(KitSettings().log_level)
    gc.set_threshold(*_COLLECT_AT)
    uvloop.run(_run([load(name) for name in names], on_ready))


async def _run(services: Sequence[Service], on_ready: Callable[[], None] | None) -> None:
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        for service in services:
            await stack.enter_async_context(service.running())
        if on_ready is not None:
            on_ready()
        await anext(signals)
