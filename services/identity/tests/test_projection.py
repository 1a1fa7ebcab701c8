"""Read models: rebuilt from the log they are what they were."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Draft, Recorded, StreamName
from dominie_contracts.identity import PRINCIPAL, Registered, Resumed, Revoked, Suspended
from dominie_contracts.keys import KeyIssued
from dominie_contracts.registry import event_type
from dominie_contracts.token import Grants
from dominie_eventstore import MemoryEventStore
from dominie_identity.aggregate import PrincipalEvent, State, evolve
from dominie_identity.projection import Principals

pytestmark = pytest.mark.anyio
NAMES = ("a-1", "a-2")


def event(name: str, kind: str) -> PrincipalEvent:
    match kind:
        case "registered":
            return Registered(
                tenant="acme",
                principal=name,
                nkey="U",
                sponsor=None,
                grants=Grants(),
                users=(),
                groups=(),
                by="operator",
            )
        case "revoked":
            return Revoked(tenant="acme", principal=name, by="operator", reason="")
        case "suspended":
            return Suspended(tenant="acme", principal=name, by="operator", reason="")
        case "resumed":
            return Resumed(tenant="acme", principal=name, by="operator")
        case _:
            return KeyIssued(tenant="acme", principal=name, id=kind, digest=f"{name}{kind}", user="u-x", by="operator")


async def log(events: list[tuple[str, str]]) -> list[Recorded]:
    store = MemoryEventStore()
    versions = dict.fromkeys(NAMES, 0)
    for number, (name, kind) in enumerate(events):
        payload = event(name, kind)
        draft = Draft(
            id=str(number),
            source="dominie/identity",
            type=event_type(PRINCIPAL, payload),
            time=datetime.now(UTC),
            actor="operator",
            data=payload.model_dump_json(),
        )
        stream = StreamName("acme", PRINCIPAL, name)
        versions[name] = (await store.append(stream, [draft], expected_version=versions[name])).version
    return [found async for found in store.read_all(category=PRINCIPAL)]


def answers(principals: Principals) -> list[object]:
    keys = [principals.api_key(f"{name}{kind}") for name in NAMES for kind in ("k1", "k2")]
    suspended = (principals.suspension("acme", name) for name in NAMES)
    return [*principals.states("acme"), *keys, *(principals.find("acme", name) for name in NAMES), *suspended]


KINDS = st.sampled_from(["registered", "revoked", "suspended", "resumed", "k1", "k2"])


@given(st.lists(st.tuples(st.sampled_from(NAMES), KINDS), max_size=8), st.integers(0, 8))
async def test_rebuilt_or_put_in_early_it_answers_the_same(events: list[tuple[str, str]], early: int) -> None:
    recorded = await log(events)
    live, ahead = Principals(), Principals()
    for found in recorded:
        live.apply(found)
    before = answers(live)
    live.reset()
    assert live.states("acme") == []
    for name in NAMES:
        state = State()
        for place, kind in events[:early]:
            state = evolve(state, event(place, kind)) if place == name else state
        ahead.put("acme", name, state)
    for found in recorded:
        live.apply(found)
        ahead.apply(found)
    assert answers(live) == answers(ahead) == before


async def test_who_is_stopped_is_told_once_also_after_a_rebuild() -> None:
    principals, told = Principals(), list[tuple[str, str]]()
    principals.on_stopped = lambda *who: told.append(who)
    built = principals.fresh()
    for found in await log([("a-1", "registered"), ("a-1", "suspended"), ("a-1", "revoked"), ("a-2", "registered")]):
        principals.apply(found)
        built.apply(found)
    principals.become(built)
    assert told == [("acme", "a-1")]
    for found in await log([("a-2", "registered"), ("a-2", "suspended")]):
        principals.apply(found)
    assert told[1:] == [("acme", "a-2")]


async def test_another_tenants_principal_is_another() -> None:
    principals = Principals()
    principals.put("acme", "a-1", evolve(State(), event("a-1", "registered")))
    assert principals.find("other", "a-1") is None
    assert principals.states("other") == []
