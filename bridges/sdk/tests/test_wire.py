"""Headers as they are written to the broker."""

import nats
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from dominie._wire import Wire, header_block
from dominie.testing import Broker
from dominie_contracts import headers

NAMES = st.sampled_from([headers.TOKEN, headers.KEY, headers.DEADLINE, headers.AFTER, headers.TRACEPARENT])
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


@given(st.dictionaries(NAMES, VALUES, min_size=1))
def test_they_are_read_as_what_they_were(given: dict[str, str]) -> None:
    block = header_block(given)
    read = Client._parse_header_lines(block.removeprefix(b"NATS/1.0\r\n"))
    assert read == {name: value.encode().strip().decode() for name, value in given.items()}


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["a\r\nPUB evt.0 1\r\nx", "a\nb", "a\rb"])
async def test_a_value_cannot_end_its_line(broker: Broker, value: str) -> None:
    wire, other = Wire(), await nats.connect(broker.url)
    await wire.connect(broker.url)
    heard = await other.subscribe(">")
    await other.flush()
    await wire.publish("cmd.x", b"1", headers={headers.KEY: value, headers.AFTER: "7"})
    await wire.publish("cmd.x", b"2", headers={headers.KEY: "k"})
    first, second = await heard.next_msg(timeout=10), await heard.next_msg(timeout=10)
    await wire.close()
    await other.close()
    spoilt = value.translate({ord("\r"): " ", ord("\n"): " "})
    assert (first.data, first.headers) == (b"1", {headers.KEY: spoilt, headers.AFTER: "7"})
    assert (second.data, second.headers) == (b"2", {headers.KEY: "k"})
