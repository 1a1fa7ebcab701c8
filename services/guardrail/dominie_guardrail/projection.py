"""What guardrail knows: the policy set in force, and the actions that wait for a person."""

from dataclasses import dataclass, replace

from dominie_contracts import Recorded, StreamName
from dominie_contracts.action import Approved, Finished, Parked
from dominie_contracts.guardrail import ApprovalAnswered, ApprovalView, PoliciesPublished
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
    """An asked action as the log tells it."""

    view: ApprovalView
    parked: Parked
    chain: str


class Asked:
    """The asked actions of every category. An answer may be read before its question: it waits."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._early: dict[tuple[str, str], ApprovalAnswered] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event of an action's trail, or an answer. Most are neither asked nor answered: those cost nothing."""
        if not event.envelope.type.endswith(_TELLING):
            return
        stream = StreamName.parse(event.envelope.stream)
        key = (stream.tenant, stream.id)
        if event.envelope.type.endswith(Finished.KIND) and key not in self._entries:
            return
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, Parked):
            self._entries[key] = _entry(event, stream, payload)
            if key in self._early:
                self._answer(key, self._early.pop(key))
        elif isinstance(payload, ApprovalAnswered) and key not in self._entries:
            self._early[key] = payload
        elif key not in self._entries:
            return
        elif isinstance(payload, ApprovalAnswered):
            self._answer(key, payload)
        elif isinstance(payload, Approved):
            self._update(key, status="used")
        elif isinstance(payload, Finished) and self._entries[key].view.status in ("pending", "granted"):
            self._update(key, status="expired")

    def find(self, tenant: str, action: str) -> Entry | None:
        """One asked action."""
        return self._entries.get((tenant, action))

    def all(self, tenant: str, *, now_ms: int) -> list[ApprovalView]:
        """A tenant's asked actions, oldest first; what nobody answered in time has expired."""
        views = [entry.view for (owner, _), entry in self._entries.items() if owner == tenant]
        return [
            view.model_copy(update={"status": "expired"})
            if view.status == "pending" and now_ms > view.expires_ms
            else view
            for view in views
        ]

    def forget(self, category: str) -> None:
        """Forget a category's actions, before a rebuild."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry.view.category != category}

    def _answer(self, key: tuple[str, str], answer: ApprovalAnswered) -> None:
        if self._entries[key].view.status == "pending":
            status = "granted" if answer.decision == "grant" else "denied"
            self._update(key, status=status, by=answer.by, note=answer.note)

    def _update(self, key: tuple[str, str], **changes: str) -> None:
        entry = self._entries[key]
        self._entries[key] = replace(entry, view=entry.view.model_copy(update=changes))


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


def _expire(view: ApprovalView, now_ms: int) -> ApprovalView:
    late = view.status == "pending" and now_ms > view.expires_ms
    return view.model_copy(update={"status": "expired"}) if late else view


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
    return Entry(view, parked, envelope.actor)
