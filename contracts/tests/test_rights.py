"""Who may publish and subscribe what: literal for agents, narrow for services, and nothing beside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.registry import COMMANDS, EVENTS, MODULES, OWNER
from dominie_contracts.rights import (
    AUDITORS,
    CALLS,
    DEVELOPER_COMMANDS,
    DEVELOPERS,
    EVERYBODYS,
    FOLLOWS,
    PERSON_COMMANDS,
    PLAIN_COMMANDS,
    Rights,
    agent_rights,
    caller,
    edge_rights,
    inner_rights,
    operator_rights,
    person_rights,
    worker_rights,
)
from dominie_contracts.subjects import SERVICES
from dominie_contracts.token import Grants

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=4, unique=True)
GRANTS = st.builds(Grants, tools=NAMES.map(tuple), models=NAMES.map(tuple), namespaces=NAMES.map(tuple))
SERVICE_NAMES = st.sampled_from(SERVICES)


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject, or a pattern, lies within a pattern, by NATS's rules."""
    want, have = pattern.split("."), subject.split(".")
    for place, token in enumerate(want):
        if token == ">":
            return len(have) > place
        if place >= len(have) or have[place] == ">" or (token != "*" and token != have[place]):
            return False
    return len(want) == len(have)


def may_publish(rights: Rights, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in rights.publish)


def may_subscribe(rights: Rights, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in rights.subscribe)


def test_an_agents_rights_are_these_and_no_others() -> None:
    grants = Grants(tools=("refund", "pay.out"), models=("gpt-4.1",), namespaces=("user",))
    assert agent_rights("acme", "a-desk", grants) == Rights(
        publish=(
            "cmd.acme.a-desk.identity.token",
            "cmd.acme.a-desk.identity.exchange_run",
            "cmd.acme.a-desk.identity.widen",
            "cmd.acme.a-desk.model.list",
            "cmd.acme.a-desk.tool.list",
            "cmd.acme.a-desk.tool.begin",
            "cmd.acme.a-desk.tool.finish",
            "cmd.acme.a-desk.memory.add_turn",
            "cmd.acme.a-desk.memory.turns",
            "cmd.acme.a-desk.judge.review",
            "cmd.acme.a-desk.guardrail.limits",
            "cmd.acme.a-desk.tool.put",
            "cmd.acme.a-desk.tool.keep",
            "cmd.acme.a-desk.tool.fetch",
            "cmd.acme.a-desk.tool.invoke.refund",
            "cmd.acme.a-desk.tool.invoke.pay%2Eout",
            "cmd.acme.a-desk.model.chat.gpt-4%2E1",
            "cmd.acme.a-desk.memory.remember.user",
            "cmd.acme.a-desk.memory.recall.user",
        ),
        subscribe=("_INBOX.acme.a-desk.>", "out.acme.a-desk.*"),
    )


@given(GRANTS)
def test_an_agents_commands_have_no_wildcard(grants: Grants) -> None:
    rights = agent_rights("acme", "a-desk", grants)
    assert all(subject.startswith("cmd.acme.a-desk.") for subject in rights.publish)
    assert not {"*", ">"} & {token for subject in rights.publish for token in subject.split(".")}


@given(GRANTS)
def test_a_grant_names_one_subject_each(grants: Grants) -> None:
    granted = len(grants.tools) + len(grants.models) + 2 * len(grants.namespaces)
    rights = agent_rights("acme", "a-desk", grants)
    assert len(set(rights.publish)) == len(rights.publish) == len(PLAIN_COMMANDS) + granted


def test_a_persons_rights_come_from_their_groups() -> None:
    def commands(*groups: str) -> set[str]:
        rights = person_rights("acme", "u-dana", groups)
        return {subject.removeprefix("cmd.acme.u-dana.") for subject in rights.publish}

    assert (
        commands("finance")
        == set(PERSON_COMMANDS)
        == {
            *("guardrail.approve", "guardrail.approvals", "guardrail.limits", "scheduler.ceilings", "audit.trail"),
            *("identity.delegate", "identity.delegations", "identity.end_delegation", "identity.end_run"),
            *("tool.endorse", "tool.revoke_endorsement", "tool.labels"),
        }
    )
    assert commands(AUDITORS) - commands() == {
        *("audit.search", "audit.runs", "audit.verify"),
        *("audit.checkpoint", "audit.prove", "audit.export", "audit.artifact", "audit.artifacts"),
    }
    assert commands(DEVELOPERS) - commands() == set(DEVELOPER_COMMANDS) - commands()
    assert person_rights("acme", "u-dana", ()).subscribe == ("_INBOX.acme.u-dana.>",)


