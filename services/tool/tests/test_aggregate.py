"""Given a registration or none, when a tool is to be registered, then this is written."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.digests import digest_json
from dominie_contracts.egress import Network
from dominie_contracts.tool import Profile, RegisterTool, ToolRegistered, ToolSpec
from dominie_tool.aggregate import Registrant, State, binding_version, decide, evolve

OWNER = Registrant("w-ledger", may=True, developer=False)
DEVELOPER = Registrant("u-dev", may=True, developer=True)
SPEC = ToolSpec(name="refund", input_schema={"type": "object"})
NEXT = SPEC.model_copy(update={"version": "2"})
SPECS = st.builds(
    ToolSpec,
    name=st.just("refund"),
    version=st.sampled_from("12"),
    input_schema=st.just({"type": "object"}),
    effect=st.sampled_from(["read", "write", "external"]),
    timeout_s=st.sampled_from([1.0, 30.0]),
)


def state(spec: ToolSpec = SPEC, owner: str = "w-ledger") -> State:
    return evolve(State(), ToolRegistered(spec=spec, owner=owner))


def test_a_tool_is_registered() -> None:
    assert decide(State(), RegisterTool(spec=SPEC), OWNER) == [ToolRegistered(spec=SPEC, owner="w-ledger")]


def test_its_next_version_is_registered() -> None:
    assert decide(state(), RegisterTool(spec=NEXT), OWNER) == [ToolRegistered(spec=NEXT, owner="w-ledger")]


def test_who_was_not_granted_the_name_may_not() -> None:
    with pytest.raises(Forbidden, match="w-ledger may not register 'refund'"):
        decide(State(), RegisterTool(spec=SPEC), Registrant("w-ledger", may=False, developer=False))


def test_another_worker_cannot_take_a_tool() -> None:
    with pytest.raises(Forbidden, match="belongs to w-ledger"):
        decide(state(), RegisterTool(spec=NEXT), Registrant("w-other", may=True, developer=False))


def test_a_developer_can() -> None:
    assert decide(state(), RegisterTool(spec=NEXT), DEVELOPER) == [ToolRegistered(spec=NEXT, owner="u-dev")]


BOXED = SPEC.model_copy(update={"kind": "sandboxed", "source": "def f(): ...", "function": "f"})
MOST = Profile(
    memory_mb=512, processes=8, output_bytes=4096, network=Network(hosts=("api.example.org", "*.example.com"))
)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (Profile(), None),
        (Profile(memory_mb=512, processes=8), None),
        (Profile(memory_mb=513), "memory_mb"),
        (Profile(memory_mb=16, processes=9), "processes"),
        (Profile(output_bytes=4097), "output_bytes"),
        (Profile(scratch_mb=1), "scratch_mb"),
        (Profile(network=Network(hosts=("api.example.org", "*.a.example.com"))), None),
        (Profile(network=Network(hosts=("api.example.net",))), "network"),
        (Profile(network=Network(hosts=("*",))), "network"),
        (Profile(network=Network(hosts=("api.example.org",), ports=(443, 80))), "network"),
    ],
)
def test_a_profile_asks_for_no_more_than_its_owner_may(asked: Profile, part: str | None) -> None:
    command = RegisterTool(spec=BOXED.model_copy(update={"profile": asked}))
    by = replace(OWNER, most=MOST)
    if part is None:
        assert len(decide(State(), command, by)) == 1
        return
    with pytest.raises(Forbidden, match=f"asks for {part}") as raised:
        decide(State(), command, by)
    assert raised.value.extra["part"] == part


def test_where_one_back_end_is_open_no_other_is() -> None:
    command = RegisterTool(spec=BOXED.model_copy(update={"profile": Profile(backend="bubblewrap")}))
    assert len(decide(State(), command, replace(OWNER, most=MOST))) == 1
    with pytest.raises(Forbidden, match="asks for backend bubblewrap, and runsc is open") as raised:
        decide(State(), command, replace(OWNER, most=Profile(backend="runsc")))
    assert raised.value.extra == {"part": "backend", "limit": "runsc"}


def test_a_network_is_bubblewraps_alone() -> None:
    profile = Profile(network=Network(hosts=("api.example.org",)), backend="runsc")
    with pytest.raises(Invalid, match="bubblewrap alone"):
        decide(State(), RegisterTool(spec=BOXED.model_copy(update={"profile": profile})), replace(OWNER, most=MOST))


def test_a_tool_that_is_not_sandboxed_has_no_profile() -> None:
    with pytest.raises(Invalid, match="profile"):
        decide(State(), RegisterTool(spec=SPEC.model_copy(update={"profile": Profile()})), OWNER)


def test_a_yes_is_bound_to_the_profile_and_holds_without_one_as_before() -> None:
    less = BOXED.model_copy(update={"profile": Profile(memory_mb=64)})
    assert binding_version(less) != binding_version(BOXED)
    before = {name: value for name, value in BOXED.model_dump(mode="json").items() if name != "profile"}
    assert binding_version(BOXED) == f"1+{digest_json(before)[:12]}"


def test_a_yes_is_bound_to_the_back_end_and_holds_without_one_as_before() -> None:
    spec = BOXED.model_copy(update={"profile": Profile(memory_mb=64)})
    other = spec.model_copy(update={"profile": Profile(memory_mb=64, backend="runsc")})
    assert binding_version(other) != binding_version(spec)
    before = spec.model_dump(mode="json")
    del before["profile"]["backend"]
    assert binding_version(spec) == f"1+{digest_json(before)[:12]}"


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "local"},
        {"kind": "sandboxed"},
        {"kind": "sandboxed", "source": "def f(): ..."},
        {"kind": "worker", "source": "def f(): ...", "function": "f"},
    ],
)
def test_a_specification_that_contradicts_itself_is_invalid(changed: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        decide(State(), RegisterTool(spec=SPEC.model_copy(update=changed)), OWNER)


@given(SPECS)
def test_a_duplicate_changes_nothing(spec: ToolSpec) -> None:
    (event,) = decide(State(), RegisterTool(spec=spec), OWNER)
    registered = evolve(State(), event)
    assert decide(registered, RegisterTool(spec=spec), OWNER) == []
    assert evolve(registered, event) == registered


@given(SPECS, SPECS)
def test_a_yes_is_bound_to_everything_the_registration_says(one: ToolSpec, other: ToolSpec) -> None:
    assert (binding_version(one) == binding_version(other)) == (one == other)
