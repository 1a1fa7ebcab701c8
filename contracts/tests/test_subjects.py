"""The subjects of the bus: built and parsed in one place, and nothing else gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import CommandSubject, Invalid, StreamName
from dominie_contracts.subjects import (
    PLATFORM,
    SERVICES,
    broker_urls,
    call_subject,
    check_principal,
    check_tenant,
    event_filter,
    event_subject,
    heartbeat_subject,
    inbox_prefix,
    out_subject,
    return_subject,
    service_inbox_prefix,
    service_subject,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
TENANTS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True).filter(lambda tenant: tenant != PLATFORM)
PRINCIPALS = st.from_regex(r"[auw]-[A-Za-z0-9][A-Za-z0-9_.@-]{0,20}", fullmatch=True)
WORDS = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
COMMANDS = st.builds(CommandSubject, TENANTS, PRINCIPALS, WORDS, WORDS, st.none() | TEXTS)
STREAMS = st.builds(StreamName, TENANTS | st.just(PLATFORM), WORDS, TEXTS)


@given(COMMANDS)
def test_a_commands_subject_reads_back(subject: CommandSubject) -> None:
    assert CommandSubject.parse(str(subject)) == subject
    assert len(str(subject).split(".")) == 5 + (subject.resource is not None)


@given(st.text(alphabet="cmd.aow-%2E*> ", max_size=40))
def test_what_is_parsed_is_what_is_written(text: str) -> None:
    try:
        subject = CommandSubject.parse(text)
    except Invalid:
        return
    assert str(subject) == text


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "cmd.acme.a-desk.tool",
        "cmd.acme.a-desk.tool.invoke.refund.more",
        "evt.acme.a-desk.tool.invoke",
        "cmd.acme.desk.tool.invoke",
        "cmd.Acme.a-desk.tool.invoke",
        "cmd.svc.a-desk.tool.invoke",
        "cmd.acme.a-desk.tool.invoke.*",
        "cmd.acme.a-desk.tool.>",
        "cmd.acme.*.tool.invoke",
        "cmd.acme.a-desk.tool.invoke.gpt-4%2e1",
        "cmd.acme.a-desk.Tool.invoke",
        "cmd.acme.a-desk.tool.invoke.",
    ],
)
def test_what_is_no_commands_subject(subject: str) -> None:
    with pytest.raises(Invalid):
        CommandSubject.parse(subject)


@given(STREAMS)
def test_a_streams_name_reads_back(stream: StreamName) -> None:
    assert StreamName.parse(str(stream)) == stream
    assert event_subject(3, str(stream)).split(".", 2) == ["evt", "3", str(stream)]


@pytest.mark.parametrize("name", ["", "acme.tool", "0.acme.tool.1", "acme.tool.*", "acme.tool.1.2", "A.tool.1"])
def test_what_is_no_streams_name(name: str) -> None:
    with pytest.raises(Invalid):
        str(StreamName.parse(name))


@pytest.mark.parametrize("tenant", ["", "svc", "Acme", "a.b", "-a", "a" * 64, "acme\n", "*"])
def test_what_cannot_be_a_tenant(tenant: str) -> None:
    with pytest.raises(Invalid):
        check_tenant(tenant)


@pytest.mark.parametrize("principal", ["", "desk", "a-", "x-desk", "a-.b", "svc-tool", "a-*", "a-d\n", "a-" + "x" * 64])
def test_what_is_no_principal(principal: str) -> None:
    with pytest.raises(Invalid):
        check_principal(principal)


def test_the_subjects_are_those_of_the_table() -> None:
    assert service_subject("tool", "invoke") == "svc.tool.invoke"
    assert heartbeat_subject("tool") == "hb.tool"
    assert call_subject("acme", "pay.out") == "call.acme.pay%2Eout"
    assert return_subject("acme", "refund", "tool-1", "c1") == "ret.acme.refund.tool-1.c1"
    assert out_subject("acme", "a-desk", "r.1") == "out.acme.a-desk.r%2E1"
    assert inbox_prefix("acme", "u-d.e@f") == "_INBOX.acme.u-d%2Ee%40f"
    assert service_inbox_prefix("tool") == "_INBOX.svc.tool"
    assert (event_filter(), event_filter("tool")) == ("evt.>", "evt.*.*.tool.*")


@pytest.mark.parametrize("word", ["", "Tool", "to.ol", "*", ">", "tool "])
def test_a_service_is_one_word(word: str) -> None:
    for build in (heartbeat_subject, service_inbox_prefix, lambda word: service_subject("tool", word), event_filter):
        if word or build is not event_filter:
            with pytest.raises(Invalid):
                build(word)


def test_every_service_has_a_name_that_fits() -> None:
    assert [heartbeat_subject(service) for service in SERVICES] == [f"hb.{service}" for service in SERVICES]


@pytest.mark.parametrize("text", ["nats://a:1,nats://b:2", " nats://a:1 , nats://b:2,"])
def test_a_cluster_has_several_addresses(text: str) -> None:
    assert broker_urls(text) == ["nats://a:1", "nats://b:2"]
