"""The HTTP server inside the service: its socket is open before the service is ready, and closed after it."""

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import uvicorn
from starlette.types import ASGIApp

_GRACE_S = 2
_KEEP_ALIVE_S = 15


class HttpServer:
    """Serves one application on one socket."""

    def __init__(self, app: ASGIApp, *, host: str, port: int, place: Path, stopping: Callable[[], None]) -> None:
        self.url = ""
        """Where it listens; known once it is open."""
        self._app = app
        self._address = (host, port)
        self._place = place
        self._stopping = stopping
        self._listener: socket.socket | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Hold the socket; `place` tells where it listens for as long as it does.

        Raises:
            OSError: The port is taken.
        """
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family) as listener:
            self._listener = listener
            shown = f"[{host}]" if ":" in host else host
            self.url = f"http://{shown}:{listener.getsockname()[1]}"
            _write(self._place, json.dumps({"url": self.url}))
            try:
                yield
            finally:
                self._place.unlink(missing_ok=True)

    async def run(self) -> None:
        """Serve until cancelled; then let what is under way end, for a moment."""
        assert self._listener is not None
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = _Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.play, self._listener)
            try:
                await anyio.sleep_forever()
            finally:
                self._stopping()
                server.should_exit = True


class _Server(uvicorn.Server):
    """A server inside another program: it leaves signals alone."""

    async def play(self, listener: socket.socket) -> None:
        with anyio.CancelScope(shield=True):  # it ends by `should_exit`, and so closes what it opened
            await self.serve([listener])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _write(place: Path, text: str) -> None:
    """Write a file at once: whoever reads it sees all of it or nothing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(place)
