"""What counts as a flood: never what is allowed, however it is looked at; always what is more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_identity.warden.flooding import BURST_S, Allowance, Connected, Holds, Meter

ALLOWED = Allowance(messages=1000, bytes=1_000_000)


def seen(at_s: float, messages: int = 0, bytes_: int = 0, *, id_: int = 1, since_s: float = 0.0) -> Connected:
    return Connected("N1", id_, "acme", "a-desk", messages, bytes_, since_s=since_s, at_s=at_s)


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=30), st.floats(0.0, 1.0))
def test_who_sends_evenly_what_is_allowed_never_floods(pauses: list[float], share: float) -> None:
    meter, at_s = Meter(ALLOWED), 0.0
    for pause in pauses:
        at_s += pause
        assert meter.look([seen(at_s, int(at_s * ALLOWED.messages * share), int(at_s * ALLOWED.bytes * share))]) == []


@given(st.floats(0.01, 0.2), st.floats(2.0, 100.0))
def test_who_sends_more_floods_before_it_has_sent_for_long(pause: float, times: float) -> None:
    meter, at_s = Meter(ALLOWED), 0.0
    while at_s < BURST_S / (times - 1) + 3 * pause:
        at_s += pause
        if meter.look([seen(at_s, int(at_s * ALLOWED.messages * times))]):
            return
    pytest.fail(f"no flood after {at_s} s")


@pytest.mark.parametrize(("messages", "bytes_"), [(251, 0), (0, 250_001)])
def test_messages_and_bytes_both_count(messages: int, bytes_: int) -> None:
    (flood,) = Meter(ALLOWED).look([seen(0.1, messages, bytes_)])
    assert (flood.tenant, flood.principal, flood.messages, flood.bytes) == ("acme", "a-desk", messages, bytes_)
    assert Meter(ALLOWED).look([seen(0.1, min(messages, 250), min(bytes_, 250_000))]) == []


def test_connections_of_one_principal_count_together() -> None:
    many = [seen(0.1, 100, id_=number) for number in range(6)]
    assert len(Meter(ALLOWED).look(many)) == 1
    others = [Connected("N1", n, "acme", f"a-{n}", 100, 0, since_s=0, at_s=0.1) for n in range(6)]
    assert Meter(ALLOWED).look(others) == []


def test_an_old_connection_that_is_seen_for_the_first_time_had_its_time() -> None:
    assert Meter(ALLOWED).look([seen(1000.0, 900_000)]) == []
    assert len(Meter(ALLOWED).look([seen(1000.0, 1_100_000)])) == 1


def test_who_was_silent_for_long_may_not_send_all_of_that_at_once() -> None:
    meter = Meter(ALLOWED)
    meter.look([seen(1.0, 1)])
    assert len(meter.look([seen(1000.0, 502)], covered_s=999.95)) == 1
    slept = Meter(ALLOWED)
    slept.look([seen(1.0, 1)])
    assert slept.look([seen(1000.0, 502)], covered_s=1.0) == []  # nobody looked meanwhile


def test_servers_that_are_gone_take_their_connections_along() -> None:
    meter = Meter(ALLOWED)
    meter.look([seen(100.0, 90_000)])
    meter.keep_servers({"N1"})
    assert len(meter.look([seen(100.1, 180_000)])) == 1
    meter.keep_servers({"N2"})
    assert meter.look([seen(1000.0, 180_000)]) == []


def test_what_is_forgotten_does_not_count_again() -> None:
    meter = Meter(ALLOWED)
    meter.look([seen(100.0, 90_000)])
    meter.drain(200.0)
    meter.keep("N1", 200.0)
    assert meter.look([seen(200.0, 90_100)]) == []


def test_a_hold_ends() -> None:
    holds = Holds()
    holds.hold("acme", "u-dana", until_s=5.0)
    assert holds.holds("acme", "u-dana", now_s=4.9)
    assert not holds.holds("other", "u-dana", now_s=4.9)
    assert not holds.holds("acme", "u-dana", now_s=5.0)
    holds.hold("acme", "u-dana", until_s=9.0)
    holds.release("acme", "u-dana")
    assert not holds.holds("acme", "u-dana", now_s=6.0)
