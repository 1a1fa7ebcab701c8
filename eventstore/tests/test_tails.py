"""What is remembered of streams is bounded."""

from dominie_eventstore._tails import Tail, Tails


def test_the_least_recently_written_stream_is_forgotten() -> None:
    tails = Tails(2)
    for name in ("a", "b", "a", "c"):
        tails.put(name, Tail(0, 1, 1, name))

    assert len(tails) == 2
    assert tails.get("b", 0) is None
    assert tails.get("a", 0) == Tail(0, 1, 1, "a")


def test_a_stream_can_be_forgotten() -> None:
    tails = Tails()
    tails.put("a", Tail(0, 1, 1, "a"))
    tails.forget("a")
    tails.forget("a")

    assert tails.get("a", 0) is None


def test_an_end_counts_in_the_segment_that_was_open_then() -> None:
    tails = Tails()
    tails.put("a", Tail(0, 1, 1, "a"))

    assert tails.get("a", 1) is None
