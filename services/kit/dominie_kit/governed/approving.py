"""People's yes: what an action waits for, and whether the answers that it got lift its asks."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dominie.answers import read_answer
from dominie_contracts import ApprovalRequired, StreamName, Unauthenticated, Unavailable
from dominie_contracts.action import Ask, Decided, Parked, whom
from dominie_contracts.approvals import (
    LEEWAY_S,
    AnswerClaims,
    Asker,
    binding_digest,
    counts,
    groups_of,
    holds,
    refuse_claims,
    refuse_person,
    unanswered,
)
from dominie_contracts.guardrail import APPROVAL, ApprovalAnswered
from dominie_contracts.identity import WIDENING, Registered
from dominie_contracts.registry import parse_event
from dominie_eventstore import EventStore
from dominie_kit.bus import now_ms
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.work import Action, Request

APPROVAL_LIFE_S = 24 * 3600
MAX_ROUNDS = 8
"""How often one action may ask people; one that goes on changing what it asks is refused."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What people said to an action."""

    left: tuple[Ask, ...]
    """The asks that still want somebody's yes."""
    yeses: tuple[ApprovalAnswered, ...] = ()
    """Those that hold and count."""
    lapsed: bool = False
    """A yes to what is being asked has expired."""
    refused: str | None = None
    """Why it ends here: somebody said no, or an answer is not what it says."""


class Approving:
    """The answers that guardrail recorded; each is checked again as if guardrail had not."""

    def __init__(self, store: EventStore, standing: Standing) -> None:
        self._store = store
        self._standing = standing

    async def hear(self, action: Action, waiting: Parked, now: Parked) -> Heard:
        """What was said to an action that asked with `waiting` and would ask with `now`."""
        answers = await self._answers(action)
        context, own = action.context, action.stream.category == WIDENING
        asker = asker_of(self._standing, context.tenant, context.user or "", context.chain, user_answers=own)
        for answer in answers:
            refused = self._refusal(action, answer, asker)
            if refused is not None:
                return Heard(now.asks, refused=refused)
        at = now_ms()
        yeses = [answer for answer in answers if holds(answer, now.digest, now_ms=at)]
        left = unanswered(now.asks, yeses)
        wanted = {ask.key for ask in left}
        lapsed = any(
            answer.expires_ms < at and answer.answered_ms >= waiting.asked_ms and wanted & set(answer.asks)
            for answer in answers
        )
        counting = tuple(yes for yes in yeses if any(counts(yes, ask) for ask in now.asks))
        return Heard(left, counting, lapsed)

    async def _answers(self, action: Action) -> list[ApprovalAnswered]:
        stream = StreamName(action.stream.tenant, APPROVAL, action.id)
        found = [parse_event(event.envelope.type, event.envelope.data) for event in await self._store.read(stream)]
        return [payload for payload in found if isinstance(payload, ApprovalAnswered)]

    def _refusal(self, action: Action, answer: ApprovalAnswered, asker: Asker) -> str | None:
        """Why an answer ends the action; None where it is a yes, or once was."""
        if answer.decision != "grant":
            return f"{answer.by} said no" + (f": {answer.note}" if answer.note else "")
        if answer.action != action.id or answer.digest not in action.state.asked:
            return "the yes was for something else"
        tenant = action.context.tenant
        person = self._standing.find(tenant, answer.by)
        if person is None or self._standing.suspension(tenant, answer.by) is not None:
            return f"{answer.by!r} is not registered, or no longer"
        if refused := refuse_person(asker, answer.by, person.nkey):
            return refused
        if missing := sorted(set(answer.groups) - set(groups_of(asker, answer.by, person.groups))):
            return f"{answer.by!r} is not in {', '.join(missing)}"
        if answer.answered_ms > now_ms() + LEEWAY_S * 1000:
            return "the yes was given later than now"
        try:
            claims, nkey = signed_answer(person, answer.proof, answer.answered_ms / 1000)
        except Unauthenticated as error:
            return error.detail
        if nkey != answer.nkey:
            return "the yes names another key than the one that signed it"
        return refuse_claims(claims, answer, tenant=tenant, login=person.login)


def signed_answer(person: Registered, proof: str, at_s: float) -> tuple[AnswerClaims, str]:
    """What a person's proof says, and the key that signed it: theirs, or the one before while that is taken.

    Raises:
        Unauthenticated: Neither did, it is no such proof, or their login was over.
    """
    if person.previous is not None and person.takes(person.previous, at_s):
        with suppress(Unauthenticated):
            return read_answer(proof, person.previous), person.previous
    if not person.takes(person.nkey, at_s):
        raise Unauthenticated(f"the login of {person.principal} was over; sign in and answer again")
    return read_answer(proof, person.nkey), person.nkey


def asker_of(standing: Standing, tenant: str, user: str, chain: str, *, user_answers: bool = False) -> Asker:
    """Everybody on whose side an action is; `user_answers` where it is about what may be done in the user's name.

    Raises:
        Unavailable: An agent of the chain is not known here, so nobody can tell who answers for it.
    """
    sponsors, nkeys = set[str](), set[str]()
    for agent in chain.split():
        found = standing.find(tenant, agent)
        if found is None:
            raise Unavailable(f"nobody here knows who answers for {agent}", retry_after_s=0.5)
        nkeys |= _keys(found)
        sponsors |= {found.sponsor} if found.sponsor else set()
    own = standing.find(tenant, user)
    people = [standing.find(tenant, person) for person in sponsors]
    nkeys = nkeys.union(*(_keys(person) for person in people if person is not None))
    theirs = frozenset(_keys(own)) if own is not None else frozenset[str]()
    return Asker(user, tuple(chain.split()), frozenset(sponsors), frozenset(nkeys), user_answers, theirs)


def _keys(registered: Registered) -> set[str]:
    """Its keys, and the one before, however long ago that was."""
    return {registered.nkey} | ({registered.previous} if registered.previous is not None else set())


def parked(action: Action, request: Request, asks: Iterable[Ask]) -> Parked:
    """What waits for people: this action alone, with exactly these arguments."""
    context, now = action.context, now_ms()
    return Parked(
        asks=tuple(asks),
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
            key=context.digests,
        ),
        command=request.command,
        resource=request.resource,
        labels=dict(request.labels),
        expires_ms=now + APPROVAL_LIFE_S * 1000,
        asked_ms=now,
    )


def lifted(decided: Decided, yeses: Sequence[ApprovalAnswered]) -> Decided:
    """The decision once every ask has its yes."""
    if decided.decision != "ask" or not yeses:
        return decided
    return decided.model_copy(update={"decision": "allow", "why": ("approved",), "asks": ()})


def approval_required(action: Action, waiting: Parked, left: Sequence[Ask]) -> ApprovalRequired:
    """What whoever asked is told meanwhile."""
    why = "; ".join(dict.fromkeys(ask.why for ask in left))
    return ApprovalRequired(
        f"{why} (waits for {', '.join(whom(left))})",
        action=action.id,
        digest=waiting.digest,
        groups=sorted({ask.group for ask in left}),
        asks=[ask.model_dump(mode="json", exclude={"digest"}) for ask in left],
        expires_ms=waiting.expires_ms,
    )
