"""Who may publish and subscribe what: the one place the broker's permissions come from (docs/design.md, "The bus").

An agent's command rights are literal: one subject for each granted tool, model and namespace, no wildcard.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dominie_contracts.identity import Registered
from dominie_contracts.registry import MODULES, OWNER
from dominie_contracts.subjects import (
    ARTIFACTS,
    ARTIFACTS_STREAM,
    JWKS_SUBJECT,
    MOVED_SUBJECT,
    PLATFORM,
    SEGMENTS_STREAM,
    SERVICES,
    CommandSubject,
    call_subject,
    event_filter,
    heartbeat_subject,
    inbox_prefix,
    out_subject,
    service_inbox_prefix,
    service_subject,
)
from dominie_contracts.token import Grants
from dominie_contracts.tool import ToolSpec


@dataclass(frozen=True, slots=True)
class Rights:
    """Subjects that a connection may publish and subscribe."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


ARTIFACT_COMMANDS = ("tool.put", "tool.keep", "tool.fetch")
"""How agents and workers move values that are too large for a command: the broker keeps them from the store itself."""
PLAIN_COMMANDS = (
    "identity.token",
    "identity.exchange_run",
    "identity.widen",
    "model.list",
    "tool.list",
    "tool.begin",
    "tool.finish",
    "memory.add_turn",
    "memory.turns",
    "judge.review",
    "guardrail.limits",
    *ARTIFACT_COMMANDS,
)
"""What every agent may ask: nothing here names a resource; local functions run in the agent's own process."""
PERSON_COMMANDS = (
    "guardrail.approve",
    "guardrail.approvals",
    "guardrail.limits",
    "scheduler.ceilings",
    "audit.trail",
    "identity.delegate",
    "identity.delegations",
    "identity.end_delegation",
    "identity.end_run",
    "tool.endorse",
    "tool.revoke_endorsement",
    "tool.labels",
)
"""Whose business the answer is, the services know: who is asked for a yes, for one, sees the run that asks."""
DEVELOPER_COMMANDS = (
    "identity.register",
    "identity.list",
    "identity.revoke",
    "identity.rotate",
    "identity.suspend",
    "identity.resume",
    "identity.fork",
    "identity.key",
    "identity.revoke_key",
    "guardrail.propose",
    "tool.register",
    "tool.list",
    "tool.mount",
    "tool.review",
    "tool.servers",
    "tool.unmount",
    "tool.keep_secret",
    "tool.remove_secret",
    "tool.secrets",
    "tool.show",
    "tool.deprecate",
    "model.list",
    "audit.trail",
    "audit.search",
    "audit.export",
    "audit.runs",
    "audit.verify",
    "audit.checkpoint",
    "audit.prove",
    "audit.artifact",
    "audit.artifacts",
)
DEVELOPERS, AUDITORS, PRIVACY = "developers", "auditors", "privacy"
"""Groups of people with more rights than to approve; those in the last one erase people."""
OPERATORS = "operators"
"""Developers who may try policies out on live actions of forked runs; in local development every developer may."""
OPERATOR = "operator"
"""Who registers principals where nobody else may, and publishes policies."""
WARDEN = "warden"
"""Who suspends what floods."""
PRIVACY_COMMANDS = ("audit.erase", "audit.erasing")
AUDITOR_COMMANDS = tuple(command for command in DEVELOPER_COMMANDS if command.startswith("audit."))
WORKER_COMMANDS = ("tool.register", *ARTIFACT_COMMANDS)

