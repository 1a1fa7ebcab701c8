"""Many refusals, few events; and nobody puts words into the log, or under another's name."""

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie.keys import KeyPair
from dominie_contracts.identity import REFUSALS, RefusalCount, Refused
from dominie_contracts.registry import parse_own
from dominie_eventstore import JetStreamEventStore
from dominie_identity.adapters.broker_log import BrokerLog, refusals_in
from dominie_identity.warden.refusals import MAX_KINDS, RefusalLog
from dominie_kit.testing import House, connected, is_refused

pytestmark = pytest.mark.anyio
HEAD = '[7] 2026/11/21 11:34:36.038947 [ERR] 127.0.0.1:51796 - cid:40 - "v2.16.0:python3'
LINE = HEAD + '" - "APP/user:acme/a-desk" - Publish Violation - Subject "cmd.acme.a-desk.tool.invoke.mail"\n'
ABOUT = ("acme", "a-desk", "publish tool.invoke")


def knows(tenant: str, principal: str) -> bool:
    return (tenant, principal) == ("acme", "a-desk")


@given(st.lists(st.tuples(st.floats(0, 0.1), st.integers(1, 1000)), min_size=1, max_size=200))
def test_nothing_is_lost_and_little_is_written(refused: list[tuple[float, int]]) -> None:
    log, now_s, events = RefusalLog(knows), 1000.0, list[Refused]()
    for pause_s, count in refused:
        now_s += pause_s
        log.note("acme", "a-desk", "publish evt", count, now_s=now_s)
        events += log.due(now_s)
    events += log.due(now_s, all_=True)
    assert sum(each.count for event in events for each in event.counts) == sum(count for _, count in refused)
    assert len(events) <= 4
    assert log.due(now_s + 1000) == []


def test_who_is_not_registered_is_nobody_and_kinds_have_an_end() -> None:
    log = RefusalLog(knows)
    for number in range(1000):
        log.note(f"t{number}", "a-desk", f"kind {number}", now_s=1.0)
    (event,) = log.due(2.0)
    assert (event.tenant, event.principal) == ("svc", "nobody")
    assert len(event.counts) <= MAX_KINDS + 1
    assert event.counts[0] == RefusalCount(what="others", count=1000 - MAX_KINDS)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        pytest.param(LINE, ABOUT, id="publish"),
        pytest.param(
            LINE.replace("Publish", "Subscription").replace('mail"', 'mail", SID 1'),
            ("acme", "a-desk", "subscribe tool.invoke"),
            id="subscribe",
        ),
        pytest.param(LINE.replace("cmd.acme.a-desk.tool.invoke", "evt.0"), (*ABOUT[:2], "publish evt"), id="event"),
        pytest.param(LINE.replace("cmd.", "my secret."), (*ABOUT[:2], "publish elsewhere"), id="no words of its own"),
        pytest.param(LINE.replace("tool.invoke", "x.y"), (*ABOUT[:2], "publish cmd"), id="no command"),
    ],
)
def test_a_line_of_the_broker_is_told_by_kind(line: str, found: tuple[str, str, str]) -> None:
    assert dict(refusals_in(line.encode())) == {found: 1}


@pytest.mark.parametrize(
    "forged",
    [
        HEAD + r'\" - \"APP/user:acme/a-desk\" - Publish Violation - Subject \"evt" - connection closed' + "\n",
        HEAD + '" - "APP/user:acme/a-other" - Read Error: "APP/user:acme/a-desk" - Publish Violation - Subject "x"\n',
        LINE.replace("[ERR]", "[INF]"),
        LINE[5:],
    ],
)
def test_nobody_writes_anothers_line(forged: str) -> None:
    assert dict(refusals_in(forged.encode())) == {}


def test_the_log_is_followed_across_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "nats.log"
    path.write_text(LINE)
    log = BrokerLog(path)
    assert not log.read()  # what was there before is not counted again
    with path.open("a") as file:
        file.write(LINE * 2 + LINE[:60])
    assert dict(log.read()) == {ABOUT: 2}
    with path.open("a") as file:
        file.write(LINE[60:])
    path.rename(tmp_path / "nats.log.1")
    path.write_text(LINE * 3)
    assert dict(log.read() + log.read() + log.read()) == {ABOUT: 4}
    log.close()


def test_a_log_that_is_cut_or_absent_or_none_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "nats.log"
    log = BrokerLog(path)
    assert not log.read()
    path.mkdir()
    assert not log.read()
    path.rmdir()
    path.write_text(LINE)
    assert not log.read()
    with path.open("a") as file:
        file.write(LINE * 3)
    assert dict(log.read()) == {ABOUT: 3}
    path.write_text(LINE)  # cut, and begun anew
    assert dict(log.read() + log.read()) == {ABOUT: 1}
    path.unlink()
    assert not log.read()
    path.write_text(LINE * 2)
    assert dict(log.read() + log.read()) == {ABOUT: 2}
    log.close()


async def test_what_is_refused_is_in_the_log_once_for_many(acme: House) -> None:
    keys = await acme.register("a-odd")
    async with connected(acme.url, keys, "acme", "a-odd") as peer:
        for number in range(50):
            await peer.client.publish(f"evt.0.acme.tool.{number}", b"{}")
        for number in range(5):
            await peer.client.publish("cmd.acme.a-odd.identity.token", b"?", reply=f"_INBOX.acme.a-odd.{number}")
        await peer.client.flush()
        assert await is_refused(acme.url, KeyPair.generate(), "acme", "a-odd")
    wanted = {"publish evt": 50, "identity: invalid": 5, "connect: not signed by its key": 1}
    store, found, events = JetStreamEventStore(acme.operator.client), dict[str, int](), 0
    with anyio.fail_after(15):
        while found != wanted:
            read = [event async for event in store.read_all(category=REFUSALS)]
            mine = [parse_own(event) for event in read if event.stream == "acme.identity.a-odd"]
            counts = [each for event in mine if isinstance(event, Refused) for each in event.counts]
            found = {what: sum(each.count for each in counts if each.what == what) for what in {c.what for c in counts}}
            events = len(mine)
            await anyio.sleep(0.05)
    assert events <= 3
