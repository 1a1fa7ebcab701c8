"""The trail of an action: the events that every action leaves, and the state they fold to.

A service writes them into one stream of the action's own, named by `digests.action_id`, in a category of its own:
the type of `Started` in the category `tool` is `tool.started.v1`.

    requested ── decided ─┬─ deny ──────────────────────────────── finished (problem)
                          ├─ ask ── parked ── approved ─┐
                          └─ allow ─────────────────────┴─ started ── finished | unknown

What others have to find of an action without reading every trail, its service notes beside it (decision 0008).
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeInt

from dominie_contracts.base import Json, Message, Payload
from dominie_contracts.personal import HIDEABLE, PERSONAL
from dominie_contracts.problems import ProblemDetails
from dominie_contracts.provenance import Integrity, Label

Decision = Literal["allow", "ask", "deny"]
Priority = Literal["interactive", "standard", "background"]


class Ask(Message):
    """One policy that wants a person's yes."""

    policy: str
    group: str
    """The group whose members may say yes."""
    why: str
    quorum: int = 1
    """How many different members have to."""
    four_eyes: bool = False
    """Two different people in all have to say yes to the action, whichever of the asked groups they are in."""
    digest: str = ""
    """Of the policy as it stood: a yes to its words of then is none to others."""

    @property
    def key(self) -> str:
        """What a yes is given to: this policy in these words."""
        return f"{self.policy}@{self.digest}"


class Limit(Message):
    """What one policy lets several calls have together."""

    policy: str
    counts: Literal["amount", "calls"]
    """Their amounts, in minor units, or how many they are."""
    most: int
    per: Literal["agent", "user", "tenant"]
    """Whose calls are added up."""
    within: Literal["hour", "day", "month"]
    """In UTC."""
    why: str


def whom(asks: Iterable[Ask]) -> list[str]:
    """Whose yes some asks want: `finance`, `2 of finance`, `two people in all`."""
    asks = tuple(asks)
    most = {ask.group: max(each.quorum for each in asks if each.group == ask.group) for ask in asks}
    found = [group if most[group] == 1 else f"{most[group]} of {group}" for group in sorted(most)]
    return [*found, "two people in all"] if any(ask.four_eyes for ask in asks) and sum(most.values()) < 2 else found


class Requested(Payload):
    """Written by the service that owns the action, before anything else of it."""

    KIND: ClassVar[str] = "requested.v1"
    command: str
    resource: str | None = None
    key: Annotated[str, PERSONAL]
    """The idempotency key; a client may have made it from the arguments."""
    arguments: Annotated[dict[str, Json], PERSONAL]
    digest: str
    """Of command, resource, version, arguments and user (RFC 8785, keyed BLAKE2b): what a key stands for."""
    session: str | None = None
    priority: Priority = "standard"
    deadline_ms: NonNegativeInt


class Decided(Payload):
    """Written by the service that owns the action, from its decision point, at every decision."""

    KIND: ClassVar[str] = "decided.v1"
    decision: Decision
    policies: tuple[str, ...]
    """The policies that made it so."""
    why: tuple[str, ...] = ()
    asks: tuple[Ask, ...] = ()
    request: Annotated[dict[str, Json], PERSONAL]
    """The whole Cedar request, so that the decision can be made again; without the clock, which is its own field."""
    policy_set: str = ""
    """The digest of the policies that it was made by; empty before those were written down here."""
    schema_digest: str = ""
    """Of the schema that the request was held against, 16 hex digits."""
    clock_s: NonNegativeInt | None = None
    """Unix time in seconds, as the policies were told it."""
    limits: tuple[Limit, ...] = ()
    """Where it is allowed, then within these: a share of each is reserved before it begins."""
    observed: bool = False
    """Nothing was held to it: `dominie up --observe`."""
    labels: dict[str, Label] = Field(default_factory=dict)
    """Where the arguments came from that have a role, or that not everybody may read; by name."""

    @property
    def held(self) -> Decision:
        """What the action is held to: where decisions are only observed, everything goes on."""
        return "allow" if self.observed else self.decision


class Parked(Payload):
    """Written by the service that owns the action, when it waits for people, and again when other asks wait."""

    KIND: ClassVar[str] = "parked.v1"
    asks: tuple[Ask, ...]
    """Those that have no yes yet."""
    digest: str
    """What a yes is bound to: stream, tenant, user, chain, tool and version, arguments and labels."""
    command: str
    resource: str | None = None
    arguments: Annotated[dict[str, Json], PERSONAL] = Field(default_factory=dict)
    """Empty: they are those of `Requested`. They stood here, too, at first."""
    labels: dict[str, Integrity] = Field(default_factory=dict)
    expires_ms: NonNegativeInt
    """Unix time in milliseconds."""
    asked_ms: NonNegativeInt = 0
    """Unix time in milliseconds."""


class Mistaken(Payload):
    """Written by the service that owns the action, once, when its key came with another request while it waits."""

    KIND: ClassVar[str] = "mistaken.v1"
    digest: str
    """Of the other request, as `Requested.digest`."""


