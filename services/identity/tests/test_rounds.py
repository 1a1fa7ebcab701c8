"""Whoever sent something since the last look is looked at, however many are connected, and no more than need be."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dominie_identity.warden.flooding import Connected
from dominie_identity.warden.rounds import GIVE_UP_S, PAGE, SLACK_S, Page, Rounds


def connection(id_: int, active_s: float) -> Connected:
    return Connected("N1", id_, "acme", f"a-{id_}", 0, 0, since_s=0.0, at_s=0.0, active_s=active_s)


def page_of(connections: list[Connected], at_s: float, offset: int) -> Page:
    """As the server lists them."""
    order = sorted(connections, key=lambda each: -each.active_s)
    listed = tuple(order[offset : offset + PAGE])
    least_s = listed[-1].active_s if listed else at_s
    return Page("N1", at_s, offset, listed=len(listed), least_active_s=least_s, connections=listed)


def look(rounds: Rounds, connections: list[Connected], at_s: float) -> set[int]:
    """One look: the connections that it has seen."""
    seen, offset = set[int](), 0
    while True:
        page = page_of(connections, at_s, offset)
        seen |= {each.id for each in page.connections}
        next_ = rounds.turn(page, at_s)
        if next_.offset is None:
            return seen
        offset = next_.offset


@given(st.integers(0, 300), st.lists(st.sets(st.integers(0, 299), max_size=200), max_size=5))
def test_whoever_sent_something_is_seen(many: int, sending: list[set[int]]) -> None:
    rounds, at_s = Rounds(), 1000.0
    connections = {id_: connection(id_, 900.0) for id_ in range(many)}
    assert look(rounds, list(connections.values()), at_s) == connections.keys()
    for senders in sending:
        at_s += 0.05
        active = senders & connections.keys()
        connections |= {id_: replace(connections[id_], active_s=at_s - 0.01) for id_ in active}
        assert look(rounds, list(connections.values()), at_s) >= active


def test_who_is_silent_is_not_looked_at_again_until_all_are() -> None:
    rounds = Rounds()
    silent = [connection(id_, 900.0) for id_ in range(10 * PAGE)]
    assert len(look(rounds, silent, 1000.0)) == 10 * PAGE
    assert len(look(rounds, silent, 1000.05)) == PAGE
    assert rounds.list_all(1000.05) == {"N1"}
    assert len(look(rounds, silent, 1000.1)) == 10 * PAGE
    assert len(look(rounds, silent, 1000.15)) == PAGE


def test_who_was_listed_last_is_told_when_all_are() -> None:
    rounds = Rounds()
    first = page_of([connection(id_, 900.0) for id_ in range(PAGE + 1)], 1000.0, 0)
    rest = replace(first, offset=PAGE, listed=1, at_s=1000.2)
    assert rounds.turn(first, 0.0).offset == PAGE
    assert rounds.covered_s("N1") == 0.0
    assert rounds.turn(rest, 0.1).listed_since_s == rounds.covered_s("N1") == 1000.0


def test_a_look_whose_page_never_came_is_begun_anew() -> None:
    rounds = Rounds()
    busy = page_of([connection(id_, 1000.0) for id_ in range(2 * PAGE)], 1000.0, 0)
    rounds.turn(busy, 0.0)
    assert rounds.is_open(0.0) and not rounds.is_open(GIVE_UP_S)
    assert rounds.turn(replace(busy, at_s=1002.0), 2.0).offset == PAGE
    assert rounds.is_open(2.0)


def test_who_sent_right_before_the_last_look_counts_as_sending() -> None:
    rounds = Rounds()
    connections = [connection(id_, 900.0) for id_ in range(3 * PAGE)]
    look(rounds, connections, 1000.0)
    late = [replace(each, active_s=1000.0 - SLACK_S / 2) for each in connections]
    assert len(look(rounds, late, 1000.05)) == 3 * PAGE


def test_a_server_that_is_gone_is_forgotten() -> None:
    rounds = Rounds()
    look(rounds, [], 1000.0)
    assert rounds.list_all(1000.0 + 30) == {"N1"}
    assert rounds.list_all(1000.0 + 600) == frozenset()
    assert rounds.covered_s("N1") == 0.0
