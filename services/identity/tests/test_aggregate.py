"""Given a principal's events, when a command comes, then these events, or this refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.identity import Register, Registered, Resume, Resumed, Revoke, Revoked, Suspend, Suspended
from dominie_contracts.keys import IssueApiKey, KeyIssued, KeyRevoked, RevokeApiKey
from dominie_contracts.problems import Conflict, Forbidden, Invalid, Problem
from dominie_contracts.rights import OPERATOR
from dominie_contracts.runs import RunOpened, RunRenewed
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.token import Fork, Grants
from dominie_identity.aggregate import (
    Caller,
    NewKey,
    PrincipalCommand,
    PrincipalEvent,
    State,
    acts_for,
    decide,
    evolve,
)
from dominie_identity.runs.aggregate import Run, decide_fork, decide_run, evolve_run
from dominie_identity.runs.authority import Authority

OPERATING = Caller(PLATFORM, OPERATOR)
DANA = Caller("acme", "u-dana", ("developers",))
ERIN = Caller("acme", "u-erin", ("developers",))
NOBODY = Caller("acme", "u-frank", ("finance",))
KEY = NewKey("k1", "d1")


def registered(principal: str = "a-desk", **changed: object) -> Registered:
    found: dict[str, object] = {
        "tenant": "acme",
        "principal": principal,
        "nkey": "UKEY",
        "sponsor": "u-dana",
        "grants": Grants(tools=("refund",)),
        "users": ("u-dana",) if principal.startswith("a-") else (),
        "groups": (),
        "by": "u-dana",
    }
    return Registered.model_validate({**found, **changed})


def issued(**changed: object) -> KeyIssued:
    found = {"tenant": "acme", "principal": "a-desk", "id": "k1", "digest": "d1", "user": "u-dana", "by": "u-dana"}
    return KeyIssued.model_validate({**found, **changed})


REVOKED = Revoked(tenant="acme", principal="a-desk", by="u-dana", reason="")
SUSPENDED = Suspended(tenant="acme", principal="a-desk", by="u-dana", reason="a test")
RESUMED = Resumed(tenant="acme", principal="a-desk", by="u-dana")
SUSPEND = Suspend(principal="a-desk", reason="a test")
AGAIN = Register(principal="a-desk", nkey="UKEY", grants=Grants(tools=("refund",)), users=("u-dana",))


def state(*events: PrincipalEvent) -> State:
    found = State()
    for event in events:
        found = evolve(found, event)
    return found


@pytest.mark.parametrize(
    ("given", "command", "caller", "then"),
    [
        ([], AGAIN, DANA, [registered()]),
        ([], AGAIN.model_copy(update={"sponsor": "u-dana", "tenant": "acme"}), DANA, [registered()]),
        ([registered()], AGAIN, DANA, []),
        ([registered(by=OPERATOR)], AGAIN, DANA, []),
        ([registered()], AGAIN.model_copy(update={"nkey": "UNEW"}), DANA, [registered(nkey="UNEW")]),
        (
            [],
            Register(principal="w-ledger", nkey="UKEY", grants=Grants(tools=("refund",))),
            DANA,
            [registered("w-ledger")],
        ),
        (
            [],
            Register(principal="u-dana", nkey="UKEY", tenant="acme", groups=("developers",)),
            OPERATING,
            [registered("u-dana", groups=("developers",), grants=Grants(), sponsor=None, by=OPERATOR)],
        ),
        (
            [],
            AGAIN.model_copy(update={"tenant": "acme", "sponsor": "u-erin", "users": ("u-erin", "u-dana")}),
            OPERATING,
            [registered(sponsor="u-erin", users=("u-erin", "u-dana"), by=OPERATOR)],
        ),
        ([registered()], Revoke(principal="a-desk"), DANA, [REVOKED]),
        (
            [registered()],
            Revoke(principal="a-desk", tenant="acme"),
            OPERATING,
            [REVOKED.model_copy(update={"by": OPERATOR})],
        ),
        ([registered(), REVOKED], Revoke(principal="a-desk"), DANA, []),
        ([registered()], SUSPEND, DANA, [SUSPENDED]),
        ([registered(), SUSPENDED], SUSPEND, DANA, []),
        ([registered(), SUSPENDED, RESUMED], SUSPEND, DANA, [SUSPENDED]),
        ([registered(), REVOKED], SUSPEND, DANA, []),
        ([registered(), SUSPENDED], Revoke(principal="a-desk"), DANA, [REVOKED]),
        ([registered(), SUSPENDED], Resume(principal="a-desk"), DANA, [RESUMED]),
        ([registered()], Resume(principal="a-desk"), DANA, []),
        (
            [registered(), SUSPENDED],
            Resume(principal="a-desk", tenant="acme"),
            OPERATING,
            [RESUMED.model_copy(update={"by": OPERATOR})],
        ),
        ([registered(), SUSPENDED], AGAIN.model_copy(update={"tenant": "acme", "sponsor": "u-dana"}), OPERATING, []),
        ([registered()], IssueApiKey(principal="a-desk", user="u-dana"), DANA, [issued()]),
        ([registered()], IssueApiKey(principal="a-desk", user="u-a-desk"), DANA, [issued(user="u-a-desk")]),
        (
            [registered(), issued()],
            RevokeApiKey(principal="a-desk", id="k1"),
            DANA,
            [KeyRevoked(tenant="acme", principal="a-desk", id="k1", by="u-dana")],
        ),
        ([registered(), issued()], RevokeApiKey(principal="a-desk", id="other"), DANA, []),
    ],
)
def test_what_is_written(
    given: list[PrincipalEvent], command: PrincipalCommand, caller: Caller, then: list[PrincipalEvent]
) -> None:
    assert decide(state(*given), command, caller, new_key=KEY) == then


@pytest.mark.parametrize(
    ("given", "command", "caller", "refused"),
    [
        ([], AGAIN, NOBODY, Forbidden),
        ([], AGAIN, Caller("acme", "a-desk", ()), Forbidden),
        ([], AGAIN, OPERATING, Invalid),
        ([], AGAIN.model_copy(update={"tenant": "svc"}), OPERATING, Invalid),
        ([], AGAIN.model_copy(update={"tenant": "Acme!"}), OPERATING, Invalid),
        ([], AGAIN.model_copy(update={"tenant": "other"}), DANA, Forbidden),
        ([], AGAIN.model_copy(update={"principal": "desk"}), DANA, Invalid),
        ([], AGAIN.model_copy(update={"sponsor": "u-erin"}), DANA, Forbidden),
        ([], AGAIN.model_copy(update={"users": ("u-erin",)}), DANA, Forbidden),
        ([], AGAIN.model_copy(update={"users": ("a-other",)}), OPERATING, Invalid),
        ([], AGAIN.model_copy(update={"groups": ("developers",)}), DANA, Invalid),
        ([], AGAIN.model_copy(update={"grants": Grants(tools=("svc",))}), DANA, Invalid),
        ([], AGAIN.model_copy(update={"grants": Grants(models=("",))}), DANA, Invalid),
        ([], AGAIN.model_copy(update={"grants": Grants(models=("m" * 201,))}), DANA, Invalid),
        ([], AGAIN.model_copy(update={"grants": Grants(tools=tuple(map(str, range(1001))))}), DANA, Invalid),
        ([], Register(principal="u-gus", nkey="UKEY"), DANA, Forbidden),
        ([], Register(principal="u-dana", nkey="UKEY", groups=("owners",)), DANA, Forbidden),
        ([], Register(principal="u-a-desk", nkey="UKEY", tenant="acme"), OPERATING, Invalid),
        ([], Register(principal="w-ledger", nkey="UKEY", users=("u-dana",)), DANA, Invalid),
        ([registered()], AGAIN, ERIN, Forbidden),
        ([registered(sponsor=None, by=OPERATOR)], AGAIN, DANA, Forbidden),
        ([registered(), REVOKED], AGAIN, DANA, Conflict),
        ([registered(), REVOKED], AGAIN.model_copy(update={"tenant": "acme"}), OPERATING, Conflict),
        ([registered()], Revoke(principal="a-desk"), ERIN, Forbidden),
        ([registered()], Revoke(principal="a-desk"), NOBODY, Forbidden),
        ([], Revoke(principal="a-desk"), DANA, Invalid),
        ([], SUSPEND, DANA, Invalid),
        ([registered()], SUSPEND, ERIN, Forbidden),
        ([registered()], SUSPEND, NOBODY, Forbidden),
        ([registered()], SUSPEND.model_copy(update={"tenant": "other"}), DANA, Forbidden),
        ([registered()], SUSPEND, OPERATING, Invalid),
        ([registered(), SUSPENDED], Resume(principal="a-desk"), ERIN, Forbidden),
        ([registered(), SUSPENDED], Resume(principal="a-desk"), Caller("acme", "a-desk", ()), Forbidden),
        ([registered(), SUSPENDED], AGAIN, DANA, Conflict),
        ([registered(), SUSPENDED], AGAIN.model_copy(update={"nkey": "UNEW"}), DANA, Conflict),
        ([registered()], IssueApiKey(principal="a-desk", user="u-erin"), DANA, Forbidden),
        ([registered()], IssueApiKey(principal="a-desk", user="u-dana"), ERIN, Forbidden),
        ([registered(), REVOKED], IssueApiKey(principal="a-desk", user="u-dana"), DANA, Conflict),
        ([registered(), issued()], IssueApiKey(principal="a-desk", user="u-dana"), DANA, Conflict),
        ([registered("w-ledger")], IssueApiKey(principal="w-ledger", user="u-dana"), DANA, Invalid),
        ([registered(), issued()], RevokeApiKey(principal="a-desk", id="k1"), ERIN, Forbidden),
    ],
)
def test_what_is_refused(
    given: list[PrincipalEvent], command: PrincipalCommand, caller: Caller, refused: type[Problem]
) -> None:
    with pytest.raises(refused):
        decide(state(*given), command, caller, new_key=KEY)


def test_locally_a_developer_names_anybody_as_user() -> None:
    command = AGAIN.model_copy(update={"users": ("u-anybody",)})
    assert decide(State(), command, DANA, local=True) == [registered(users=("u-anybody",))]


def test_a_revoked_key_stands_for_nothing() -> None:
    gone = KeyRevoked(tenant="acme", principal="a-desk", id="k1", by="u-dana")
    assert state(registered(), issued(), gone).keys == ()
    assert state(registered(), issued(), REVOKED).keys == ()


@pytest.mark.parametrize(("user", "yes"), [("u-dana", True), ("u-a-desk", True), ("u-desk", False), ("u-erin", False)])
def test_an_agent_acts_for_those_who_let_it(user: str, yes: bool) -> None:
    assert acts_for(registered(), user, local=False) is yes
    assert acts_for(registered(), user, local=True)


@pytest.mark.parametrize(
    ("grants", "narrow"),
    [
        (Grants(tools=("a", "b")), None),
        (Grants(tools=("a", "b")), Grants(tools=("a",))),
        (Grants(tools=("*",)), Grants(tools=("a",))),
        (Grants(tools=("*",)), Grants(tools=("*",))),
    ],
)
def test_a_token_has_the_agents_grants_or_less(grants: Grants, narrow: Grants | None) -> None:
    assert Authority(grants).narrowed(narrow, None, "r").grants == (narrow or grants)


@pytest.mark.parametrize("more", [Grants(tools=("b",)), Grants(tools=("*",)), Grants(models=("m",))])
def test_a_token_never_has_more(more: Grants) -> None:
    with pytest.raises(Forbidden):
        Authority(Grants(tools=("a",), namespaces=("*",))).narrowed(more, None, "r")


OPENED = RunOpened(
    run="r", agent="a-desk", user="u-dana", session=None, request_digest=None, grants=Grants(), expires_s=9
)


def test_a_run_is_opened_once_and_then_renewed() -> None:
    assert decide_run(Run(), OPENED, now_s=0) == [OPENED]
    run = evolve_run(Run(), OPENED)
    (renewed,) = decide_run(run, OPENED.model_copy(update={"expires_s": 12}), now_s=9)
    assert renewed == RunRenewed(run="r", agent="a-desk", user="u-dana", expires_s=12)
    assert evolve_run(run, renewed) == Run(OPENED, version=2)


@pytest.mark.parametrize("other", [{"agent": "a-other"}, {"user": "u-erin"}])
def test_a_run_belongs_to_one_agent_and_one_user(other: dict[str, str]) -> None:
    with pytest.raises(Conflict):
        decide_run(Run(OPENED, version=1), OPENED.model_copy(update=other), now_s=0)


def forked(caller: Caller, policies: str | None, *, local: bool = False) -> RunOpened:
    (agent,) = decide(State(), AGAIN, DANA)
    assert isinstance(agent, Registered)
    fork = Fork(run="r", at=1, policies=policies)
    return decide_fork(Run(OPENED, version=1), fork, agent, caller, run="f", expires_s=100, local=local)


def test_who_forks_under_proposed_policies_may_propose_them() -> None:
    with pytest.raises(Forbidden, match="'operators'"):
        forked(DANA, "p")
    both = Caller("acme", "u-dana", ("developers", "operators"))
    found = [forked(both, "p"), forked(DANA, "p", local=True), forked(DANA, None)]
    assert [opened.fork and opened.fork.policies for opened in found] == ["p", "p", None]
    with pytest.raises(Forbidden, match="'developers'"):
        forked(Caller("acme", "u-dana", ("operators",)), "p")


def test_a_forked_run_gets_no_token_once_its_time_is_over() -> None:
    opened = forked(DANA, None)
    run = evolve_run(Run(), opened)
    for _ in range(3):
        (renewed,) = decide_run(run, opened.model_copy(update={"expires_s": 399}), now_s=99)
        run = evolve_run(run, renewed)
    with pytest.raises(Forbidden, match="was forked, and its time is over"):
        decide_run(run, opened, now_s=100)


COMMANDS = st.sampled_from(
    [
        AGAIN,
        AGAIN.model_copy(update={"nkey": "UNEW"}),
        Revoke(principal="a-desk"),
        SUSPEND,
        Resume(principal="a-desk"),
        IssueApiKey(principal="a-desk", user="u-dana"),
        RevokeApiKey(principal="a-desk", id="k1"),
    ]
)


@given(st.lists(COMMANDS, max_size=8))
def test_the_same_registration_or_revocation_again_changes_nothing(commands: list[PrincipalCommand]) -> None:
    found = State()
    for command in commands:
        try:
            events = decide(found, command, DANA, new_key=KEY)
        except Problem:
            continue
        for event in events:
            found = evolve(found, event)
        if not isinstance(command, IssueApiKey):
            assert decide(found, command, DANA, new_key=KEY) == []
    assert found.keys == () or not found.revoked


T0 = 1000


def keyed(*nkeys: tuple[str, str | None, int]) -> State:
    """One who is registered every hundred seconds, with a key, the one before and until when that is taken."""
    state = State()
    for number, (nkey, previous, until_s) in enumerate(nkeys):
        event = registered().model_copy(update={"nkey": nkey, "previous": previous, "previous_until_s": T0 + until_s})
        state = evolve(state, event, at_s=T0 + 100.0 * number)
    return state


@pytest.mark.parametrize(
    ("nkeys", "since_s", "now_s", "keeps"),
    [
        ([("A", None, 0)], -1, 50, True),
        ([("A", None, 0), ("B", "A", 100)], 99, 100, False),
        ([("A", None, 0), ("B", "A", 300)], 99, 299, True),
        ([("A", None, 0), ("B", "A", 300)], 99, 300, False),
        ([("A", None, 0), ("B", "A", 300)], 100, 300, True),
        ([("A", None, 0), ("B", None, 0)], 99, 101, False),
        ([("A", None, 0), ("B", "A", 900), ("C", "B", 900)], 99, 250, False),
        ([("A", None, 0), ("B", "A", 900)], 150, 899, True),
        ([("A", None, 0), ("B", "A", 900), ("C", "B", 900)], 150, 250, False),
        ([("A", None, 0), ("B", "A", 150), ("C", "B", 900)], 120, 250, True),
        ([("A", None, 0), ("B", "A", 900), ("C", "B", 900)], 200, 250, True),
        ([("A", None, 0), ("B", "A", 900), ("A", "B", 900)], 50, 1000, True),
        ([("A", None, 0), ("B", "A", 900), ("A", "B", 300)], 150, 299, True),
        ([("A", None, 0), ("B", "A", 900), ("A", "B", 300)], 150, 300, False),
        ([("A", None, 0), ("A", None, 0)], 50, 1000, True),
    ],
    ids=[
        "first",
        "at once",
        "overlap",
        "over",
        "since then",
        "registered",
        "two before",
        "overlap, made in it",
        "two before, in its overlap",
        "two before, over by then",
        "one before",
        "back",
        "back, in the overlap",
        "back, and over",
        "again",
    ],
)
def test_a_connection_goes_on_while_a_key_of_its_time_is_taken(
    nkeys: list[tuple[str, str | None, int]], since_s: float, now_s: float, keeps: bool
) -> None:
    assert keyed(*nkeys).keeps(T0 + since_s, now_s=T0 + now_s) is keeps
