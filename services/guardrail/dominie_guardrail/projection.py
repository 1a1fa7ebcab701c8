"""What guardrail knows: the policy set in force, and the actions that wait for a person."""

from dataclasses import dataclass, replace

from dominie_contracts import Recorded, StreamName
from dominie_contracts.action import Approved, Finished, Parked
from dominie_contracts.guardrail import APPROVAL, ApprovalAnswered, ApprovalView, PoliciesPublished
from dominie_contracts.registry import parse_event

_TELLING = (Parked.KIND, Approved.KIND, Finished.KIND, ApprovalAnswered.KIND)


class InForce:
    """The policy set in force; a projection of the category `policy`."""

    def __init__(self) -> None:
        self.position = 0
        self.version = 0
        self.digest: str | None = None

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position, self.version = event.position, event.envelope.version
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, PoliciesPublished):
            self.digest = payload.digest

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position, self.version, self.digest = 0, 0, None


@dataclass(frozen=True, slots=True)
class Entry:
    """An asked action as the log tells it; `view` as it was when it was asked."""

    view: ApprovalView
    parked: Parked
    chain: str
    position: int
    used: bool = False
    ended: bool = False

    def seen(self, answer: ApprovalAnswered | None) -> ApprovalView:
        """The action with its answer, in whatever order its events were read."""
        by = {"by": answer.by, "note": answer.note} if answer else {}
        return self.view.model_copy(update={"status": self._status(answer), **by})

    def _status(self, answer: ApprovalAnswered | None) -> str:
        if self.used:
            return "used"
        if answer is not None and answer.decision == "deny":
            return "denied"
        if self.ended:
            return "expired"
        return "granted" if answer else "pending"


class Asked:
    """The asked actions of every category, and the answers. Each category is read by itself, so either may be first."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._answers: dict[tuple[str, str], ApprovalAnswered] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event of an action's trail, or an answer; what tells nothing costs nothing."""
        kind = event.type
        if not kind.endswith(_TELLING) or (kind.endswith(Finished.KIND) and not self._entries):
            return
        stream = StreamName.parse(event.stream)
        key = (stream.tenant, stream.id)
        if kind.endswith(Finished.KIND) and key not in self._entries:
            return
        payload = parse_event(kind, event.envelope.data)
        if isinstance(payload, ApprovalAnswered):
            self._answers.setdefault(key, payload)
        elif isinstance(payload, Parked):
            self._entries[key] = _entry(event, stream, payload)
        elif isinstance(payload, Approved) and key in self._entries:
            self._entries[key] = replace(self._entries[key], used=True)
        elif isinstance(payload, Finished) and key in self._entries:
            self._entries[key] = replace(self._entries[key], ended=True)

    def find(self, tenant: str, action: str) -> Entry | None:
        """One asked action."""
        return self._entries.get((tenant, action))

    def all(self, tenant: str, *, now_ms: int) -> list[ApprovalView]:
        """A tenant's asked actions, oldest first; what nobody answered in time has expired."""
        views = [
            entry.seen(self._answers.get(key))
            for key, entry in sorted(self._entries.items(), key=lambda item: item[1].position)
            if key[0] == tenant
        ]
        return [
            view.model_copy(update={"status": "expired"})
            if view.status == "pending" and now_ms > view.expires_ms
            else view
            for view in views
        ]

    def forget(self, category: str) -> None:
        """Forget a category's events, before a rebuild."""
        if category == APPROVAL:
            self._answers.clear()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.view.category != category}


class AskedIn:
    """Feeds one category's events to the asked actions; each category is followed from its own position."""

    def __init__(self, asked: Asked, category: str) -> None:
        self.position = 0
        self._asked = asked
        self._category = category

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        self._asked.apply(event)

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position = 0
        self._asked.forget(self._category)


def _entry(event: Recorded, stream: StreamName, parked: Parked) -> Entry:
    envelope = event.envelope
    view = ApprovalView(
        action=stream.id,
        tenant=stream.tenant,
        category=stream.category,
        agent=envelope.actor.split()[0],
        user=envelope.on_behalf_of or "",
        run=envelope.correlation_id,
        command=parked.command,
        resource=parked.resource,
        arguments=parked.arguments,
        labels=parked.labels,
        asks=parked.asks,
        digest=parked.digest,
        status="pending",
        expires_ms=parked.expires_ms,
    )
    return Entry(view, parked, envelope.actor, event.position)
