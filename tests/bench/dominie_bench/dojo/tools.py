"""AgentDojo's tools as Dominie's: whose call it is says the run."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from agentdojo.functions_runtime import Function
from pydantic_core import to_jsonable_python

import dominie
from dominie_bench.dojo.annotations import annotated, effect_of

Call = Callable[[str, Function, dict[str, Any]], Any]
"""What runs a function in the environment of a run."""


def as_tools(functions: Iterable[Function], call: Call, *, marked: bool) -> list[dominie.Tool[..., Any]]:
    """Each function, once, as a tool; where they are marked, with what its owner says of it."""
    named = {str(function.name): function for function in functions}
    found = [_tool(function, call) for function in named.values()]
    for tool in found if marked else ():
        tool.spec = annotated(tool.spec)
    return found


def _tool(function: Function, call: Call) -> dominie.Tool[..., Any]:
    async def run(context: dominie.ToolContext, **arguments: Any) -> Any:
        return to_jsonable_python(call(context.run, function, arguments))

    name, description = str(function.name), str(function.description)
    decorate: Callable[[Callable[..., Any]], dominie.Tool[..., Any]]
    decorate = dominie.tool(name=name, description=description, effect=effect_of(name), timeout_s=20)
    return decorate(_with_signature(run, function))


def _with_signature(run: Callable[..., Any], function: Function) -> Callable[..., Any]:
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=dominie.ToolContext)]
    annotations: dict[str, Any] = {"context": dominie.ToolContext}
    for name, field in function.parameters.model_fields.items():
        default = inspect.Parameter.empty if field.is_required() else field.default
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=field.annotation))
        annotations[name] = field.annotation
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    run.__annotations__ = annotations
    run.__name__ = function.name
    return run
