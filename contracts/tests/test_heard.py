"""Hearing at once."""

import logging

import pytest

from dominie_contracts.heard import AtOnce


def test_each_message_is_handed_on() -> None:
    heard: list[str] = []
    future = AtOnce(heard.append)
    for word in ("a", "b"):
        assert not future.cancelled()
        future.set_result(word)
    assert heard == ["a", "b"]


def test_a_handler_that_fails_is_logged_and_hears_the_next_one(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[int] = []

    def divide(message: int) -> None:
        heard.append(1 // message)

    future = AtOnce(divide)
    with caplog.at_level(logging.ERROR):
        future.set_result(0)
    future.set_result(1)
    assert heard == [1]
    assert "could not be handled" in caplog.text
