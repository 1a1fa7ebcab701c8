"""What people endorse: by whom, of what, where it counts, and where it does not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts import ApprovalRequired, Conflict, Forbidden, Invalid, StreamName
from dominie_contracts.action import Finished
from dominie_contracts.audit import FromRecord
from dominie_contracts.digests import digest_bytes
from dominie_contracts.endorsing import ENDORSEMENT, Endorse, Endorsed, RevokeEndorsement, ShowLabels
from dominie_contracts.guardrail import POLICY, PoliciesProposed, PolicyFile
from dominie_contracts.identity import PRINCIPAL, RUN, Resumed, Revoked, Suspended
from dominie_contracts.memory import MEMORY, Remembered
from dominie_contracts.provenance import Label
from dominie_contracts.registry import parse_own
from dominie_contracts.runs import RunOpened
from dominie_contracts.token import Fork, Grants
from dominie_contracts.tool import TOOL, InvokeTool
from dominie_kit import Context
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_tool.endorsing.handlers import Endorsing
from dominie_tool.endorsing.projection import Endorsements
from dominie_tool.handlers import Handlers

pytestmark = pytest.mark.anyio
IBAN, OTHER, INSIDE = "GB33BUKB20201555555555", "GB33BUKB20201555555556", "DE89370400440532013000"
PAGE: JsonValue = {
    "iban": IBAN,
    "other": OTHER,
    "text": f"Acme is paid at {INSIDE}, it says. Code 4711. On May 15, on 2026-05-16; calls at 09:30.",
    "pin": "4711",
    "cents": 4000,
    "a/b": {"~": "eve@evil.example"},
    "none": None,
    "list": [IBAN],
}
RULES = """
@id("endorsing") permit (principal, action == Action::"labels.endorse", resource)
when { context.own || context.groups.contains("finance") };
@id("record") @why("from no record") forbid (principal, action in Action::"pay", resource)
when { context.min.recipient < 3 };
"""
FOUR_EYES = """
@id("two") @ask("controllers") @why("two look at it")
forbid (principal, action == Action::"labels.endorse", resource);
"""


@pytest.fixture
def endorsements(desk: Desk) -> Endorsements:
    found = Endorsements()
    desk.follow(found, ENDORSEMENT)
    return found


@pytest.fixture
def people(desk: Desk, endorsements: Endorsements) -> Endorsing:
    return another(desk, endorsements)


def another(desk: Desk, endorsements: Endorsements, **more: Any) -> Endorsing:
    actions = desk.actions(ENDORSEMENT, **more)
    return Endorsing(desk.store, actions, desk.standing, endorsements, desk.keyring.of, desk.caught_up, **more)


@pytest.fixture
async def page(desk: Desk, handlers: Handlers, have: Any, worker: Any) -> str:
    """What a page said in run r-1 of u-dana, in the session s-1; the id of its action."""
    await have("browse", effect="read")
    await have("pay", {"to": "recipient"})
    await desk.publish(PERMIT_ALL + RULES)
    await desk.join("a-desk", sponsor="u-sam")
    for name, group in (("finance", "finance"), ("carla", "controllers"), ("sam", "finance"), ("dana", "staff")):
        await desk.join(f"u-{name}", group)
    worker.results = {"browse": PAGE}
    found: str = (await browse(desk, handlers)).action
    return found


async def browse(desk: Desk, handlers: Handlers, **more: Any) -> Any:
    return await handlers.invoke(InvokeTool(tool="browse", arguments={}), agent(desk, **more))


def agent(desk: Desk, **more: Any) -> Context:
    return desk.context(**{"run": "r-1", "session": "s-1", **more})


def as_person(desk: Desk, name: str = "finance", *groups: str, tenant: str = "acme", **more: Any) -> Context:
    registered = desk.standing.find(tenant, f"u-{name}")
    groups = groups or (registered.groups if registered else ())
    context = desk.context(tenant=tenant, agent=f"u-{name}", **more)
    return replace(context, claims=None, token=None, person=None, groups=groups)


def said(of: str, pointer: str = "/iban", value: JsonValue = IBAN, **more: Any) -> Endorse:
    return Endorse.model_validate({"of": of, "pointer": pointer, "value": value, "note": "a letter says so", **more})


async def pays(desk: Desk, handlers: Handlers, to: JsonValue = IBAN, where: str | None = None, **more: Any) -> bool:
    references = {} if where is None else {"/to": where}
    called = InvokeTool(tool="pay", arguments={"to": to}, references=references)
    try:
        return (await handlers.invoke(called, agent(desk, **more))).result == "done"
    except Forbidden as refused:
        assert "from no record" in refused.detail
        return False


async def written(desk: Desk) -> list[str]:
    return await desk.types(ENDORSEMENT)


async def test_an_endorsed_value_counts_in_every_way_to_write_it_and_no_other_value_does(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    assert not await pays(desk, handlers)
    found = await people.endorse(said(page), as_person(desk))
    assert (found.by, found.was, found.to, found.run) == ("u-finance", "untrusted", "record", "r-1")
    assert await pays(desk, handlers) and await pays(desk, handlers, "gb33 bukb 2020 1555 5555 55")
    others: list[JsonValue] = [OTHER, INSIDE, f"{IBAN} or so", [IBAN, OTHER], {OTHER: IBAN}, "ACME"]
    for other in others:
        assert not await pays(desk, handlers, other)


async def test_what_stands_in_a_text_is_endorsed_alone(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    await people.endorse(said(page, "/text", INSIDE), as_person(desk))
    assert await pays(desk, handlers, INSIDE)
    text = PAGE["text"] if isinstance(PAGE, dict) else None
    assert not await pays(desk, handlers, text, f"{page}#/text")
    assert not await pays(desk, handlers, IBAN)


async def test_a_short_value_counts_where_it_is_referred_to(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    await people.endorse(said(page, "/pin", "4711"), as_person(desk))
    assert not await pays(desk, handlers, "4711")
    assert await pays(desk, handlers, "4711", f"{page}#/pin")
    assert not await pays(desk, handlers, OTHER, f"{page}#/other")
    again = (await browse(desk, handlers)).action
    assert not await pays(desk, handlers, "4711", f"{again}#/pin")
    await people.endorse(said(page, "/pin", "4711", scope="session"), as_person(desk))
    assert not await pays(desk, handlers, "4711", run="r-2")


async def test_it_counts_in_its_run_alone_or_in_its_session_where_that_was_said(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    await people.endorse(said(page), as_person(desk))
    for more in ({"run": "r-2"}, {"run": "r-2", "session": None}, {"run": "r-3", "user": "u-eve"}):
        await browse(desk, handlers, **more)
        assert not await pays(desk, handlers, **more)
    await people.endorse(said(page, scope="session"), as_person(desk))
    assert await pays(desk, handlers, run="r-2")
    for more in ({"run": "r-2", "session": "s-2"}, {"run": "r-3", "user": "u-eve"}, {"run": "r-2", "session": None}):
        assert not await pays(desk, handlers, **more)


async def test_a_run_without_a_session_has_none_to_endorse_for(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    alone = (await browse(desk, handlers, run="r-9", session=None)).action
    with pytest.raises(Invalid, match="no session"):
        await people.endorse(said(alone, scope="session"), as_person(desk))
    assert await written(desk) == []


async def test_once_it_is_revoked_the_next_call_is_decided_without_it(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    found = await people.endorse(said(page), as_person(desk))
    taken_back = RevokeEndorsement(endorsement=found.id, note="it was forged")
    with pytest.raises(Forbidden, match="can revoke it"):
        await people.revoke(taken_back, as_person(desk, "carla"))
    await people.revoke(taken_back, as_person(desk, "dana"))
    assert not await pays(desk, handlers)
    before = await written(desk)
    with pytest.raises(Conflict, match="revoked already"):
        await people.revoke(taken_back, as_person(desk))
    with pytest.raises(Invalid, match="no such"):
        await people.revoke(RevokeEndorsement(endorsement="0" * 32), as_person(desk))
    assert await written(desk) == before
    anew = await people.endorse(said(page), as_person(desk))
    assert anew.id != found.id and await pays(desk, handlers, IBAN.lower())


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("desk", "no person"),
        ("sam", "sponsor of an agent"),
        ("carla", "labels.endorse|no policy"),
        ("nobody", "no person"),
    ],
)
async def test_who_may_not_endorse(
    who: str, why: str, desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    context = as_person(desk, who)
    if who == "desk":
        context = replace(context, principal="a-desk", groups=("finance",))
    with pytest.raises(Forbidden, match=why):
        await people.endorse(said(page), context)
    assert not await pays(desk, handlers)
    assert "endorsed.v1" not in await written(desk)


async def test_a_run_token_endorses_nothing_whoever_shows_it(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    for context in (agent(desk), agent(desk, agent="u-finance")):
        with pytest.raises(Forbidden, match="no person"):
            await people.endorse(said(page), replace(context, groups=("finance",)))
    assert await written(desk) == []


async def test_somebody_with_a_key_of_the_agents_side_endorses_nothing(
    desk: Desk, people: Endorsing, page: str
) -> None:
    stolen = desk.standing.find("acme", "a-desk")
    assert stolen is not None
    await desk.join("u-twin", "finance", nkey=stolen.nkey)
    with pytest.raises(Forbidden, match="has the key"):
        await people.endorse(said(page), as_person(desk, "twin"))
    assert await written(desk) == []


async def test_user_is_the_users_own_to_say(desk: Desk, handlers: Handlers, people: Endorsing, page: str) -> None:
    with pytest.raises(Forbidden, match="only u-dana"):
        await people.endorse(said(page, to="user"), as_person(desk))
    assert await written(desk) == []
    assert (await people.endorse(said(page, to="user"), as_person(desk, "dana"))).to == "user"
    assert await pays(desk, handlers)


async def test_a_permit_of_everything_lets_nobody_endorse(desk: Desk, people: Endorsing, page: str) -> None:
    await desk.publish(PERMIT_ALL)
    with pytest.raises(Forbidden, match="no policy permits"):
        await people.endorse(said(page), as_person(desk))
    assert await written(desk) == ["requested.v1", "decided.v1", "finished.v1"]


async def test_where_decisions_are_only_observed_nothing_is_endorsed_that_policies_would_not_allow(
    desk: Desk, endorsements: Endorsements, page: str
) -> None:
    await desk.publish(PERMIT_ALL)
    with pytest.raises(Forbidden, match="only observed"):
        await another(desk, endorsements, observe=True).endorse(said(page), as_person(desk))
    assert await written(desk) == []


async def test_two_people_where_a_policy_says_so(desk: Desk, handlers: Handlers, people: Endorsing, page: str) -> None:
    await desk.publish(PERMIT_ALL + RULES + FOUR_EYES)
    waiting = []
    for _ in range(2):
        with pytest.raises(ApprovalRequired) as raised:
            await people.endorse(said(page), as_person(desk))
        waiting.append(raised.value.extra["action"])
    assert waiting[0] == waiting[1] and not await pays(desk, handlers)
    stream = StreamName("acme", ENDORSEMENT, str(waiting[0]))
    second = await desk.join("u-carla", "controllers")
    await desk.answer(stream, second)
    assert (await people.endorse(said(page), as_person(desk))).id == waiting[0]
    assert await pays(desk, handlers)


async def test_who_endorses_is_not_the_second_one(desk: Desk, handlers: Handlers, people: Endorsing, page: str) -> None:
    await desk.publish(PERMIT_ALL + RULES + FOUR_EYES.replace("controllers", "finance"))
    me = await desk.join("u-finance", "finance")
    with pytest.raises(ApprovalRequired) as raised:
        await people.endorse(said(page), as_person(desk))
    await desk.answer(StreamName("acme", ENDORSEMENT, str(raised.value.extra["action"])), me)
    with pytest.raises(Forbidden, match="asked for it"):
        await people.endorse(said(page), as_person(desk))
    assert not await pays(desk, handlers)


@pytest.mark.parametrize(
    ("pointer", "value", "why"),
    [
        ("/gone", IBAN, "nothing stands"),
        ("iban", IBAN, "nothing stands"),
        ("/list/1", IBAN, "nothing stands"),
        ("/list/-", IBAN, "nothing stands"),
        ("/iban", OTHER, "does not stand"),
        ("/cents", "4000", "does not stand"),
        ("/text", "4711", "too short"),
        ("/text", "2099-05-15", "does not stand"),
        ("/text", "2099-05-15T03:33:00", "does not stand"),
        ("/text", "2026-05-16T09:30:00", "does not stand"),
        ("/text", "DE8937040044053201300", "does not stand"),
        ("/list", [IBAN], "each part alone"),
        ("", {}, "each part alone"),
        ("/none", None, "that can be looked at"),
        ("/iban", {"$artifact": "x"}, "each part alone"),
    ],
)
async def test_what_does_not_stand_there_is_not_endorsed(
    pointer: str, value: JsonValue, why: str, desk: Desk, people: Endorsing, page: str
) -> None:
    with pytest.raises(Invalid, match=why):
        await people.endorse(said(page, pointer, value), as_person(desk))
    assert await written(desk) == []


async def test_who_may_not_look_is_denied_in_the_same_words_whatever_stands_there(
    desk: Desk, people: Endorsing, page: str
) -> None:
    await people.endorse(said(page), as_person(desk))
    before = await written(desk)
    tries = [("/iban", IBAN), ("/iban", OTHER), ("/pin", "4711"), ("/pin", "4712"), ("/gone", IBAN), ("/text", INSIDE)]
    refused = []
    for pointer, value in tries:
        with pytest.raises(Forbidden) as raised:
            await people.endorse(said(page, pointer, value), as_person(desk, "carla", key="k"))
        refused.append(raised.value.detail)
    assert set(refused) == {"no policy permits it"}
    assert await written(desk) == [*before, *["requested.v1", "decided.v1", "finished.v1"] * len(tries)]


async def test_who_may_endorse_only_as_policies_say_is_told_what_stands_there(
    desk: Desk, people: Endorsing, page: str
) -> None:
    narrow = RULES.replace('context.groups.contains("finance")', 'context.becomes == 3 && context.scope == "session"')
    await desk.publish(PERMIT_ALL + narrow)
    with pytest.raises(Invalid, match="does not stand"):
        await people.endorse(said(page, value=OTHER, scope="session"), as_person(desk))
    assert (await people.endorse(said(page, scope="session"), as_person(desk))).to == "record"


async def test_what_nobody_knows_is_not_endorsed(desk: Desk, handlers: Handlers, people: Endorsing, page: str) -> None:
    refused = (await browse(desk, handlers)).action
    await desk.join("u-finance", "finance", tenant="other")
    elsewhere = as_person(desk, "finance", tenant="other", user="u-dana")
    places: list[tuple[str, Context]] = [("0" * 32, as_person(desk)), (page, elsewhere), (refused, elsewhere)]
    for of, context in places:
        with pytest.raises(Invalid, match="no call"):
            await people.endorse(said(of), context)
        with pytest.raises(Invalid, match="no call"):
            await people.show(ShowLabels(of=of), context)
    assert await written(desk) == []


async def test_what_is_as_good_already_is_not_endorsed_again(desk: Desk, people: Endorsing, page: str) -> None:
    first = await people.endorse(said(page), as_person(desk, key="k"))
    before = await written(desk)
    assert await people.endorse(said(page), as_person(desk, key="k")) == first
    tries: list[tuple[Endorse, str]] = [
        (said(page), "finance"),
        (said(page, note="another"), "finance"),
        (said(page, to="agent"), "finance"),
        (said(page), "dana"),
    ]
    for command, who in tries:
        with pytest.raises(Conflict, match=r"u-finance has endorsed that already"):
            await people.endorse(command, as_person(desk, who))
    assert await written(desk) == before


async def test_what_is_a_record_already_needs_nobody(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str, have: Any, worker: Any
) -> None:
    await have(
        "look_up", effect="read", output_schema={"x-dominie": {"integrity": "record", "readers": ["@a.example"]}}
    )
    worker.results["look_up"] = IBAN
    known = (await handlers.invoke(InvokeTool(tool="look_up", arguments={}), agent(desk))).action
    with pytest.raises(Conflict, match="record already"):
        await people.endorse(said(known, ""), as_person(desk))
    assert await written(desk) == []


async def test_who_may_look(desk: Desk, people: Endorsing, page: str) -> None:
    await people.endorse(said(page), as_person(desk))
    for who in (as_person(desk), as_person(desk, "dana"), as_person(desk, "carla", "auditors")):
        shown = await people.show(ShowLabels(of=page), who)
        assert {leaf.integrity for leaf in shown.leaves} == {"untrusted"} and len(shown.leaves) == 8
        assert [each.by for each in shown.endorsements] == ["u-finance"]
    assert [each.value for each in (await people.show(ShowLabels(of=page, pointer="/a~1b"), who)).leaves] == [
        "eve@evil.example"
    ]
    with pytest.raises(Forbidden, match="labels are for"):
        await people.show(ShowLabels(of=page), as_person(desk, "carla"))
    with pytest.raises(Invalid, match="nothing stands"):
        await people.show(ShowLabels(of=page, pointer="/gone"), as_person(desk))


async def test_it_survives_a_restart_and_a_rebuild(
    desk: Desk, instance: Callable[[], Handlers], people: Endorsing, page: str
) -> None:
    await people.endorse(said(page), as_person(desk))
    assert await pays(desk, instance())
    rebuilt = Endorsements().fresh()
    async for event in desk.store.read_all(category=ENDORSEMENT):
        rebuilt.apply(event)
    assert len(rebuilt.of(agent(desk))) == 1


async def test_an_erased_persons_value_is_endorsed_no_more(desk: Desk, people: Endorsing, page: str) -> None:
    await people.endorse(said(page), as_person(desk))
    person, before = as_person(desk), await written(desk)
    desk.keyring.drop([desk.keys.destroy("acme", "u-dana")])
    with pytest.raises(Invalid, match="was erased"):
        await people.endorse(said(page, "/other", OTHER), person)
    with pytest.raises(Invalid, match="was erased"):
        await people.show(ShowLabels(of=page), person)
    assert await written(desk) == before
    rebuilt = Endorsements()
    async for event in desk.store.read_all(category=ENDORSEMENT):
        rebuilt.apply(event)
    assert rebuilt.of(agent(desk)) == () == rebuilt.at("acme", f"{TOOL}:{page}")


async def test_nobody_reads_in_the_log_what_was_endorsed(desk: Desk, people: Endorsing, page: str) -> None:
    await people.endorse(said(page), as_person(desk))
    raw = b"".join([event.raw async for event in desk.log.read_all(category=ENDORSEMENT)])
    assert IBAN.encode() not in raw and b"a letter says so" not in raw and b"/iban" not in raw
    events = [event async for event in desk.log.read_all(category=ENDORSEMENT)]
    assert {(e.envelope.actor, e.envelope.on_behalf_of, e.envelope.correlation_id) for e in events} == {
        ("u-finance", "u-dana", "r-1")
    }


@pytest.fixture
async def note(desk: Desk, page: str) -> str:
    """What an agent noted of a page in run r-0, for whoever is granted the namespace; its id."""
    id_ = "a" * 32
    label = Label(integrity="untrusted", sources=(f"tool:{page}",))
    kept = Remembered(id=id_, namespace="shared", subject="u-dana", text=f"Acme is paid at {IBAN}", label=label)
    await desk.append(MEMORY, id_, kept, run="r-0", user="u-dana", actor="a-desk")
    return id_


async def recall(
    desk: Desk, note: str, run: str, label: Label, more: tuple[str, ...] = (), user: str = "u-dana"
) -> None:
    made = label.model_copy(update={"sources": (*more, f"memory:{note}")})
    finished = Finished(outcome="ok", result=[{"id": note}], label=made, duration_ms=1)
    await desk.append(MEMORY, run.encode().hex().ljust(32, "0"), finished, run=run, user=user, actor="a-desk")


async def opened(desk: Desk, run: str) -> dict[str, Any]:
    """A run of the session s-9, which shares what it was given with the others there."""
    event = RunOpened(
        agent="a-desk", user="u-dana", run=run, session="s-9", request_digest=None, grants=Grants(), expires_s=1
    )
    await desk.append(RUN, run, event)
    return {"run": run, "session": "s-9"}


async def test_a_value_of_a_note_counts_where_that_was_recalled_and_nowhere_else(
    desk: Desk, handlers: Handlers, people: Endorsing, note: str
) -> None:
    untrusted = Label(integrity="untrusted")
    await recall(desk, note, "r-7", untrusted)
    await recall(desk, "b" * 32, "r-8", untrusted)
    runs: list[dict[str, Any]] = [{"run": run, "session": None} for run in ("r-7", "r-8", "r-9")]
    await browse(desk, handlers, **runs[2])
    assert [await pays(desk, handlers, **each) for each in runs] == [False] * 3
    found = await people.endorse(said(note, "", scope="tenant"), as_person(desk))
    assert (found.source, found.was, found.whole) == (f"memory:{note}", "untrusted", False)
    assert [await pays(desk, handlers, **each) for each in runs] == [True, False, False]
    assert not await pays(desk, handlers, OTHER, **runs[0])
    shared = [await opened(desk, run) for run in ("r-5", "r-6")]
    await recall(desk, note, "r-5", untrusted)
    await browse(desk, handlers, **shared[1])
    assert [await pays(desk, handlers, **each) for each in shared] == [True, False]
    await people.revoke(RevokeEndorsement(endorsement=found.id), as_person(desk))
    assert not await pays(desk, handlers, IBAN.lower(), **runs[0])


async def test_a_note_is_endorsed_wherever_it_is_recalled_and_nothing_else_is(
    desk: Desk, people: Endorsing, page: str, note: str
) -> None:
    for command in (said(note, ""), said(note, "", scope="session"), said(page, scope="tenant")):
        with pytest.raises(Invalid, match="scope `tenant`"):
            await people.endorse(command, as_person(desk))
    assert await written(desk) == []
    shown = await people.show(ShowLabels(of=note), as_person(desk))
    assert [(leaf.pointer, leaf.integrity) for leaf in shown.leaves] == [("", "untrusted")]


async def test_a_note_is_nobodys_own_nor_what_the_user_of_whoever_recalls_it_has_said(
    desk: Desk, handlers: Handlers, people: Endorsing, note: str
) -> None:
    await recall(desk, note, "r-7", Label(integrity="untrusted"), user="u-eve")
    eves: dict[str, Any] = {"run": "r-7", "session": None, "user": "u-eve"}
    with pytest.raises(Forbidden, match="no policy permits"):
        await people.endorse(said(note, "", scope="tenant"), as_person(desk, "dana"))
    assert not await pays(desk, handlers, **eves)
    for who in ("dana", "finance"):
        with pytest.raises((Invalid, Forbidden), match=r"only u-dana|make it a `record`"):
            await people.endorse(said(note, "", scope="tenant", to="user"), as_person(desk, who))
    await people.endorse(said(note, "", scope="tenant"), as_person(desk))
    assert await pays(desk, handlers, **eves)


async def test_a_fork_has_what_was_endorsed_before_it_and_its_own_rules_say_whether_that_counts(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str, note: str
) -> None:
    before = await desk.store.last_position()
    await people.endorse(said(page), as_person(desk))
    after = await desk.store.last_position() + 1
    desk.others.record = FromRecord()

    async def forked(at: int, name: str, session: str | None = None, **more: Any) -> bool:
        fork = Fork(run="r-1", at=at, **more)
        await recall(desk, note, name, Label(integrity="untrusted"))
        await browse(desk, handlers, run=name, session=session, fork=fork)
        return await pays(desk, handlers, run=name, session=session, fork=fork)

    assert await forked(after, "f-1")
    assert not await forked(before, "f-2")
    await people.endorse(said(page, scope="session"), as_person(desk))
    await people.endorse(said(note, "", scope="tenant"), as_person(desk))
    for number, session in enumerate((None, "s-1")):
        assert not await forked(before, f"f-5{number}", session)
    assert await pays(desk, handlers, run="r-2")
    same = await propose(desk, PERMIT_ALL + RULES)
    stricter = await propose(desk, PERMIT_ALL + RULES + FOUR_EYES)
    assert await forked(after, "f-3", policies=same)
    assert not await forked(after, "f-4", policies=stricter)


async def propose(desk: Desk, policies: str) -> str:
    files = (PolicyFile(name="test.cedar", text=policies),)
    digest = digest_bytes(policies.encode())
    for event in await desk.append(POLICY, digest, PoliciesProposed(digest=digest, files=files, by="u-dev")):
        desk.decisions.apply(event)
    return digest


async def test_who_writes_past_the_handlers_endorses_no_other_value_and_nothing_of_another_user(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    real = await people.endorse(said(page), as_person(desk))
    (event,) = [e async for e in desk.store.read_all(category=ENDORSEMENT) if ".endorsed." in e.type]
    told = parse_own(event)
    assert isinstance(told, Endorsed)
    for number, more in enumerate(({"value": OTHER}, {"value": OTHER, "digest": "0" * 64}, {"user": "u-eve"})):
        id_ = f"{number}" * 32
        await desk.append(ENDORSEMENT, id_, told.model_copy(update={"id": id_, **more}))
    await people.revoke(RevokeEndorsement(endorsement=real.id), as_person(desk))
    assert not await pays(desk, handlers) and not await pays(desk, handlers, OTHER)


async def test_what_is_said_for_agent_is_no_better_than_that(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    found = await people.endorse(said(page, to="agent"), as_person(desk))
    assert found.to == "agent" and not await pays(desk, handlers)
    assert (await people.endorse(said(page), as_person(desk))).to == "record"
    assert await pays(desk, handlers)


async def test_the_word_of_whose_identity_was_taken_away_counts_no_more(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    await people.endorse(said(page), as_person(desk))
    await desk.append(PRINCIPAL, "u-finance", Suspended(tenant="acme", principal="u-finance", by="operator", reason=""))
    assert not await pays(desk, handlers)
    await desk.append(PRINCIPAL, "u-finance", Resumed(tenant="acme", principal="u-finance", by="operator"))
    assert await pays(desk, handlers, IBAN.lower())
    await desk.append(PRINCIPAL, "u-finance", Revoked(tenant="acme", principal="u-finance", by="operator", reason=""))
    assert not await pays(desk, handlers, "GB33 BUKB 2020 1555 5555 55")


async def test_an_agent_neither_looks_nor_takes_back(desk: Desk, people: Endorsing, page: str) -> None:
    found = await people.endorse(said(page), as_person(desk))
    for principal in ("a-desk", "w-ledger"):
        await desk.join("w-ledger")
        context = replace(as_person(desk, "x"), principal=principal, groups=("developers",))
        with pytest.raises(Forbidden, match="no person"):
            await people.show(ShowLabels(of=page), context)
        with pytest.raises(Forbidden, match="no person"):
            await people.revoke(RevokeEndorsement(endorsement=found.id), context)


async def test_who_answers_for_an_agent_of_the_run_is_not_the_second_one_either(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    await desk.publish(PERMIT_ALL + RULES + FOUR_EYES)
    sponsor = await desk.join("u-sam", "controllers")
    waiting = []
    for answers in (sponsor, await desk.join("u-carla", "controllers")):
        with pytest.raises(ApprovalRequired) as raised:
            await people.endorse(said(page), as_person(desk))
        waiting.append(str(raised.value.extra["action"]))
        await desk.answer(StreamName("acme", ENDORSEMENT, waiting[-1]), answers)
        if answers is sponsor:
            with pytest.raises(Forbidden, match=r"u-sam may not endorse this: .* sponsor"):
                await people.endorse(said(page), as_person(desk))
            assert not await pays(desk, handlers)
    assert (await people.endorse(said(page), as_person(desk))).id == waiting[1] != waiting[0]
    assert await pays(desk, handlers, IBAN.lower())


async def test_what_waits_is_decided_without_what_was_revoked_meanwhile_and_as_it_was_asked_otherwise(
    desk: Desk, handlers: Handlers, people: Endorsing, page: str
) -> None:
    ask = '@id("boss") @ask("bosses") @why("look") forbid (principal, action in Action::"pay", resource);'
    await desk.publish(PERMIT_ALL + RULES + ask)
    boss = await desk.join("u-boss", "bosses")
    await people.endorse(said(page, "/other", OTHER), as_person(desk))
    revoked = await people.endorse(said(page), as_person(desk))
    for key, to in (("k-1", IBAN), ("k-2", OTHER)):
        with pytest.raises(ApprovalRequired) as raised:
            await pays(desk, handlers, to, key=key)
        await desk.answer(StreamName("acme", TOOL, str(raised.value.extra["action"])), boss)
    await people.revoke(RevokeEndorsement(endorsement=revoked.id), as_person(desk))
    assert not await pays(desk, handlers, IBAN, key="k-1")
    assert await pays(desk, handlers, OTHER, key="k-2")


async def test_who_was_given_a_note_as_it_was_endorsed_has_an_untrusted_one_once_that_is_revoked(
    desk: Desk, handlers: Handlers, people: Endorsing, note: str
) -> None:
    await desk.publish(PERMIT_ALL + RULES.replace("recipient < 3", "recipient < 1"))
    found = await people.endorse(said(note, "", scope="tenant"), as_person(desk))
    good = Label(integrity="record", sources=(f"endorsement:{found.id}",))
    for run in ("r-7", "r-8"):
        await recall(desk, note, run, good, good.sources)
    assert await pays(desk, handlers, "an invented one", run="r-7", session=None)
    await people.revoke(RevokeEndorsement(endorsement=found.id), as_person(desk))
    assert not await pays(desk, handlers, "an invented one", run="r-8", session=None)
    assert await pays(desk, handlers, "an invented one", run="r-9", session=None)