def test_a_workers_rights_are_its_own_tools() -> None:
    assert worker_rights("acme", "w-ledger", ["refund"]) == Rights(
        publish=(
            "cmd.acme.w-ledger.tool.register",
            "cmd.acme.w-ledger.tool.put",
            "cmd.acme.w-ledger.tool.keep",
            "cmd.acme.w-ledger.tool.fetch",
            "ret.acme.refund.>",
        ),
        subscribe=("_INBOX.acme.w-ledger.>", "call.acme.refund"),
    )


@pytest.mark.parametrize("service", SERVICES)
def test_an_edge_answers_and_nothing_else(service: str) -> None:
    assert edge_rights(service) == Rights(
        publish=("_INBOX.>", "out.>"),
        subscribe=(f"cmd.*.*.{service}.>", f"svc.{service}.>", f"_INBOX.svc.{service}.edge.>"),
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_writes_its_own_categories_alone(service: str) -> None:
    rights = inner_rights(service)
    writes = {category for category in OWNER if may_publish(rights, f"evt.0.acme.{category}.x")}
    assert writes == {category for category, owner in OWNER.items() if owner == service}
    assert may_publish(rights, "call.acme.refund") == (service == "tool")
    assert not may_publish(rights, "_INBOX.acme.a-desk.x")
    assert not may_publish(rights, "$JS.API.STREAM.DELETE.EVENTS_0")
    assert not may_publish(rights, "cmd.acme.a-desk.tool.invoke.refund")


@pytest.mark.parametrize("service", SERVICES)
def test_artifacts_are_for_those_who_move_them(service: str) -> None:
    rights, readers = inner_rights(service), ("tool", "audit")
    assert may_publish(rights, "art.acme.key.c.chunk") == (service == "tool")
    assert may_publish(rights, "$JS.API.STREAM.MSG.DELETE.ARTIFACTS") == (service == "audit")
    assert may_publish(rights, "$JS.API.DIRECT.GET.ARTIFACTS.art.acme.key.c.chunk") == (service in readers)
    assert may_publish(rights, "$JS.API.STREAM.MSG.GET.ARTIFACTS") == (service in readers)
    assert not may_publish(rights, "$JS.API.STREAM.PURGE.ARTIFACTS")
    assert not may_publish(rights, "$JS.API.CONSUMER.CREATE.ARTIFACTS.mine.art.>")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_what_it_follows_alone(service: str) -> None:
    rights = inner_rights(service)
    read = f"$JS.API.CONSUMER.CREATE.EVENTS_0.{service}-1"
    reads = {category for category in OWNER if may_publish(rights, f"{read}.evt.0.*.{category}.*")}
    owned = {category for category, owner in OWNER.items() if owner == service}
    assert reads == set(FOLLOWS.get(service, OWNER)) | owned
    assert may_publish(rights, f"{read}.evt.0.>") == (service not in FOLLOWS)
    assert may_publish(rights, "$JS.API.STREAM.INFO.EVENTS_0") == (service not in FOLLOWS)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_asks_only_those_it_needs(service: str) -> None:
    asked = {name for name in COMMANDS if may_publish(inner_rights(service), f"svc.{name}")}
    assert asked == {*CALLS.get(service, ()), *(EVERYBODYS if service != "identity" else ())}


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_listens_in(service: str) -> None:
    for rights in (edge_rights(service), inner_rights(service)):
        assert not may_subscribe(rights, "_INBOX.acme.a-desk.x")
        assert not may_subscribe(rights, ">")
        others = [other for other in SERVICES if other != service]
        assert not [other for other in others if may_subscribe(rights, f"cmd.acme.a-desk.{other}.x")]
        assert not [other for other in others if may_subscribe(rights, f"_INBOX.svc.{other}.inner.x")]


def test_only_the_operator_provisions() -> None:
    assert may_publish(operator_rights(), "$JS.API.STREAM.CREATE.EVENTS_0")
    assert not may_publish(operator_rights(), "evt.0.acme.tool.x")


def test_a_command_between_services_has_one_sender() -> None:
    assert caller("scheduler.permit") == "svc-model"
    assert caller("identity.exchange") == "svc-gateway"
    assert caller("guardrail.publish") == "operator"


def test_every_name_is_one_that_exists() -> None:
    named = {
        *PLAIN_COMMANDS,
        *PERSON_COMMANDS,
        *DEVELOPER_COMMANDS,
        *EVERYBODYS,
        *(name for names in CALLS.values() for name in names),
    }
    assert named <= set(COMMANDS)
    assert {category for follows in FOLLOWS.values() for category in follows} <= set(OWNER)
    assert set(CALLS) | set(FOLLOWS) <= set(SERVICES) == set(MODULES)
    assert {type_.split(".")[0] for type_ in EVENTS} == set(OWNER)
