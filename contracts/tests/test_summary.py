"""What an auditor reads."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts import Grants, Payload, ProblemDetails
from dominie_contracts.action import (
    Approved,
    Ask,
    Decided,
    Finished,
    Limit,
    Mistaken,
    Noted,
    Parked,
    Requested,
    Started,
    Unknown,
)
from dominie_contracts.catalog import ToolDeprecated
from dominie_contracts.egress import Reach, Reached, Unreached
from dominie_contracts.endorsing import Endorsed, EndorsementRevoked
from dominie_contracts.guardrail import (
    AnswersRefused,
    ApprovalAnswered,
    PoliciesProposed,
    PoliciesPublished,
    PolicyDiff,
    PolicyFile,
    SharesReserved,
    SharesSettled,
)
from dominie_contracts.identity import Erased, RefusalCount, Refused, Registered, Resumed, Revoked, Suspended
from dominie_contracts.judge import Judged, Vote
from dominie_contracts.keys import KeyEntry, KeyIssued, KeyRevoked, KeysChanged, Replacement
from dominie_contracts.memory import Remembered, TurnAdded
from dominie_contracts.model import ModelsOffered, Offer
from dominie_contracts.provenance import Label
from dominie_contracts.registry import EVENTS
from dominie_contracts.runs import (
    Delegated,
    DelegationEnded,
    RunEnded,
    RunGranted,
    RunOpened,
    RunRenewed,
    RunWidened,
)
from dominie_contracts.scheduler import PermitGranted, PermitReleased
from dominie_contracts.secrets import SecretKept, SecretRemoved
from dominie_contracts.servers import (
    Listing,
    Served,
    Server,
    ServerAccepted,
    ServerAsked,
    ServerChanged,
    ServerRemoved,
    Words,
)
from dominie_contracts.summary import MAX_CHARS, clip, duration, money, signature, summarise
from dominie_contracts.token import Fork
from dominie_contracts.tool import PlanTaken, ToolRegistered, ToolRemoved, ToolSpec

AT = datetime(2026, 7, 2, 9, 30, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
LIMIT = Limit(policy="spend", counts="amount", most=1, per="user", within="day", why="")
FINANCE = Ask(policy="large-refund", group="finance", why="refunds over $50 need a person")
HELD = ProblemDetails(
    type="urn:dominie:problem:held", title="Answer held back", status=403, detail="it promises too much"
)
GRANTS = Grants(tools=("refund",), models=("auto",))
REFUND = ToolSpec(name="refund", input_schema={})

SAMPLES: list[tuple[str, Payload, str]] = [
    (
        "tool",
        Requested(
            command="tool.invoke",
            resource="refund",
            key="k",
            arguments={"order": "A1", "amount_cents": 9000},
            digest="d",
            deadline_ms=1,
        ),
        'refund(order="A1", amount_cents=9000) asked',
    ),
    ("tool", Decided(decision="allow", policies=("small-refund",), request={}), "allowed by small-refund"),
    ("tool", Decided(decision="allow", policies=("spend",), limits=(LIMIT,), request={}), "allowed within spend"),
    (
        "tool",
        Decided(decision="ask", policies=("large-refund",), asks=(FINANCE,), request={}),
        "ask: finance — refunds over $50 need a person [large-refund]",
    ),
    (
        "tool",
        Decided(decision="deny", policies=(), why=("no policy permits it",), request={}),
        "denied: no policy permits it",
    ),
    (
        "tool",
        Parked(asks=(FINANCE,), digest="d", command="tool.invoke", arguments={}, expires_ms=AT_MS),
        "waits for finance until 2026-07-02 09:30 UTC",
    ),
    ("tool", Mistaken(digest="e"), "its key came with another request, which was refused"),
    ("tool", Approved(approvals=("x",), by=("u-finance",)), "approved by u-finance"),
    (
        "tool",
        Started(owner="tool-1a2b", lease_ms=AT_MS + 10_000, attempt=1, enforcement="worker"),
        "started on tool-1a2b (worker, lease 10 s)",
    ),
    (
        "tool",
        Started(owner="tool-1a2b", lease_ms=AT_MS + 5_000, attempt=2, renewed=True),
        "still under way on tool-1a2b (service, lease 5 s)",
    ),
    (
        "model",
        Finished(outcome="ok", duration_ms=12.34, cost_usd=0.0004, input_tokens=20, output_tokens=5),
        "finished in 12.3 ms, 20 + 5 tokens, $0.0004",
    ),
    ("judge", Finished(outcome="error", problem=HELD, duration_ms=3), "refused: it promises too much"),
    ("tool", Finished(outcome="ok", duration_ms=3, served_from=4098), "ok (from the record, 4098)"),
    (
        "tool",
        Finished(outcome="error", problem=HELD, duration_ms=3, served_from=4098),
        "refused: it promises too much (from the record, 4098)",
    ),
    ("tool", Unknown(why="tool-1a2b ended"), "unknown whether it happened: tool-1a2b ended"),
    ("tool_parked", Noted(what="parked"), "noted: it waits for a person"),
    ("tool_amounts", Noted(what="amounts"), "noted: it moves an amount"),
    (
        "run",
        RunOpened(
            run="r", agent="a-desk", user="u-dana", session="t-17", request_digest=None, grants=GRANTS, expires_s=1
        ),
        "run opened: a-desk for u-dana, session t-17",
    ),
    (
        "run",
        RunOpened(
            run="r2",
            agent="a-desk",
            user="u-dana",
            session=None,
            request_digest=None,
            grants=GRANTS,
            expires_s=1,
            fork=Fork(run="r", at=512),
        ),
        "run opened: a-desk for u-dana, forked from r",
    ),
    (
        "run",
        RunOpened(
            run="r",
            agent="a-desk",
            user="u-dana",
            session=None,
            request_digest=None,
            grants=GRANTS,
            expires_s=1,
            plan={"steps": [{"tool": "find"}, {"tool": "refund", "most": 2}], "ordered": True},
        ),
        "run opened: a-desk for u-dana, to find, refund 2x in this order",
    ),
    ("run", RunRenewed(run="r", agent="a-desk", user="u-dana", expires_s=1), "run token renewed: a-desk for u-dana"),
    (
        "principal",
        KeysChanged(keys=(KeyEntry(use="signer", name="identity", nkey="U", kid="k", from_s=0),), by="operator"),
        "keys rotated by operator: signer identity",
    ),
    (
        "principal",
        Registered(
            tenant="acme",
            principal="a-desk",
            nkey="U2" * 20,
            sponsor="u-dev",
            grants=Grants(),
            users=(),
            groups=(),
            by="u-dev",
            previous="U1" * 20,
            previous_until_s=1_800_000_000,
        ),
        "a-desk registered by u-dev, sponsor u-dev, key U2U2U2U2…; U1U1U1U1… is taken until 2027-01-15 08:00:00 UTC",
    ),
    (
        "principal",
        KeysChanged(
            keys=(
                KeyEntry(use="operator", name="operator", nkey="U1" * 20, kid="k", from_s=0, until_s=1_800_000_000),
                KeyEntry(use="operator", name="operator", nkey="U2" * 20, kid="l", from_s=1),
            ),
            by="operator",
            replaced=(
                Replacement(use="operator", name="operator", nkey="U2" * 20, previous="U1" * 20),
                Replacement(use="warden", name="identity", nkey="U4" * 20, previous="U3" * 20),
            ),
        ),
        "keys replaced by operator: operator operator U2U2U2U2… for U1U1U1U1… (taken until 2027-01-15 08:00:00 UTC), "
        "warden identity U4U4U4U4… for U3U3U3U3…",
    ),
    (
        "principal",
        KeysChanged(
            keys=(),
            by="operator",
            replaced=tuple(
                Replacement(use="service", name=f"{name}/{kind}", nkey="U2", previous="U1")
                for name in ("tool", "model", "judge")
                for kind in ("edge", "inner")
            ),
        ),
        "6 keys replaced by operator: service tool, service model, service judge",
    ),
    (
        "run",
        RunGranted(run="r", agent="a-desk", user="u-dana", jti="j", grants=GRANTS, ceilings=(), until_s=1_800_000_000),
        "u-dana lets a-desk act in this run until 2027-01-15 08:00:00 UTC",
    ),
    (
        "principal",
        Delegated(
            tenant="acme", principal="u-dana", agent="a-desk", grants=GRANTS, expires_s=10**30, max_cost_usd=None
        ),
        f"u-dana lets a-desk act for them until {10**30}; tools refund; models auto",
    ),
    (
        "run",
        RunWidened(
            run="r", agent="a", user="u-d", action="x", grants=Grants(tools=("mail",)), max_cost_usd=9, by=("u-d",)
        ),
        "run widened, as u-d allowed; tools mail; may spend $9.00",
    ),
    ("plan", PlanTaken(action="x", step=1), "step 2 of the run's plan taken"),
    (
        "tool",
        Reached(
            hosts=(
                Reach(
                    host="api.example.org",
                    port=443,
                    address="93.184.216.34",
                    connections=2,
                    sent_bytes=120,
                    received_bytes=3100,
                ),
            ),
            refused=(
                Unreached(host="169.254.169.254", port=80, why="link-local", count=3),
                Unreached(host="", port=0, why="no-request", count=1),
            ),
            more=7,
        ),
        "reached api.example.org:443 (120 B out, 3.1 kB in); "
        "refused: 169.254.169.254:80 link-local 3x, no host no-request, 7 more",
    ),
    (
        "endorsement",
        Endorsed(
            id="e1",
            source="tool:a1",
            pointer="/iban",
            value="GB33",
            digest="d",
            whole=True,
            was="untrusted",
            label=Label(integrity="record", sources=("tool:a1",)),
            scope="run",
            by="u-finance",
            run="r-1",
            user="u-dana",
            note="their letter",
            key="k",
        ),
        'u-finance endorsed "GB33" at /iban of tool:a1: untrusted -> record, for this run: their letter',
    ),
    (
        "endorsement",
        EndorsementRevoked(id="e1", by="u-dana", run="r-1", note="$erased"),
        "u-dana revoked the endorsement e1: erased",
    ),
    (
        "tool",
        Decided(
            decision="allow",
            policies=(),
            request={},
            labels={"to": Label(integrity="record", sources=("endorsement:e1",)), "cents": Label(integrity="agent")},
        ),
        "allowed; endorsed: to (e1)",
    ),
    (
        "secret",
        SecretKept(name="API_KEY", hosts=("api.example.org",), tools=("fetch",), sealed="x", by="u-dana"),
        "secret API_KEY kept by u-dana, for api.example.org, for fetch too",
    ),
    ("secret", SecretRemoved(name="API_KEY", by="u-dana"), "secret API_KEY removed by u-dana"),
    (
        "tool",
        Reached(refused=(Unreached(host="$erased", port=443, why="private", count=1),)),
        "refused: erased:443 private",
    ),
    ("principal", DelegationEnded(tenant="acme", principal="u-dana", agent="a-desk"), "a-desk acts for u-dana no more"),
    (
        "principal",
        RunEnded(tenant="acme", principal="a-desk", run="r", by="u-dana", reason="lost"),
        "run r ended by u-dana: lost",
    ),
    (
        "principal",
        Registered(
            tenant="acme", principal="a-desk", nkey="U", sponsor="u-dev", grants=GRANTS, users=(), groups=(), by="u-dev"
        ),
        "a-desk registered by u-dev, sponsor u-dev; tools refund; models auto",
    ),
    (
        "principal",
        Revoked(tenant="acme", principal="a-desk", by="u-dev", reason="lost"),
        "a-desk revoked by u-dev: lost",
    ),
    (
        "principal",
        Suspended(tenant="acme", principal="a-desk", by="warden", reason="it flooded"),
        "a-desk suspended by warden: it flooded",
    ),
    (
        "identity",
        Refused(
            tenant="acme",
            principal="a-desk",
            counts=(RefusalCount(what="publish evt", count=12000), RefusalCount(what="tool: forbidden", count=1)),
            from_ms=1_000,
            to_ms=11_000,
        ),
        "refused to a-desk in 10.0 s: publish evt 12,000x, tool: forbidden 1x",
    ),
    ("principal", Resumed(tenant="acme", principal="a-desk", by="u-dev"), "a-desk resumed by u-dev"),
    (
        "principal",
        Erased(tenant="acme", principal="u-dana", keys=("k1",), by="u-eve"),
        "u-dana erased by u-eve: 1 keys destroyed",
    ),
    (
        "principal",
        KeyIssued(tenant="acme", principal="a-desk", id="k1", digest="d", user="u-dana", by="u-dev"),
        "API key k1 of a-desk for u-dana issued by u-dev",
    ),
    (
        "principal",
        KeyRevoked(tenant="acme", principal="a-desk", id="k1", by="u-dev"),
        "API key k1 of a-desk revoked by u-dev",
    ),
    (
        "policy",
        PoliciesPublished(digest="0123456789", files=(PolicyFile(name="refunds.cedar", text=""),), by="operator"),
        "policies in force: refunds.cedar (01234567), by operator",
    ),
    (
        "policy",
        PoliciesPublished(
            digest="0123456789",
            files=(PolicyFile(name="a.cedar", text=""),),
            by="operator",
            author="dana",
            diff=PolicyDiff(added=("a", "b"), removed=("c",)),
        ),
        "policies in force: a.cedar (01234567), by operator, written by dana; new a, b; gone c",
    ),
    (
        "tool",
        Decided(decision="deny", policies=("frozen",), why=("it is frozen",), request={}, observed=True),
        "NOT ENFORCED, only observed: denied: it is frozen [frozen]",
    ),
    (
        "policy",
        PoliciesProposed(digest="0123456789", files=(PolicyFile(name="refunds.cedar", text=""),), by="u-dev"),
        "policies proposed: refunds.cedar (01234567), by u-dev",
    ),
    (
        "approval",
        ApprovalAnswered(
            action="x", category="tool", digest="d", decision="grant", by="u-fin", groups=(), expires_ms=1, note="fine"
        ),
        "granted by u-fin: fine",
    ),
    ("limit", SharesReserved(bookings=()), "shares of limits reserved for 0 actions"),
    ("limit", SharesSettled(kept=("x",), released=()), "shares of limits settled: 1 used, 0 free again"),
    (
        "approval",
        AnswersRefused(by="u-gil", problems={"forbidden": 3, "invalid": 1}, actions=("x",)),
        "answers of u-gil refused: 3 forbidden, 1 invalid",
    ),
    (
        "permit",
        PermitGranted(permit="x", model="auto", agent="a-desk", priority="standard", waited_ms=4, lease_until_ms=1),
        "slot of auto granted after 4.0 ms (standard)",
    ),
    (
        "permit",
        PermitReleased(permit="x", model="auto", input_tokens=1, output_tokens=1, cost_usd=None),
        "slot of auto given back",
    ),
    (
        "offer",
        ModelsOffered(models=(Offer(name="auto", provider="openai/x", slots=4),)),
        "models offered: auto (4 slots)",
    ),
    (
        "catalog",
        ToolRegistered(spec=REFUND, owner="w-ledger"),
        "tool refund 1 (worker, external) registered by w-ledger",
    ),
    (
        "catalog",
        ToolDeprecated(name="refund", version="1", why="use pay_back", until_s=None, by="u-dana"),
        "'refund' version 1 is deprecated: use pay_back",
    ),
    ("catalog", ToolRemoved(name="mcp.time.now", by="u-dana"), "tool mcp.time.now removed by u-dana"),
    (
        "catalog",
        ServerAccepted(
            server=Server(name="time", command=("/usr/bin/time-server",)),
            listing=Listing(tools=(Served(name="now", input_schema={}), Served(name="zones", input_schema={}))),
            words=Words(),
            by="u-dana",
        ),
        "MCP server time (now, zones) accepted by u-dana",
    ),
    (
        "catalog",
        ServerChanged(name="time", accepted="a", digest="b", differs=("now description",)),
        "MCP server time is not what was accepted: now description; refused until reviewed",
    ),
    ("catalog", ServerRemoved(name="time", by="u-dana"), "MCP server time removed by u-dana"),
    (
        "catalog",
        ServerAsked(name="time", action="x", refused={"roots/list": 2}),
        "MCP server time asked for roots/list, and was refused",
    ),
    (
        "memory",
        Remembered(id="m", namespace="user", subject="u-dana", text="prefers\ne-mail"),
        'remembered in user of u-dana: "prefers e-mail"',
    ),
    (
        "memory",
        TurnAdded(id="m", session="t-17", subject="u-dana", role="user", text="hello"),
        'turn of t-17 kept, user: "hello"',
    ),
    (
        "judge",
        Judged(
            verdict="held",
            votes=(Vote(judge="rules", vote="reject", why="no such refund"), Vote(judge="m", vote="abstain")),
            quorum=1,
            output_digest="d",
        ),
        "held: 1 reject, 1 abstain (quorum 1) — rules: no such refund",
    ),
]


@pytest.mark.parametrize(("category", "payload", "words"), SAMPLES, ids=lambda v: type(v).__name__)
def test_an_event_in_a_few_words(category: str, payload: Payload, words: str) -> None:
    assert summarise(f"{category}.{payload.KIND}", payload.model_dump(mode="json"), at=AT) == words


def test_every_type_of_event_has_its_words() -> None:
    assert {type(payload) for _, payload, _ in SAMPLES} == set(EVENTS.values())


def test_a_type_that_is_not_known_is_named() -> None:
    assert summarise("tool.exploded.v9", {"a": 1}) == "tool.exploded.v9"


def test_data_that_do_not_fit_their_type_are_named_by_it() -> None:
    assert summarise("tool.started.v1", {"owner": 1}) == "tool.started.v1"


def test_a_model_call_is_told_by_its_last_message() -> None:
    question: list[JsonValue] = [{"type": "text", "text": "Where?"}]
    messages: list[JsonValue] = [{"role": "system", "content": "s"}, {"role": "user", "content": question}]
    assert signature("model.chat", "auto", {"messages": messages}) == 'chat auto("Where?")'


@pytest.mark.parametrize(
    ("text", "words"), [(" ab ", "ab"), ("abcde", "abcde"), ("abcdef", "abcd…"), ("abc def", "abc…")]
)
def test_a_text_that_is_cut_says_so(text: str, words: str) -> None:
    assert clip(text, 5) == words


@given(st.text())
def test_a_summary_is_one_bounded_printable_line(text: str) -> None:
    remembered = Remembered(id="m", namespace=text, subject=text, text=text)
    words = summarise("memory.remembered.v1", remembered.model_dump(mode="json"))
    assert words.isprintable() and len(words) <= MAX_CHARS


@pytest.mark.parametrize(
    ("usd", "words"), [(0.0, "$0"), (0.00001, "<$0.0001"), (0.0004, "$0.0004"), (12.5, "$12.50"), (1234.0, "$1,234.00")]
)
def test_money(usd: float, words: str) -> None:
    assert money(usd) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0.42, "0.4 ms"), (12.34, "12.3 ms"), (812.4, "812 ms"), (3210.0, "3.2 s"), (250_000.0, "4 min 10 s")],
)
def test_duration(ms: float, words: str) -> None:
    assert duration(ms) == words


@pytest.mark.parametrize("decision", ["ask", "deny"])
def test_what_checks_found_is_told_where_it_counted(decision: Any) -> None:
    request: dict[str, Any] = {"context": {"found": ["pii.iban", "unchecked"]}}
    decided = Decided(decision=decision, policies=("p",), why=("no",), request=request)
    assert summarise("tool.decided.v1", decided.model_dump(mode="json")).endswith("[p], found pii.iban, unchecked")
    strange = decided.model_copy(update={"request": {"context": "gone"}})
    assert summarise("tool.decided.v1", strange.model_dump(mode="json")).endswith("[p]")
