"""What is remembered of streams is bounded."""

from dominie_eventstore._tails import Tail, Tails


def test_the_least_recently_written_stream_is_forgotten() -> None:
    tails = Tails(2)
    for name in ("a", "b", "a", "c"):
        tails.put(name, Tail(1, 1, name))

    assert len(tails) == 2
    assert tails.get("b") is None
    assert tails.get("a") == Tail(1, 1, "a")


def test_a_stream_can_be_forgotten() -> None:
    tails = Tails()
    tails.put("a", Tail(1, 1, "a"))
    tails.forget("a")
    tails.forget("a")

    assert tails.get("a") is None
