"""What a registration means now: `*`, workers, and what is nobody."""

from datetime import UTC, datetime

import pytest

from dominie_contracts import Draft, Payload, StreamName
from dominie_contracts.identity import Registered
from dominie_contracts.model import OFFER, OFFERS, ModelsOffered, Offer
from dominie_contracts.registry import event_type
from dominie_contracts.rights import Rights
from dominie_contracts.token import Grants
from dominie_contracts.tool import CATALOG, ToolRegistered, ToolSpec
from dominie_eventstore import MemoryEventStore
from dominie_identity.adapters.permissions import Permissions
from dominie_identity.projection import Catalog, Offers

pytestmark = pytest.mark.anyio


async def permissions(*tools: tuple[str, str, str, str]) -> Permissions:
    """Tools as (tenant, name, owner, kind), and one offered model."""
    store, catalog, offers = MemoryEventStore(), Catalog(), Offers()

    async def put(stream: StreamName, payload: Payload) -> None:
        draft = Draft(
            id=str(stream),
            source="dominie/test",
            type=event_type(stream.category, payload),
            time=datetime.now(UTC),
            actor="test",
            data=payload.model_dump_json(),
        )
        await store.append(stream, [draft], expected_version=0)

    for tenant, name, owner, kind in tools:
        spec = ToolSpec.model_validate({"name": name, "input_schema": {}, "kind": kind})
        await put(StreamName(tenant, CATALOG, name), ToolRegistered(spec=spec, owner=owner))
    offered = ModelsOffered(models=(Offer(name="auto", provider="x", slots=1),))
    await put(StreamName("svc", OFFER, OFFERS), offered)
    async for event in store.read_all():
        catalog.apply(event)
        offers.apply(event)
    return Permissions(catalog, offers)


def registered(principal: str, **changed: object) -> Registered:
    found = {
        "tenant": "acme",
        "principal": principal,
        "nkey": "U",
        "sponsor": "u-dana",
        "grants": Grants(),
        "users": (),
        "groups": (),
        "by": "u-dana",
    }
    return Registered.model_validate({**found, **changed})


EVERYTHING = Grants(tools=("*",), models=("*",), namespaces=("*",))


async def test_everything_is_what_the_tenant_has_now() -> None:
    found = await permissions(("acme", "refund", "w-ledger", "worker"), ("other", "secret", "w-x", "sandboxed"))
    rights = found.of(registered("a-desk", grants=EVERYTHING))
    granted = {subject.split(".", 3)[3] for subject in rights.publish if subject.count(".") == 5}
    assert granted == {
        "tool.invoke.refund",
        "model.chat.auto",
        "memory.remember.user",
        "memory.remember.shared",
        "memory.recall.user",
        "memory.recall.shared",
    }
    assert not [subject for subject in rights.publish if "*" in subject]


async def test_named_grants_stay_names() -> None:
    rights = (await permissions()).of(registered("a-desk", grants=Grants(tools=("a.b", "*"))))
    assert [subject for subject in rights.publish if "invoke" in subject] == ["cmd.acme.a-desk.tool.invoke.a%2Eb"]


@pytest.mark.parametrize(
    ("owner", "changed", "serves"),
    [
        ("w-ledger", {}, True),
        ("u-dana", {"grants": EVERYTHING}, True),
        ("u-dana", {"grants": Grants(tools=("refund",))}, True),
        ("u-dana", {}, False),
        ("w-other", {"grants": EVERYTHING}, False),
        ("u-erin", {"grants": Grants(tools=("refund",))}, False),
        ("w-other", {"grants": Grants(tools=("refund",)), "by": "operator", "sponsor": None}, True),
    ],
)
async def test_a_worker_takes_calls_of_its_own_or_its_owners_tools(
    owner: str, changed: dict[str, object], serves: bool
) -> None:
    rights = (await permissions(("acme", "refund", owner, "worker"))).of(registered("w-ledger", **changed))
    assert ("call.acme.refund" in rights.subscribe) is serves


async def test_nobody_takes_calls_of_a_tool_that_has_no_worker() -> None:
    found = await permissions(("acme", "refund", "w-ledger", "sandboxed"))
    assert "call.acme.refund" not in found.of(registered("w-ledger")).subscribe


async def test_a_person_has_the_rights_of_their_groups() -> None:
    found = await permissions()
    plain, developer = found.of(registered("u-dana")), found.of(registered("u-dana", groups=("developers",)))
    assert set(plain.publish) < set(developer.publish)


async def test_what_is_nobody_has_no_rights() -> None:
    assert (await permissions()).of(registered("x-odd")) == Rights((), ())
