"""What the log says of identity's world: principals and their API keys, tools and their owners, models."""

import hmac
from collections.abc import Callable
from typing import Self

from dominie_contracts import Recorded
from dominie_contracts.identity import Erased, Registered, Suspended
from dominie_contracts.keys import KeyIssued
from dominie_contracts.model import ModelsOffered
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import Delegated
from dominie_contracts.subjects import PLATFORM, StreamName
from dominie_contracts.tool import ToolRegistered
from dominie_eventstore import InMemory
from dominie_identity.adapters.key_store import KeyStore
from dominie_identity.aggregate import PrincipalEvent, State, evolve


class Principals(InMemory):
    """A projection of the category `principal`."""

    def __init__(self) -> None:
        self.position = 0
        self._states: dict[tuple[str, str], State] = {}
        self._by_digest: dict[str, tuple[str, str]] = {}
        self.on_stopped: Callable[[str, str], None] = lambda tenant, principal: None
        """Hears whose identity, or key, was just taken away, for good or for a while."""

    def apply(self, event: Recorded) -> None:
        """Take in an event; one that was put in when it was written changes nothing."""
        self.position = event.position
        stream = StreamName.parse(event.envelope.stream)
        state = self._states.get((stream.tenant, stream.id), State())
        payload = parse_event(event.envelope.type, event.envelope.data)
        if event.envelope.version > state.version and isinstance(payload, PrincipalEvent):
            at_s = event.envelope.time.timestamp()
            self.put(stream.tenant, stream.id, evolve(state, payload, position=event.position, at_s=at_s))

    def become(self, built: Self) -> None:
        """Take over what the built one knows, but for what was just written and is still to be read."""
        states, on_stopped = self._states, self.on_stopped
        super().become(built)
        self.on_stopped = on_stopped
        for (tenant, principal), state in states.items():
            self.put(tenant, principal, state)

    def reset(self) -> None:
        """Forget everything; what was just written too."""
        self._states = {}
        super().reset()

    def put(self, tenant: str, principal: str, state: State) -> None:
        """Take in a principal as it was just written, unless a later state is known."""
        before = self._states.get((tenant, principal), State())
        if state.version > before.version:
            self._states[tenant, principal] = state
            self._by_digest.update({key.digest: (tenant, principal) for key in state.keys})
            if (state.stopped and not before.stopped) or (before.keyed and state.keyed != before.keyed):
                self.on_stopped(tenant, principal)

    def find(self, tenant: str, principal: str) -> Registered | None:
        """A registration that stands; None where there is none, or it was revoked."""
        return None if self.is_revoked(tenant, principal) else self.state(tenant, principal).registered

    def state(self, tenant: str, principal: str) -> State:
        """A principal as it is."""
        return self._states.get((tenant, principal), State())

    def is_revoked(self, tenant: str, principal: str) -> bool:
        """Whether the principal's identity was taken away, or its sponsor's, without whom it does not stand."""
        state = self.state(tenant, principal)
        sponsor = state.registered.sponsor if state.registered else None
        return state.revoked or (sponsor is not None and self.state(tenant, sponsor).revoked)

    def wards(self, tenant: str, sponsor: str) -> list[str]:
        """Those that a person answers for, and that were not revoked themselves."""
        states = [state for state in self.states(tenant) if not state.revoked]
        return [each.registered.principal for each in states if each.registered and each.registered.sponsor == sponsor]

    def orphaned(self) -> list[Registered]:
        """People who were revoked, and still answer for somebody who was not."""
        gone = [(tenant, state.registered) for (tenant, _), state in self._states.items() if state.revoked]
        return [person for tenant, person in gone if person is not None and self.wards(tenant, person.principal)]

    def delegation(self, tenant: str, user: str, agent: str, *, now_s: int) -> Delegated | None:
        """A person's delegation to an agent that stands."""
        found = (each for each in self.state(tenant, user).delegations if each.agent == agent)
        return next((each for each in found if each.expires_s > now_s), None)

    def has_spoken(self, tenant: str, user: str, agent: str) -> bool:
        """Whether a person has ever let an agent act for them, so that nobody else says it for them."""
        return agent in self.state(tenant, user).spoken

    def has_ended(self, tenant: str, agent: str, run: str) -> bool:
        """Whether a run of an agent was ended."""
        return run in self.state(tenant, agent).ended

    def knows(self, tenant: str, principal: str) -> bool:
        """Whether there is such a principal, or was."""
        return (tenant, principal) in self._states

    def is_stopped(self, tenant: str, principal: str) -> bool:
        """Whether the principal is suspended, or its identity was taken away."""
        return self._states.get((tenant, principal), State()).stopped

    def keeps(self, tenant: str, principal: str, *, since_s: float, now_s: float) -> bool:
        """Whether a connection of a principal that was made at a time goes on, by the keys that are taken now."""
        return self.state(tenant, principal).keeps(since_s, now_s=now_s)

    def suspension(self, tenant: str, principal: str) -> Suspended | None:
        """The suspension of a principal that stands."""
        return self._states.get((tenant, principal), State()).suspended

    def states(self, tenant: str) -> list[State]:
        """Every principal of a tenant, by name."""
        found = sorted(self._states.items(), key=lambda entry: entry[0])
        return [state for (owner, _), state in found if owner == tenant and state.registered is not None]

    def api_key(self, digest: str) -> KeyIssued | None:
        """The API key with this SHA-256, if it stands."""
        where = self._by_digest.get(digest)
        keys = self._states[where].keys if where else ()
        return next((key for key in keys if hmac.compare_digest(key.digest, digest)), None)


class Erasures(InMemory):
    """Brings the key store to what the category `principal` says: after a crash, or when an old copy was put back."""

    def __init__(self, keys: KeyStore) -> None:
        self.position = 0
        self._keys = keys

    def apply(self, event: Recorded) -> None:
        """Take in an event; what was done when it was written changes nothing."""
        self.position = event.position
        match parse_event(event.type, event.envelope.data):
            case Erased() as erased:
                self._keys.replay(erased.tenant, erased.principal, event.position, erased=True)
                self._keys.destroy(erased.tenant, erased.keys)
            case Registered() as registered:
                self._keys.replay(registered.tenant, registered.principal, event.position, erased=False)
            case _:
                pass

    def fresh(self) -> Self:
        """Another for the same keys, which know up to where they have been brought."""
        return type(self)(self._keys)


class Catalog(InMemory):
    """A projection of the category `catalog`: the tools of each tenant, and who owns them."""

    def __init__(self) -> None:
        self.position = 0
        self._tools: dict[str, dict[str, ToolRegistered]] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, ToolRegistered):
            self._tools.setdefault(event.envelope.tenant, {})[payload.spec.name] = payload

    def tools(self, tenant: str) -> dict[str, ToolRegistered]:
        """The tools that a tenant has now, the platform's among them."""
        return {**self._tools.get(PLATFORM, {}), **self._tools.get(tenant, {})}


class Offers(InMemory):
    """A projection of the category `offer`: the models that can be asked for."""

    def __init__(self) -> None:
        self.position = 0
        self.models: tuple[str, ...] = ()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, ModelsOffered):
            self.models = tuple(offer.name for offer in payload.models)
