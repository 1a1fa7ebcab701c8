"""Who sends more than one may: a bucket for each principal, filled by all its connections. Pure: time is passed in."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

BURST_S = 0.25
"""So many seconds' worth may come at once."""
FORGET_S = 10.0
_STEP_S = 0.2
"""Who was not looked at for longer may have sent evenly meanwhile: their allowance for that time is theirs."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A principal's connection: what it has sent so far, by the clock of its server, in seconds."""

    server: str
    id: int
    tenant: str
    principal: str
    messages: int
    bytes: int
    since_s: float
    at_s: float
    active_s: float = 0.0
    """When it last sent something."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a principal may send in a second, over all its connections together."""

    messages: float
    bytes: float


@dataclass(slots=True)
class _Bucket:
    messages: float
    bytes: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Flood:
    """More than was allowed, beyond what had drained until then."""

    tenant: str
    principal: str
    messages: int
    bytes: int

    @property
    def words(self) -> str:
        """What it was, for whoever is to decide whether it may go on."""
        return f"it flooded: {self.messages:,} messages, {self.bytes / 2**20:,.1f} MB at once"


class Meter:
    """Knows what each connection has sent, and what of that has not drained from its principal's bucket."""

    def __init__(self, allowed: Allowance) -> None:
        self._allowed = allowed
        self._seen: dict[str, dict[int, Connected]] = {}
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def look(self, connections: Iterable[Connected], *, covered_s: float = 0.0) -> list[Flood]:
        """Take in what one server says; who floods by now, each once.

        Whoever was seen before and not since has sent nothing until `covered_s`.
        """
        flooding: dict[tuple[str, str], Flood] = {}
        for connection in connections:
            bucket = self._fill(connection, covered_s)
            who = connection.tenant, connection.principal
            if (flood := self._flood(who, bucket)) is not None:
                flooding[who] = flood
        return list(flooding.values())

    def charge(self, who: tuple[str, str], messages: float, at_s: float) -> Flood | None:
        """Fill a principal's bucket with what no connection counts; whether it floods by now."""
        bucket = self._buckets.setdefault(who, _Bucket(0.0, 0.0, at_s))
        past_s = max(0.0, at_s - bucket.at_s)
        bucket.messages = max(0.0, bucket.messages - past_s * self._allowed.messages) + messages
        bucket.at_s = max(bucket.at_s, at_s)
        return self._flood(who, bucket)

    def drain(self, before_s: float) -> None:
        """Drop the buckets of those who have sent nothing since a time."""
        self._buckets = {who: bucket for who, bucket in self._buckets.items() if bucket.at_s >= before_s}

    def keep(self, server: str, since_s: float) -> None:
        """Drop the connections of a server that were not seen since all were listed: they are gone."""
        seen = self._seen.get(server, {})
        self._seen[server] = {id_: found for id_, found in seen.items() if found.at_s >= since_s}

    def keep_servers(self, servers: Collection[str]) -> None:
        """Drop the servers that do not answer any more, with their connections."""
        self._seen = {server: seen for server, seen in self._seen.items() if server in servers}

    def _flood(self, who: tuple[str, str], bucket: _Bucket) -> Flood | None:
        if bucket.messages > self._allowed.messages * BURST_S or bucket.bytes > self._allowed.bytes * BURST_S:
            return Flood(*who, int(bucket.messages), int(bucket.bytes))
        return None

    def _fill(self, connection: Connected, covered_s: float) -> _Bucket:
        seen = self._seen.setdefault(connection.server, {})
        last = seen.get(connection.id)
        seen[connection.id] = connection
        messages, bytes_ = (last.messages, last.bytes) if last else (0, 0)
        since_s = max(last.at_s, covered_s) if last else connection.since_s
        spare_s = max(0.0, connection.at_s - since_s - _STEP_S)
        who = connection.tenant, connection.principal
        bucket = self._buckets.setdefault(who, _Bucket(0.0, 0.0, connection.at_s))
        past_s = max(0.0, connection.at_s - bucket.at_s)
        bucket.messages = max(0.0, bucket.messages - past_s * self._allowed.messages) + max(
            0.0, connection.messages - messages - spare_s * self._allowed.messages
        )
        bucket.bytes = max(0.0, bucket.bytes - past_s * self._allowed.bytes) + max(
            0.0, connection.bytes - bytes_ - spare_s * self._allowed.bytes
        )
        bucket.at_s = max(bucket.at_s, connection.at_s)
        return bucket


class Holds:
    """Who is kept out for a moment, before that is written, or without; by the monotonic clock."""

    def __init__(self) -> None:
        self._until_s: dict[tuple[str, str], float] = {}

    def hold(self, tenant: str, principal: str, *, until_s: float) -> None:
        """Keep a principal out until a time."""
        self._until_s[tenant, principal] = until_s

    def release(self, tenant: str, principal: str) -> None:
        """Keep it out no more."""
        self._until_s.pop((tenant, principal), None)

    def holds(self, tenant: str, principal: str, *, now_s: float) -> bool:
        """Whether it is kept out now."""
        until_s = self._until_s.get((tenant, principal))
        if until_s is not None and until_s <= now_s:
            self.release(tenant, principal)
        return until_s is not None and until_s > now_s
