"""Serves a witness until a signal."""

import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette

from dominie.cosignatures import WitnessKey
from dominie.notes import VerifierKey
from dominie_witness.http import application
from dominie_witness.state import State
from dominie_witness.witness import Witness

_CONNECTIONS = 100
_GRACE_S = 2
Told = Callable[[str, WitnessKey], None]


def serve(
    folder: Path, logs: Sequence[VerifierKey], address: tuple[str, int], *, name: str | None, on_ready: Told
) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is told where, and with which key.

    Raises:
        StateProblem, BadKey, OSError
    """
    state = State(folder)
    with state.held():
        cosigner = state.create(name)
        for log in logs:
            state.last(log.name)  # what cannot be read is said at once
        app = application(Witness(state, cosigner, logs, time.time))
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with socket.create_server(address, family=family) as listener:
            anyio.run(_run, app, listener, lambda: on_ready(_url(listener), cosigner.key))


async def _run(app: Starlette, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            on_ready()
            await anext(signals)
            server.should_exit = True


class _Server(uvicorn.Server):
    """It leaves signals to `_run`, so that it ends with code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
