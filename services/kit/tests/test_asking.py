"""Whom a policy asks, by its annotations; what is wrong with them is said, and such a policy denies."""

import pytest

from dominie_contracts.action import Ask
from dominie_contracts.guardrail import PolicyFile
from dominie_kit.handler_testing import PERMIT_ALL
from dominie_kit.policy.checking import PolicyError, check_policies
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question

FORBID = '@id("big") {} forbid (principal, action, resource);'
CHAT = Question(
    "a-desk", "model.chat", "Model", "auto", {"tenant": "t", "user": "u-x", "tools": [], "priority": "standard"}
)


def files(text: str) -> tuple[PolicyFile, ...]:
    return (PolicyFile(name="p.cedar", text=f"{PERMIT_ALL}\n{text}"),)


def asked(annotations: str) -> Ask:
    (found,) = Policies("d", files(FORBID.format(annotations))).decide(CHAT).asks
    return found


def test_a_group_alone_is_one_of_its_members() -> None:
    found = asked('@ask("finance")')
    assert (found.group, found.quorum, found.four_eyes, found.policy) == ("finance", 1, False, "big")


def test_a_quorum_and_four_eyes_are_asked_for() -> None:
    found = asked('@ask("finance") @quorum("3") @four_eyes')
    assert (found.quorum, found.four_eyes) == (3, True)


LIMIT = '@limit("50000") @per("user") @within("day")'


def test_a_limit_lets_pass_what_others_permit_and_says_what_is_shared() -> None:
    found = Policies("d", files(FORBID.format(LIMIT) + '@id("odd") @ask("f") forbid (principal, action, resource);'))
    decided = found.decide(CHAT)
    (limit,) = decided.limits
    assert (decided.decision, [ask.policy for ask in decided.asks]) == ("ask", ["odd"])
    assert (limit.policy, limit.counts, limit.most, limit.per, limit.within) == ("big", "amount", 50_000, "user", "day")
    alone = Policies("d", files(FORBID.format('@calls("3") @per("agent") @within("hour")'))).decide(CHAT)
    assert (alone.decision, [(each.counts, each.most) for each in alone.limits]) == ("allow", [("calls", 3)])


@pytest.mark.parametrize("other", ['@id("no") forbid (principal, action, resource);', ""])
def test_a_limit_permits_nothing(other: str) -> None:
    text = FORBID.format(LIMIT) + other
    sets = files(text) if other else (PolicyFile(name="p.cedar", text=text),)
    assert Policies("d", sets).decide(CHAT).decision == "deny"


def test_every_word_of_a_policy_is_in_its_key() -> None:
    texts = ('@ask("finance")', '@ask("risk")', '@ask("finance") @quorum("2")', '@ask("finance") @why("x")')
    assert len({asked(text).key for text in texts}) == len(texts)
    assert asked(texts[0]).key == asked(f"{texts[0]}\n").key


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param(FORBID.format('@ask("f") @qorum("2")'), "@qorum is unknown", id="misspelt"),
        pytest.param('@id("x") @owner("me") permit (principal, action, resource);', "@owner is unknown", id="unknown"),
        pytest.param(FORBID.format('@quorum("2")'), "@quorum needs an @ask", id="quorum of nobody"),
        pytest.param(FORBID.format("@four_eyes"), "@four_eyes needs an @ask", id="four eyes of nobody"),
        pytest.param(FORBID.format("@ask"), "names no group", id="no group"),
        pytest.param(FORBID.format('@ask("f") @quorum("0")'), "from 1 to 9", id="none"),
        pytest.param(FORBID.format('@ask("f") @quorum("-1")'), "from 1 to 9", id="fewer than none"),
        pytest.param(FORBID.format('@ask("f") @quorum("01")'), "from 1 to 9", id="two ways to write one"),
        pytest.param(FORBID.format('@ask("f") @quorum("two")'), "from 1 to 9", id="a word"),
        pytest.param(FORBID.format('@ask("f") @quorum'), "from 1 to 9", id="no number"),
        pytest.param(FORBID.format('@ask("f") @four_eyes("no")'), "takes no value", id="four eyes, or not"),
        pytest.param(FORBID.format('@limit("1") @per("user")'), "needs @within", id="a limit for ever"),
        pytest.param(FORBID.format('@limit("1") @within("day")'), "needs @per", id="a limit of nobody"),
        pytest.param(FORBID.format('@limit("1") @per("me") @within("day")'), "needs @per", id="a limit of me"),
        pytest.param(FORBID.format('@limit("1") @per("user") @within("week")'), "needs @within", id="a week"),
        pytest.param(FORBID.format('@per("user") @within("day")'), "one of @limit and @calls", id="no limit"),
        pytest.param(FORBID.format(LIMIT + ' @calls("1")'), "one of @limit and @calls", id="two limits"),
        pytest.param(FORBID.format(LIMIT + ' @ask("f")'), "cannot ask", id="a limit that asks"),
        pytest.param(FORBID.format('@limit("-1") @per("user") @within("day")'), "from 0 to", id="less than nothing"),
        pytest.param(FORBID.format('@limit("1e3") @per("user") @within("day")'), "from 0 to", id="no digits"),
        pytest.param(FORBID.format('@limit("9007199254740992") @per("user") @within("day")'), "from 0 to", id="2^53"),
        pytest.param(FORBID.format(LIMIT).replace("forbid", "permit"), "stands on a permit", id="limits a permit"),
        pytest.param('@id("x") @ask("f") permit (principal, action, resource);', "stands on a permit", id="a permit"),
    ],
)
def test_what_means_nothing_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(PolicyError, match=wrong):
        check_policies(files(text))


def test_an_ask_that_does_not_hold_denies() -> None:
    found = Policies("d", files(FORBID.format('@ask("finance") @quorum("0")'))).decide(CHAT)
    assert (found.decision, found.asks) == ("deny", ())
