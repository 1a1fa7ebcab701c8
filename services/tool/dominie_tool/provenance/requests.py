"""What the user asked for in a run, in their own words: believed only if the run token has its digest, from them."""

from collections import OrderedDict

from dominie_contracts import StreamName
from dominie_contracts.digests import digest_bytes
from dominie_contracts.identity import RUN
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import RunOpened
from dominie_contracts.words import Words
from dominie_eventstore import EventStore
from dominie_kit import Context

_KEPT = 256


class Requests:
    """The requests of runs, read once a tool is called that has use for them."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._known: OrderedDict[tuple[StreamName, str, str], Words | None] = OrderedDict()
        """By their run, what its token says, and the key of its user, who may be erased."""

    async def words(self, context: Context) -> Words | None:
        """The user's words in this run; None where there are none, or not those that the token names."""
        claims = context.claims
        if claims is None or claims.request_digest is None or claims.request_from != "user":
            return None
        stream = StreamName(claims.tenant, RUN, claims.run)
        key = stream, claims.request_digest, context.person.id if context.person else ""
        if key not in self._known:
            self._known[key] = await self._read(stream, claims.request_digest)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]

    async def _read(self, stream: StreamName, digest: str) -> Words | None:
        payloads = [parse_event(event.type, event.envelope.data) for event in await self._store.read(stream)]
        text = next((each.request for each in payloads if isinstance(each, RunOpened)), None)
        return Words(text) if text is not None and digest_bytes(text.encode()) == digest else None
