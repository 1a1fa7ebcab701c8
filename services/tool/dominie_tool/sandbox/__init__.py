"""A sandbox for tools: one function of a Python module, run with no network, no host files, and within limits.

SandboxUnavailable   this machine cannot hold a box
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial

from anyio import to_thread

from dominie_contracts.tool import Backend
from dominie_tool.sandbox.call import call
from dominie_tool.sandbox.command import layers
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.network import PROXIED, Serve, way_out
from dominie_tool.sandbox.pool import Pool
from dominie_tool.sandbox.values import Fault, Host, Layer, Limits, Outcome, SandboxUnavailable

__all__ = ["Layer", "Limits", "Outcome", "Sandbox", "SandboxUnavailable"]

_LIMITS = Limits()


class Sandbox:
    """Runs tools in bubblewrap, or in gVisor in it, each call in a box of its own that no other call had or will have.

    A tool's source is a plain module with the standard library. Its `import dominie` gives `tool` and `ToolContext`
    alone; a parameter annotated `ToolContext` is filled. Coroutine functions are awaited.
    """

    def __init__(
        self,
        limits: Limits = _LIMITS,
        *,
        backend: Backend = "bubblewrap",
        runsc: str = "runsc",
        host: Host | None = None,
        waiting: int = 0,
    ) -> None:
        """Bound every run by `limits`; `host` is found out unless it is given.

        While this is `open`, `waiting` boxes wait for calls. With the back end `runsc`, that program is gVisor's.
        """
        self._limits = limits
        self._host = host
        self._find = partial(survey, backend, runsc)
        self.pool = Pool(limits, waiting)

    def open(self) -> AbstractAsyncContextManager[None]:
        """Have boxes waiting from the first call on, for as long as this is open."""
        return self.pool.open()

    @staticmethod
    def missing(backend: Backend = "bubblewrap", runsc: str = "runsc") -> str | None:
        """Why no sandbox can run here, or None. The first call builds a box to find out, which takes some 0.1 s."""
        found = survey(backend, runsc)
        return found.reason if isinstance(found, Fault) else None

    @staticmethod
    def layers(backend: Backend = "bubblewrap", runsc: str = "runsc") -> tuple[Layer, ...]:
        """What will hold a tool on this machine; nothing where a sandbox is missing. Without a cgroup, a tool is one
        process alone."""
        found = survey(backend, runsc)
        return layers(found) if isinstance(found, Host) else ()

    async def run(
        self,
        source: str,
        function: str,
        arguments: Mapping[str, object],
        *,
        limits: Limits | None = None,
        context: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        network: Serve | None = None,
    ) -> Outcome:
        """Call one function of a module.

        Args:
            source: The module's text.
            function: The function's name.
            arguments: By name, as JSON.
            limits: In place of the sandbox's own.
            context: The attributes of the `ToolContext` that the function may ask for.
            environment: What its environment has beside the box's own.
            network: Answers what listens in the box, which has no other way out; without it there is none.

        Raises:
            SandboxUnavailable: This machine cannot hold a box.
            TypeError: The arguments are not JSON.
            ValueError: The arguments are not JSON.
        """
        host = await to_thread.run_sync(self._find) if self._host is None else self._host
        if isinstance(host, Fault):
            raise SandboxUnavailable(host.reason)
        limits = limits or self._limits
        limits = limits if host.cgroups else limits.alone
        work = {
            "source": source,
            "function": function,
            "arguments": dict(arguments),
            "context": dict(context or {}),
            "environment": {**(environment or {}), **(PROXIED if network else {})},
        }
        return await call(host, limits, work, self.pool.take if network is None else way_out(network))