CALLS: dict[str, tuple[str, ...]] = {
    "model": ("scheduler.permit", "scheduler.release", "audit.record", "guardrail.reserve"),
    "tool": ("audit.record", "guardrail.reserve", "model.chat"),
    "memory": ("audit.record", "guardrail.reserve"),
    "judge": ("model.chat", "audit.record"),
    "gateway": (
        *("identity.exchange", "identity.issuers", "identity.sign_in", "identity.vouch"),
        *("model.chat", "model.list", "judge.review"),
    ),
    "audit": ("identity.erase",),
    "identity": ("guardrail.reserve",),
}
"""Which commands a service may send to others, beside `EVERYBODYS`."""
EVERYBODYS = ("identity.subject_keys", "identity.refusals")
"""What every service but identity may ask."""
FOLLOWS: dict[str, tuple[str, ...]] = {
    "identity": ("principal", "policy", "run", "widening", "approval", "catalog", "offer"),
    "guardrail": (
        *("principal", "policy", "approval", "catalog", "tool", "model", "memory", "widening", "endorsement"),
        *("tool_parked", "model_parked", "memory_parked", "widening_parked", "endorsement_parked"),
    ),
    "scheduler": ("principal", "policy", "permit", "offer"),
    "model": ("principal", "policy", "model", "offer", "approval", "tool"),
    "tool": ("principal", "policy", "tool", "catalog", "approval", "run", "model", "memory"),
    "memory": ("principal", "policy", "memory", "approval", "tool", "model", "run", "endorsement"),
    "judge": ("principal", "policy", "judge", "tool", "tool_amounts"),
}
"""Which categories of events a service reads; audit and gateway read all."""

_READ_ARTIFACTS = (f"$JS.API.DIRECT.GET.{ARTIFACTS_STREAM}.{ARTIFACTS}", f"$JS.API.STREAM.MSG.GET.{ARTIFACTS_STREAM}")
_ARTIFACTS: dict[str, tuple[str, ...]] = {
    "tool": (ARTIFACTS, *_READ_ARTIFACTS),
    "audit": (f"$JS.API.STREAM.MSG.DELETE.{ARTIFACTS_STREAM}", *_READ_ARTIFACTS),
}
"""Who reads artifacts; one puts them there, the other sweeps."""


def caller(command: str) -> str:
    """Who may send `svc.…` for a command that carries no run token: the one service that needs it, or the operator."""
    callers = [service for service, commands in CALLS.items() if command in commands]
    return f"svc-{callers[0]}" if len(callers) == 1 else OPERATOR


def _commands(tenant: str, principal: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(CommandSubject(tenant, principal, *name.split("."))) for name in names)


def _own(tenant: str, principal: str) -> tuple[str, ...]:
    return (f"{inbox_prefix(tenant, principal)}.>",)


def agent_rights(tenant: str, principal: str, grants: Grants) -> Rights:
    """An agent's rights; `grants` names each tool, model and namespace (no `*`)."""
    granted = (
        *((("tool", "invoke"), name) for name in grants.tools),
        *((("model", "chat"), name) for name in grants.models),
        *((("memory", "remember"), name) for name in grants.namespaces),
        *((("memory", "recall"), name) for name in grants.namespaces),
    )
    literal = tuple(str(CommandSubject(tenant, principal, *command, name)) for command, name in granted)
    out = out_subject(tenant, principal, "run").rsplit(".", 1)[0] + ".*"
    return Rights((*_commands(tenant, principal, PLAIN_COMMANDS), *literal), (*_own(tenant, principal), out))


def person_rights(tenant: str, principal: str, groups: Iterable[str]) -> Rights:
    """A person's rights: everybody approves; developers and auditors may do more."""
    names = set(PERSON_COMMANDS)
    names |= set(DEVELOPER_COMMANDS) if DEVELOPERS in groups else set()
    names |= set(AUDITOR_COMMANDS) if AUDITORS in groups else set()
    names |= set(PRIVACY_COMMANDS) if PRIVACY in groups else set()
    return Rights(_commands(tenant, principal, sorted(names)), _own(tenant, principal))


def worker_rights(tenant: str, principal: str, tools: Iterable[str]) -> Rights:
    """A tool worker's rights: its own tools' calls and answers, and to register them."""
    tools = tuple(tools)
    answers = tuple(f"ret.{call_subject(tenant, tool).removeprefix('call.')}.>" for tool in tools)
    calls = tuple(call_subject(tenant, tool) for tool in tools)
    return Rights((*_commands(tenant, principal, WORKER_COMMANDS), *answers), (*_own(tenant, principal), *calls))