class Approved(Payload):
    """Written by the service that owns the action, when it consumes an approval; so it is used once."""

    KIND: ClassVar[str] = "approved.v1"
    approvals: tuple[str, ...]
    """The ids of the approvals' streams."""
    by: tuple[str, ...]
    """Who said yes."""


class Started(Payload):
    """Written before an effect; durable before the effect happens."""

    KIND: ClassVar[str] = "started.v1"
    owner: str
    """The instance that runs it."""
    lease_ms: NonNegativeInt
    """Unix time in milliseconds until which nobody else may take over."""
    attempt: NonNegativeInt
    enforcement: Literal["isolated", "worker", "cooperative", "service"] = "service"
    layers: tuple[str, ...] = ()
    """The layers of isolation that were applied."""
    renewed: bool = False
    """The owner only goes on: nothing was begun, the lease is longer."""
    given_back: bool = False
    """Nothing happened after all, and the owner holds it no longer: whoever is asked next may begin it."""


class Finished(Payload):
    """Written with the outcome; the action ends here."""

    KIND: ClassVar[str] = "finished.v1"
    outcome: Literal["ok", "error"]
    result: Annotated[Json, PERSONAL] = None
    problem: ProblemDetails | None = None
    labels: Annotated[dict[str, Integrity], PERSONAL, HIDEABLE] = Field(default_factory=dict)
    """Integrity by JSON pointer (RFC 6901): of a leaf of the result, or of all that is below and has no longer pointer
    here; what has none is untrusted."""
    readers: Annotated[dict[str, tuple[str, ...]], PERSONAL, HIDEABLE] = Field(default_factory=dict)
    """In the same way, who may read it; what has none, anybody may."""
    label: Label | None = None
    """Of the whole result, with what that was made from; None: it is untrusted."""
    found: Annotated[dict[str, tuple[str, ...]], PERSONAL, HIDEABLE] = Field(default_factory=dict)
    """By pointer, what checks found in the result: `pii.iban`; `unchecked` where one could not look."""
    things: Annotated[dict[str, str], PERSONAL, HIDEABLE] = Field(
        default_factory=dict, exclude_if=lambda each: not each
    )
    """By pointer, the kind of thing that a leaf is the name of: `file`; `+file` where this call has made it."""
    duration_ms: float
    cost_usd: float | None = None
    """None: not priced, which is not free."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    layers: tuple[str, ...] = ()
    """Of a call without `Started`, since it changes nothing: the layers of isolation that were applied."""
    served_from: int | None = None
    """In a forked run, the position of the parent's event that this was taken from: nothing was done."""


class Unknown(Payload):
    """Written when nobody can tell whether the effect happened; the action is parked for a person to settle."""

    KIND: ClassVar[str] = "unknown.v1"
    why: str


Matter = Literal["parked", "amounts"]
"""What of an action others look for: that it waits for a person, or what its trail will say."""


class Noted(Payload):
    """Written by the service that owns the action, before what it announces, into a stream of the same id."""

    KIND: ClassVar[str] = "noted.v1"
    what: Matter
    """`parked`: it waits for a person. `amounts`: it moves an amount."""


def noted_in(category: str, what: Matter) -> str:
    """The category of the notes on a category's actions: `tool_parked`."""
    return f"{category}_{what}"


TRAIL: tuple[type[Payload], ...] = (Requested, Decided, Parked, Mistaken, Approved, Started, Finished, Unknown)

Status = Literal["new", "requested", "denied", "parked", "ready", "started", "finished", "unknown"]


class ActionState(NamedTuple):
    """What an action's events say of it."""

    status: Status = "new"
    version: int = 0
    requested: Requested | None = None
    decided: Decided | None = None
    parked: Parked | None = None
    asked: tuple[str, ...] = ()
    """What people were asked, by its digest, each time."""
    mistaken: bool = False
    started: Started | None = None
    finished: Finished | None = None


def evolve(state: ActionState, event: Payload) -> ActionState:
    """The state after one more event; events of other kinds count in the version alone."""
    version = state.version + 1
    match event:
        case Requested():
            return state._replace(version=version, status="requested", requested=event)
        case Decided():
            status: dict[Decision, Status] = {"allow": "ready", "ask": "requested", "deny": "denied"}
            return state._replace(version=version, status=status[event.held], decided=event)
        case Parked():
            return state._replace(version=version, status="parked", parked=event, asked=(*state.asked, event.digest))
        case Mistaken():
            return state._replace(version=version, mistaken=True)
        case Approved():
            return state._replace(version=version, status="ready")
        case Started():
            return state._replace(version=version, status="ready" if event.given_back else "started", started=event)
        case Finished():
            return state._replace(version=version, status="finished", finished=event)
        case Unknown():
            return state._replace(version=version, status="unknown")
        case _:
            return state._replace(version=version)


def fold(events: Iterable[Payload]) -> ActionState:
    """The state of an action with these events."""
    state = ActionState()
    for event in events:
        state = evolve(state, event)
    return state
