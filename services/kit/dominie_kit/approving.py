"""A person's yes: what an action waits for, and whether the answer it got lifts its asks."""

from dominie_contracts import ApprovalRequired, StreamName
from dominie_contracts.action import Decided, Parked
from dominie_contracts.approvals import binding_digest, refuse_answer, refuse_approver
from dominie_contracts.guardrail import APPROVAL, ApprovalAnswered
from dominie_contracts.registry import parse_event
from dominie_eventstore import EventStore
from dominie_kit.bus import now_ms
from dominie_kit.standing import Standing
from dominie_kit.work import Action, Request

APPROVAL_LIFE_S = 24 * 3600


class Approving:
    """The answers that guardrail recorded."""

    def __init__(self, store: EventStore, standing: Standing) -> None:
        self._store = store
        self._standing = standing

    async def answer(self, action: Action) -> ApprovalAnswered | None:
        """The answer to an action, if there is one."""
        for event in await self._store.read(StreamName(action.stream.tenant, APPROVAL, action.id)):
            payload = parse_event(event.envelope.type, event.envelope.data)
            if isinstance(payload, ApprovalAnswered):
                return payload
        return None

    def refusal(self, action: Action, parked: Parked, answer: ApprovalAnswered) -> str | None:
        """Why the answer does not lift the asks; None if it does."""
        context = action.context
        agent = self._standing.find(context.tenant, context.principal)
        return refuse_answer(parked, answer, now_ms=now_ms()) or refuse_approver(
            parked,
            by=answer.by,
            groups=answer.groups,
            user=context.user or "",
            chain=context.chain,
            sponsor=agent.sponsor if agent else None,
        )


def parked(action: Action, request: Request, decided: Decided) -> Parked:
    """What waits for a person: this action alone, with exactly these arguments."""
    context = action.context
    return Parked(
        asks=decided.asks,
        digest=binding_digest(
            stream=str(action.stream),
            tenant=context.tenant,
            user=context.user or "",
            chain=context.chain,
            command=request.command,
            resource=request.resource,
            version=request.version,
            arguments=dict(request.arguments),
            labels=dict(request.labels),
            asks=[ask.policy for ask in decided.asks],
            key=context.digests,
        ),
        command=request.command,
        resource=request.resource,
        arguments=dict(request.arguments),
        labels=dict(request.labels),
        expires_ms=now_ms() + APPROVAL_LIFE_S * 1000,
    )


def approval_required(action: Action, waiting: Parked) -> ApprovalRequired:
    """What whoever asked is told meanwhile."""
    return ApprovalRequired(
        "; ".join(ask.why for ask in waiting.asks),
        action=action.id,
        digest=waiting.digest,
        groups=sorted({ask.group for ask in waiting.asks}),
        expires_ms=waiting.expires_ms,
    )