def serves(worker: Registered, spec: ToolSpec, owner: str | None) -> bool:
    """Whether a worker may take a tool's calls.

    It owns the tool; or it was granted the tool by the operator, or by the person who owns it. A grant alone is not
    enough: whoever registers a worker could otherwise listen in on another's tool.
    """
    if spec.kind != "worker":
        return False
    granted = worker.grants.allow("tools", spec.name)
    return owner == worker.principal or (granted and (worker.by == OPERATOR or owner == worker.sponsor))


def edge_rights(service: str) -> Rights:
    """A service's outer connection: takes commands, answers into inboxes, streams to `out.`; nothing else."""
    return Rights(("_INBOX.>", "out.>"), (f"cmd.*.*.{service}.>", f"svc.{service}.>", f"{_inbox(service, 'edge')}.>"))


def inner_rights(service: str) -> Rights:
    """A service's inner connection: its own categories of events, what it follows, and the services it needs."""
    owned = tuple(category for category, owner in OWNER.items() if owner == service)
    follows = (
        tuple(event_filter(category) for category in FOLLOWS[service]) if service in FOLLOWS else (event_filter(),)
    )
    reads = tuple(dict.fromkeys((*follows, *(event_filter(category) for category in owned))))
    calls = (*CALLS.get(service, ()), *(EVERYBODYS if service != "identity" else ()))
    publish = (
        *(event_filter(category) for category in owned),
        *(service_subject(*command.split(".")) for command in calls),
        heartbeat_subject(service),
        *_reading(reads),
        *(("call.*.*",) if service == "tool" else ()),
        *_ARTIFACTS.get(service, ()),
        *((JWKS_SUBJECT,) if service == "identity" else ()),
    )
    subscribe = (
        f"{_inbox(service, 'inner')}.>",
        "hb.*" if service == "audit" else heartbeat_subject("guardrail"),
        MOVED_SUBJECT,
        *(("ret.*.*.*.*",) if service == "tool" else ()),
    )
    return Rights(publish, subscribe)


def _inbox(service: str, connection: str) -> str:
    return f"{service_inbox_prefix(service)}.{connection}"


def _reading(filters: tuple[str, ...]) -> tuple[str, ...]:
    """What JetStream's API asks of a reader: the broker refuses a filter wider than the one in the subject.

    Segments come and go, so their streams' names are wildcards; a filter `evt.…` fits no other stream's subjects. Who
    reads everything learns nothing more from the streams' own state, which names their subjects.
    """
    return (
        *(f"$JS.API.DIRECT.GET.*.{subject}" for subject in filters),
        *(f"$JS.API.CONSUMER.CREATE.*.*.{subject}" for subject in filters),
        "$JS.FC.*.>",
        f"$JS.API.STREAM.MSG.GET.{SEGMENTS_STREAM}",
        *(("$JS.API.STREAM.INFO.*",) if event_filter() in filters else ()),
    )


def operator_rights() -> Rights:
    """The operator: makes and seals segments, registers people, publishes policies, asks for status, rebuilds."""
    commands = (
        *(
            "identity.register",
            "identity.revoke",
            "identity.rotate",
            "identity.rotate_keys",
            "identity.suspend",
            "identity.resume",
        ),
        *("guardrail.publish", "tool.register", "audit.archive"),
    )
    return Rights(
        (
            "$JS.API.>",
            "log.>",
            *(service_subject(*command.split(".")) for command in commands),
            *(service_subject(service, command) for service in SERVICES for command in ("status", "rebuild")),
        ),
        (f"_INBOX.{PLATFORM}.operator.>", "hb.*"),
    )


def warden_rights() -> Rights:
    """Identity in the broker's system account: asks who is connected, and kicks; nothing else."""
    asked = tuple(f"$SYS.REQ.SERVER.*.{request}" for request in ("CONNZ", "KICK"))
    return Rights(asked, (f"{service_inbox_prefix(WARDEN)}.>",))


assert set(MODULES) == set(SERVICES)
