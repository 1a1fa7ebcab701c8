"""What the package shows."""

import dominie_eventstore


def test_the_public_names() -> None:
    assert dominie_eventstore.__all__ == [
        "Appended",
        "Build",
        "ChainReport",
        "CorruptEvent",
        "Durability",
        "EventStore",
        "EventStoreError",
        "EventTooLarge",
        "Folds",
        "InMemory",
        "JetStreamEventStore",
        "MemoryEventStore",
        "Projection",
        "Projector",
        "Roller",
        "SegmentState",
        "Segments",
        "SqlProjection",
        "StoreUnavailable",
        "Stored",
        "Subscription",
        "WrongExpectedVersion",
        "provision",
        "publish_subjects",
        "rolling",
        "unseal",
        "verify_chain",
    ]
    assert all(hasattr(dominie_eventstore, name) for name in dominie_eventstore.__all__)
