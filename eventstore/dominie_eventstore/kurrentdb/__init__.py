"""The event store on KurrentDB (EventStoreDB), through its own client, which nobody else has to install."""

try:
    import kurrentdbclient as _client
except ImportError as error:
    raise ImportError("KurrentDB's client is not installed: `pip install 'dominie-eventstore[kurrentdb]'`") from error

from dominie_eventstore.kurrentdb._store import KurrentDBEventStore

__all__ = ["KurrentDBEventStore"]
del _client
