"""Every event in a few words, as an auditor reads it. Pure, and safe to print: no control characters, bounded."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from pydantic import JsonValue, ValidationError

from dominie_contracts import catalog, guardrail, identity, judge, keys, memory, model, runs, scheduler, servers, tool
from dominie_contracts.action import (
    Approved,
    Ask,
    Decided,
    Finished,
    Mistaken,
    Noted,
    Parked,
    Requested,
    Started,
    Unknown,
    whom,
)
from dominie_contracts.artifact import reference, references, size_text
from dominie_contracts.base import Payload
from dominie_contracts.egress import Reached
from dominie_contracts.endorsing import ENDORSEMENT, Endorsed, EndorsementRevoked
from dominie_contracts.personal import is_erased, is_hidden
from dominie_contracts.registry import parse_event
from dominie_contracts.secrets import SecretKept, SecretRemoved
from dominie_contracts.token import Grants

MAX_CHARS = 300
_VALUE_CHARS = 60
_ARTIFACTS = 3
_NKEY_CHARS = 8
_MANY = 4
"""Keys that are named one by one."""
_REFUSALS = (
    *("forbidden", "held", "unauthenticated", "approval-required", "diverged"),
    *("budget-exceeded", "quota-exceeded"),
)


def summarise(type_: str, data: dict[str, JsonValue], *, at: datetime | None = None) -> str:
    """An event in a few words: `refund(order="A1", amount_cents=9000) asked`.

    A type that is not known, or data that do not fit it, is summarised by the type's name.

    Args:
        type_: The event's type, `tool.started.v1`.
        data: What it says.
        at: When it was written; a lease is then told in seconds.
    """
    try:
        payload = parse_event(type_, data)
    except ValidationError:
        payload = None
    words = type_ if payload is None else _of_action(payload, at) or _of_service(payload) or type_
    return clip(words, MAX_CHARS)


def clip(text: str, chars: int) -> str:
    """One line of at most so many characters, all of them printable."""
    line = "".join(c if c.isprintable() else " " for c in text[:chars])
    return line.strip() if len(text) <= chars else line[: chars - 1].strip() + "…"


def money(usd: float) -> str:
    """`$0.0004`, `$12.50`; what rounds to nothing is `<$0.0001`, and nothing is `$0`."""
    if usd == 0:
        return "$0"
    return "<$0.0001" if usd < 0.0001 else f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def duration(ms: float) -> str:
    """`0.4 ms`, `12.3 ms`, `812 ms`, `3.2 s`, `4 min 10 s`."""
    if ms < 999.5:
        return f"{ms:.0f} ms" if ms >= 99.95 else f"{ms:.1f} ms"
    seconds = ms / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def signature(command: str, resource: str | None, arguments: Mapping[str, JsonValue]) -> str:
    """What is asked, as a call: `refund(order="A1")`, `chat auto("Where is my order?")`."""
    word = command.rpartition(".")[2]
    if command in ("tool.invoke", "tool.begin"):
        return f"{resource or word}({_arguments(arguments)})"
    named = f"{word} {resource}" if resource else word
    messages = arguments.get("messages")
    if isinstance(messages, list) and messages:
        return f"{named}({_value(_last_text(messages))})"
    return f"{named}({_arguments(arguments)})"


def _arguments(arguments: Mapping[str, JsonValue]) -> str:
    if is_hidden(dict(arguments)):
        return _value(dict(arguments))
    return clip(", ".join(f"{name}={_value(value)}" for name, value in arguments.items()), 200)


def _value(value: JsonValue) -> str:
    if is_hidden(value):
        return "erased" if is_erased(value) else "sealed"
    if (artifact := reference(value)) is not None:
        return f"<{size_text(artifact.size)} {artifact.media_type} {artifact.name}>"
    if isinstance(value, str):
        return json.dumps(clip(value, _VALUE_CHARS), ensure_ascii=False)
    return clip(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")), _VALUE_CHARS)


def _last_text(messages: Sequence[JsonValue]) -> str:
    last = messages[-1]
    content = last.get("content") if isinstance(last, dict) else last
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _of_action(payload: Payload, at: datetime | None) -> str | None:
    match payload:
        case Requested():
            return f"{signature(payload.command, payload.resource, payload.arguments)} asked"
        case Decided(observed=True):
            return f"NOT ENFORCED, only observed: {_of_action(payload.model_copy(update={'observed': False}), at)}"
        case Decided(decision="allow", limits=(_, *_)):
            return f"allowed within {_names(payload.policies)}{_endorsed(payload)}"
        case Decided(decision="allow"):
            return f"{f'allowed by {_names(payload.policies)}' if payload.policies else 'allowed'}{_endorsed(payload)}"
        case Decided(decision="ask"):
            return f"ask: {_asks(payload.asks)}{_policies(payload)}{_found(payload)}"
        case Decided():
            return f"denied: {'; '.join(payload.why)}{_policies(payload)}{_found(payload)}"
        case Parked():
            return f"waits for {_names(whom(payload.asks))} until {_clock(payload.expires_ms)}"
        case Mistaken():
            return "its key came with another request, which was refused"
        case Approved():
            return f"approved by {_names(payload.by)}"
        case Started(given_back=True):
            return f"given back by {payload.owner}: nothing was done"
        case Started():
            again = f"started again (try {payload.attempt})" if payload.attempt > 1 else "started"
            began = "still under way" if payload.renewed else again
            lease = f", lease {max(payload.lease_ms / 1000 - at.timestamp(), 0):.0f} s" if at else ""
            return f"{began} on {payload.owner} ({payload.enforcement}{lease})"
        case Finished():
            return _finished(payload)
        case Noted(what="parked"):
            return "noted: it waits for a person"
        case Noted():
            return "noted: it moves an amount"
        case Unknown():
            return f"unknown whether it happened: {payload.why}"
        case _:
            return None


def _endorsed(decided: Decided) -> str:
    """Which arguments a person had endorsed."""
    kind = f"{ENDORSEMENT}:"
    named = {
        name: each.removeprefix(kind)
        for name, label in decided.labels.items()
        for each in label.sources
        if each.startswith(kind)
    }
    return f"; endorsed: {_names([f'{name} ({id_})' for name, id_ in named.items()])}" if named else ""


def _found(decided: Decided) -> str:
    """What checks had found in the arguments, where a policy looked at it."""
    context = decided.request.get("context")
    found = context.get("found") if isinstance(context, dict) else None
    return f", found {_names([*map(str, found)])}" if isinstance(found, list) and found else ""


def _finished(finished: Finished) -> str:
    problem = finished.problem
    if problem is not None:
        failed = f"failed in {duration(finished.duration_ms)}" if finished.duration_ms else "failed"
        refused = problem.type.rpartition(":")[2] in _REFUSALS
        return f"{'refused' if refused else failed}: {problem.detail}{_served(finished)}"
    if finished.served_from is not None:
        return f"{finished.outcome}{_served(finished)}"
    ended = "finished" if finished.outcome == "ok" else "failed"
    parts = [f"{ended} in {duration(finished.duration_ms)}"]
    if finished.input_tokens is not None or finished.output_tokens is not None:
        parts.append(f"{finished.input_tokens or 0} + {finished.output_tokens or 0} tokens")
    if finished.cost_usd is not None:
        parts.append(money(finished.cost_usd))
    kinds = sorted({kind for each in finished.found.values() for kind in each})
    parts += [f"found {', '.join(kinds)}"] if kinds else []
    parts += [_value(found.stand_in) for found in islice(references(finished.result), _ARTIFACTS)]
    return ", ".join(parts)


def _served(finished: Finished) -> str:
    return "" if finished.served_from is None else f" (from the record, {finished.served_from})"


def _of_service(payload: Payload) -> str | None:
    match payload:
        case runs.RunOpened():
            session = f", session {payload.session}" if payload.session else ""
            forked = f", forked from {payload.fork.run}" if payload.fork else ""
            return f"run opened: {payload.agent} for {payload.user}{session}{forked}{_plan(payload.plan)}"
        case keys.KeysChanged():
            return _keys_changed(payload)
        case runs.RunGranted():
            return f"{payload.user} lets {payload.agent} act in this run until {_utc(payload.until_s)}"
        case runs.RunWidened():
            usd = "" if payload.max_cost_usd is None else f"; may spend {money(payload.max_cost_usd)}"
            return f"run widened, as {_names(payload.by)} allowed{_grants(payload.grants)}{usd}"
        case runs.RunEnded():
            return f"run {payload.run} ended by {payload.by}" + (f": {payload.reason}" if payload.reason else "")
        case runs.Delegated():
            grants = _grants(payload.grants)
            return f"{payload.principal} lets {payload.agent} act for them until {_utc(payload.expires_s)}{grants}"
        case runs.DelegationEnded():
            return f"{payload.agent} acts for {payload.principal} no more"
        case runs.RunRenewed():
            return f"run token renewed: {payload.agent} for {payload.user}"
        case identity.Registered():
            sponsor = f", sponsor {payload.sponsor}" if payload.sponsor else ""
            groups = f", in {_names(payload.groups)}" if payload.groups else ""
            by = f"{payload.principal} registered by {payload.by}"
            return f"{by}{sponsor}{groups}{_grants(payload.grants)}{_another_key(payload)}"
        case identity.Revoked():
            return f"{payload.principal} revoked by {payload.by}" + (f": {payload.reason}" if payload.reason else "")
        case identity.Suspended():
            return f"{payload.principal} suspended by {payload.by}" + (f": {payload.reason}" if payload.reason else "")
        case identity.Refused():
            kinds = ", ".join(f"{each.what} {each.count:,}x" for each in payload.counts)
            return f"refused to {payload.principal} in {duration(payload.to_ms - payload.from_ms)}: {kinds}"
        case identity.Resumed():
            return f"{payload.principal} resumed by {payload.by}"
        case identity.Erased():
            return f"{payload.principal} erased by {payload.by}: {len(payload.keys)} keys destroyed"
        case keys.KeyIssued():
            return f"API key {payload.id} of {payload.principal} for {payload.user} issued by {payload.by}"
        case keys.KeyRevoked():
            return f"API key {payload.id} of {payload.principal} revoked by {payload.by}"
        case guardrail.PoliciesPublished():
            files = _names([file.name for file in payload.files])
            author = f", written by {payload.author}" if payload.author else ""
            return f"policies in force: {files} ({payload.digest[:8]}), by {payload.by}{author}{_diff(payload.diff)}"
        case guardrail.PoliciesProposed():
            files = _names([file.name for file in payload.files])
            return f"policies proposed: {files} ({payload.digest[:8]}), by {payload.by}"
        case guardrail.ApprovalAnswered():
            answer = "granted" if payload.decision == "grant" else "denied"
            return f"{answer} by {payload.by}" + (f": {payload.note}" if payload.note else "")
        case guardrail.SharesReserved():
            return f"shares of limits reserved for {len(payload.bookings)} actions"
        case guardrail.SharesSettled():
            return f"shares of limits settled: {len(payload.kept)} used, {len(payload.released)} free again"
        case guardrail.AnswersRefused():
            counts = [f"{count} {problem}" for problem, count in payload.problems.items()]
            return f"answers of {payload.by} refused: {_names(counts)}"
        case scheduler.PermitGranted():
            return f"slot of {payload.model} granted after {duration(payload.waited_ms)} ({payload.priority})"
        case scheduler.PermitReleased():
            return f"slot of {payload.model} given back"
        case model.ModelsOffered():
            offers = [f"{offer.name} ({offer.slots} slots)" for offer in payload.models]
            return f"models offered: {_names(offers)}"
        case tool.ToolRegistered():
            spec = payload.spec
            return f"tool {spec.name} {spec.version} ({spec.kind}, {spec.effect}) registered by {payload.owner}"
        case SecretKept():
            tools = f", for {_names(payload.tools)} too" if payload.tools else ""
            return f"secret {payload.name} kept by {payload.by}, for {_names(payload.hosts)}{tools}"
        case SecretRemoved():
            return f"secret {payload.name} removed by {payload.by}"
        case Endorsed():
            where = f" at {payload.pointer}" if payload.pointer and not is_hidden(payload.pointer) else ""
            what = f"{_value(payload.value)}{where} of {payload.source}"
            scope = "wherever it is recalled" if payload.scope == "tenant" else f"for this {payload.scope}"
            better = f"{payload.was} -> {payload.label.integrity}, {scope}"
            return f"{payload.by} endorsed {what}: {better}{_why(payload.note)}"
        case EndorsementRevoked():
            return f"{payload.by} revoked the endorsement {payload.id}{_why(payload.note)}"
        case Reached():
            return _reached(payload)
        case catalog.ToolDeprecated():
            return f"tool {payload.name} is no longer deprecated" if payload.withdrawn else payload.words
        case tool.ToolRemoved():
            return f"tool {payload.name} removed by {payload.by}"
        case servers.ServerAccepted():
            tools = _names([each.name for each in payload.listing.tools])
            return f"MCP server {payload.server.name} ({tools}) accepted by {payload.by}"
        case servers.ServerChanged():
            return (
                f"MCP server {payload.name} is not what was accepted: {_names(payload.differs)}; refused until reviewed"
            )
        case servers.ServerRemoved():
            return f"MCP server {payload.name} removed by {payload.by}"
        case servers.ServerAsked():
            return f"MCP server {payload.name} asked for {_names(list(payload.refused))}, and was refused"
        case tool.PlanTaken():
            return f"step {payload.step + 1} of the run's plan taken"
        case memory.Remembered():
            return f"remembered in {payload.namespace} of {payload.subject}: {_value(payload.text)}"
        case memory.TurnAdded():
            return f"turn of {payload.session} kept, {payload.role}: {_value(payload.text)}"
        case judge.Judged():
            return f"{payload.verdict}: {_votes(payload)}"
        case _:
            return None


def _why(note: str) -> str:
    return f": {_value(note) if is_hidden(note) else note}" if note else ""


def _reached(reached: Reached) -> str:
    """`reached api.example.org:443 (120 B out, 3.1 kB in); refused: 169.254.169.254:80 link-local`."""
    hosts = [
        f"{_host(each.host, each.port)} ({size_text(each.sent_bytes)} out, {size_text(each.received_bytes)} in)"
        for each in reached.hosts
    ]
    refused = [f"{_host(each.host, each.port)} {each.why}{_count(each.count)}" for each in reached.refused]
    refused += [f"{reached.more} more"] if reached.more else []
    parts = (("reached ", hosts), ("refused: ", refused))
    return "; ".join(word + _names(found) for word, found in parts if found)


def _host(host: str, port: int) -> str:
    name = _value(host) if is_hidden(host) else clip(host, _VALUE_CHARS)
    return f"{name}:{port}" if host else "no host"


def _count(count: int) -> str:
    return f" {count}x" if count > 1 else ""


def _plan(plan: dict[str, JsonValue] | None) -> str:
    """`, to mail, refund 2x in this order`; nothing of a plan that is hidden but that there is one."""
    steps = plan.get("steps") if plan else None
    if not isinstance(steps, list):
        return ", with a plan" if plan else ""
    told = [f"{step.get('tool')}{_times(step.get('most'))}" for step in steps if isinstance(step, dict)]
    return f", to {_names(told)}" + (" in this order" if plan and plan.get("ordered") else "")


def _times(most: JsonValue) -> str:
    return f" {most}x" if isinstance(most, int) and most > 1 else ""


def _utc(unix_s: int) -> str:
    try:
        return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return str(unix_s)


def _diff(diff: guardrail.PolicyDiff) -> str:
    parts = (("new", diff.added), ("changed", diff.changed), ("gone", diff.removed))
    return "".join(f"; {word} {_names(names)}" for word, names in parts if names)


def _grants(grants: Grants) -> str:
    kinds = (("tools", grants.tools), ("models", grants.models), ("namespaces", grants.namespaces))
    return "".join(f"; {kind} {_names(names)}" for kind, names in kinds if names)


def _votes(judged: judge.Judged) -> str:
    counts = {kind: sum(vote.vote == kind for vote in judged.votes) for kind in ("accept", "reject", "abstain")}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nobody voted"
    why = "; ".join(f"{vote.judge}: {vote.why}" for vote in judged.votes if vote.vote == "reject" and vote.why)
    return f"{told} (quorum {judged.quorum})" + (f" — {why}" if why else "")


def _asks(asks: Sequence[Ask]) -> str:
    return "; ".join(f"{ask.group} — {ask.why}" for ask in asks)


def _policies(decided: Decided) -> str:
    return f" [{_names(decided.policies)}]" if decided.policies else ""


def _another_key(payload: identity.Registered) -> str:
    if payload.previous is None:
        return ""
    until = _utc(payload.previous_until_s)
    return f", key {_short(payload.nkey)}; {_short(payload.previous)} is taken until {until}"


def _keys_changed(changed: keys.KeysChanged) -> str:
    if not changed.replaced:  # of before it said which
        return f"keys rotated by {changed.by}: {_names([f'{each.use} {each.name}' for each in changed.keys])}"
    if len(changed.replaced) > _MANY:
        found = list(dict.fromkeys(f"{each.use} {each.name.partition('/')[0]}" for each in changed.replaced))
        return f"{len(changed.replaced)} keys replaced by {changed.by}: {_names(found)}"
    times = {each.nkey: (each.from_s, each.until_s) for each in changed.keys}
    return f"keys replaced by {changed.by}: {_names([_replacement(each, times) for each in changed.replaced])}"


def _replacement(replaced: keys.Replacement, times: Mapping[str, tuple[int, int | None]]) -> str:
    begins, _ = times.get(replaced.nkey, (0, None))
    _, ends = times.get(replaced.previous, (0, None))
    overlap = "" if ends is None or ends <= begins else f" (taken until {_utc(ends)})"
    return f"{replaced.use} {replaced.name} {_short(replaced.nkey)} for {_short(replaced.previous)}{overlap}"


def _short(nkey: str) -> str:
    return f"{nkey[:_NKEY_CHARS]}…"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"


def _clock(unix_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(unix_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "a time beyond the calendar"
