"""Functions as tools: `@dominie.tool` reads the schema from the annotations and leaves the function callable."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, overload

import anyio.to_thread
from pydantic import JsonValue, ValidationError

from dominie._schema import MARK, RoleName, Signature
from dominie_contracts import Invalid
from dominie_contracts.provenance import Integrity as Level
from dominie_contracts.tool import Effect, Kind, Profile, ToolSpec

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool is told of its call; a parameter annotated with this type gets it."""

    key: str
    """The idempotency key to hand on to whatever the tool does."""
    user: str
    agent: str
    run: str
    deadline_s: float
    """Seconds left when the call began."""


class Tool(Generic[P, T]):
    """A function, and how it is registered. Calling it calls the function."""

    def __init__(self, function: Callable[P, T], spec: ToolSpec, signature: Signature) -> None:
        update_wrapper(self, function)
        self.function = function
        self.spec = spec
        self.is_async = inspect.iscoroutinefunction(function)
        self._signature = signature

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.spec.name!r} version {self.spec.version} ({self.spec.kind})>"

    def sandboxed(self) -> ToolSpec:
        """How it is registered for the tool service to run: with its module's text."""
        module = inspect.getmodule(self.function)
        if module is None:
            raise Invalid(f"{self.spec.name!r} is in no module, so it has no text to register")
        source = inspect.getsource(module)
        return self.spec.model_copy(update={"kind": "sandboxed", "source": source, "function": self.function.__name__})

    def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> JsonValue:
        """Call a synchronous function with JSON arguments, in this thread.

        Raises:
            Invalid: The arguments do not fit.
            Exception: What the function raised.
        """
        return self._signature.dump(self.function(**self._bound(arguments, context)))  # type: ignore[call-arg]  # bound

    async def arun(
        self, arguments: Mapping[str, JsonValue], context: ToolContext, runner: "Runner | None" = None
    ) -> JsonValue:
        """Call the function with JSON arguments: an async one on the loop, another where the runner says."""
        if not self.is_async:
            return await (runner or in_thread)(partial(self.run, arguments, context))
        result: Any = self.function(**self._bound(arguments, context))  # type: ignore[call-arg]  # bound
        return self._signature.dump(await result)

    def _bound(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> dict[str, Any]:
        found = self._signature.bind(arguments)
        if self._signature.context is not None:
            found[self._signature.context] = context
        return found


@overload
def tool(function: Callable[P, T], /) -> Tool[P, T]: ...
@overload
def tool(
    *,
    name: str | None = None,
    version: str = "1",
    description: str | None = None,
    effect: Effect = "external",
    idempotent: bool = False,
    kind: Kind = "worker",
    timeout_s: float = 30.0,
    integrity: Level | None = None,
    roles: Mapping[str, RoleName] | None = None,
    profile: Mapping[str, JsonValue] | None = None,
) -> Callable[[Callable[P, T]], Tool[P, T]]: ...
def tool(
    function: Callable[P, T] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    description: str | None = None,
    effect: Effect = "external",
    idempotent: bool = False,
    kind: Kind = "worker",
    timeout_s: float = 30.0,
    integrity: Level | None = None,
    roles: Mapping[str, RoleName] | None = None,
    profile: Mapping[str, JsonValue] | None = None,
) -> Tool[P, T] | Callable[[Callable[P, T]], Tool[P, T]]:
    """Make a function a tool; name, description and schemas come from the function where they are not given.

    Args:
        function: A synchronous or async function with named, annotated parameters.
        name: What agents and policies call it.
        version: Raise it when the meaning changes.
        description: What the model is told; the first paragraph of the docstring.
        effect: `read`, `write` (here) or `external` (in the world).
        idempotent: It takes the idempotency key, so that a repeated call does nothing twice.
        kind: Who runs it: a `worker` of its owner, the tool service (`sandboxed`), or the agent itself (`local`).
        timeout_s: How long one call may take.
        integrity: `record` where the whole result comes from a record and not from strangers, `platform` where it says
            no more than how it went; None: untrusted, but for what is marked.
        roles: What arguments are to the policies, as `Annotated[int, Role("amount")]` also says.
        profile: What a call of a sandboxed one may use: `memory_mb`, `processes`, `scratch_mb`, `output_bytes`; its
            `network` (`{"hosts": ["api.example.org"]}`); and its `backend`, `bubblewrap` or `runsc` (gVisor).

    Raises:
        Invalid: The function cannot be a tool, or its description fits no registration.
    """

    def build(function: Callable[P, T]) -> Tool[P, T]:
        signature = Signature(function, roles or {}, ToolContext)
        output = signature.output_schema
        try:
            spec = ToolSpec(
                name=name or function.__name__,
                version=version,
                description=_described(function) if description is None else description,
                input_schema=signature.input_schema,
                output_schema={**output, MARK: {"integrity": integrity}} if integrity else output,
                effect=effect,
                idempotent=idempotent,
                kind=kind,
                timeout_s=timeout_s,
                profile=None if profile is None else Profile.model_validate(dict(profile)),
            )
        except ValidationError as error:
            raise Invalid(f"{name or function.__name__!r} cannot be a tool: {error}") from error
        return Tool(function, spec, signature)

    return build if function is None else build(function)


def _described(function: Callable[..., object]) -> str:
    """The first paragraph of the docstring, on one line."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


AnyTool = Tool[..., Any]
Runner = Callable[[Callable[[], JsonValue]], Awaitable[JsonValue]]
"""Where synchronous functions run."""


async def in_thread(call: Callable[[], JsonValue]) -> JsonValue:
    """Run a call in a thread; one whose time is up is left behind."""
    return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
