"""However deep a large value is nested, it is made smaller in about one pass."""

import json
import time

import pytest
from pydantic import JsonValue

from dominie_contracts.shrinking import Large, Shrunk, shrink

TEXT = "é\n" * 1_000_000


def nested(beside: int) -> JsonValue:
    value: JsonValue = TEXT
    for _ in range(180):
        value = {"in": value, "beside": ["y" * 4000] * beside}
    return value


def restored(value: Shrunk) -> JsonValue:
    match value:
        case Large(data, "text/plain"):
            return data.decode()
        case Large(data):
            read: JsonValue = json.loads(data)
            return read
        case dict():
            return {name: restored(part) for name, part in value.items()}
        case list():
            return [restored(part) for part in value]
        case _:
            return value


@pytest.mark.parametrize("beside", [0, 3, 17])
def test_a_deep_value_takes_no_longer_than_a_flat_one(beside: int) -> None:
    value = nested(beside)
    begun = time.process_time()
    shrunk = shrink(value)
    assert time.process_time() - begun < 2.5  # .1 to .3; a look at all that is inside, at each depth, took 6 to 9
    assert restored(shrunk) == value
