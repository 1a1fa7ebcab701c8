"""The sums of what calls may have together: what is booked, what is free, and what becomes of a booking. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from dominie_contracts import Payload
from dominie_contracts.action import ActionState, Limit
from dominie_contracts.guardrail import Booked, Booking, Reservation, Reserve, Share, SharesReserved, SharesSettled

_Sum = tuple[str, str, str]
"""Policy, scope and window."""
_Took = tuple[tuple[_Sum, int], ...]
_Lack = tuple[Share, Booked]
"""A share that is wanted, and how much of it is not there yet."""
_KEPT = 100_000
_WINDOWS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass(slots=True)
class Sums:
    """What the events of one tenant's month add up to."""

    version: int = 0
    used: dict[_Sum, int] = field(default_factory=dict)
    open: dict[str, Booking] = field(default_factory=dict)
    """By action: those of which nobody has seen yet what became of them."""
    latest: dict[_Sum, tuple[str, str]] = field(default_factory=dict)
    """Category and id of the last action that took a share: its trail says whose it is."""
    kept: dict[str, _Took] = field(default_factory=dict)
    """What the last actions have used for good: one that asks again was repeated meanwhile."""

    def apply(self, event: Payload) -> None:
        """Take in an event."""
        self.version += 1
        match event:
            case SharesReserved():
                for booking in event.bookings:
                    if booking.action in self.open:  # it took more, and what it had is part of this
                        self._add(self.open[booking.action].shares, -1)
                    self.open[booking.action] = booking
                    self._add(booking.shares, 1)
                    self.latest |= {_sum(share): (booking.category, booking.action) for share in booking.shares}
            case SharesSettled():
                for action in event.kept:
                    self._keep(action)
                for action in event.released:
                    if action in self.open:
                        self._add(self.open.pop(action).shares, -1)
            case _:
                pass

    def has(self, action: str, booking: Booking | None) -> Mapping[_Sum, int]:
        """What an action has: what it used for good, and what it has booked."""
        found = Counter(dict(self.kept.get(action, ())))
        for share in booking.shares if booking else ():
            found[_sum(share)] += share.amount
        return found

    def _keep(self, action: str) -> None:
        self.kept[action] = tuple(self.has(action, self.open.pop(action, None)).items())
        if len(self.kept) > _KEPT:
            del self.kept[next(iter(self.kept))]

    def _add(self, shares: Iterable[Booked], sign: int) -> None:
        for share in shares:
            name = _sum(share)
            self.used[name] = self.used.get(name, 0) + sign * share.amount


@dataclass(frozen=True, slots=True)
class Use:
    """What of a limit is used in the window that is now, in one scope; `latest` of those who took a share of it."""

    limit: Limit
    scope: str
    window: str
    used: int
    reserved: int
    resets_s: int
    latest: tuple[str, str] | None = None

    @property
    def left(self) -> int:
        """What may yet be taken; a limit that was lowered may be exceeded by what was done before."""
        return max(0, self.limit.most - self.used - self.reserved)

    @property
    def rank(self) -> tuple[float, str, str]:
        """Smaller has less left, as a share of the whole."""
        return self.left / self.limit.most if self.limit.most else 0.0, self.limit.policy, self.scope


def uses(sums: Sums, limits: Iterable[Limit], now: datetime) -> list[Use]:
    """What of limits is used now, by whoever has used some; a limit that nobody has used is there once, of nobody."""
    known = {(limit.policy, now.strftime(_WINDOWS[limit.within])): limit for limit in limits}
    reserved, found = _reserved(sums), list[Use]()
    for name in sums.used:
        limit = known.get((name[0], name[2]))
        if limit is not None and name[1].split()[0] == limit.per:
            found.append(_use(sums, limit, name, reserved, now))
    named = {use.limit.policy for use in found}
    nobodys = (((policy, "", window), limit) for (policy, window), limit in known.items() if policy not in named)
    return found + [_use(sums, limit, name, reserved, now) for name, limit in nobodys]


def uses_in(sums: Sums, limits: Iterable[Limit], now: datetime, scopes: Collection[str]) -> list[Use]:
    """What of limits is used now in some scopes, whether that is anything or not."""
    reserved = _reserved(sums)
    named = [
        (limit, (limit.policy, scope, now.strftime(_WINDOWS[limit.within])))
        for limit in limits
        for scope in scopes
        if scope.split()[0] == limit.per
    ]
    return [_use(sums, limit, name, reserved, now) for limit, name in named]


def _reserved(sums: Sums) -> Mapping[_Sum, int]:
    found = Counter[_Sum]()
    for booking in sums.open.values():
        for share in booking.shares:
            found[_sum(share)] += share.amount
    return found


def _use(sums: Sums, limit: Limit, name: _Sum, reserved: Mapping[_Sum, int], now: datetime) -> Use:
    held = reserved.get(name, 0)
    used = sums.used.get(name, 0) - held
    return Use(limit, name[1], name[2], used, held, _resets_s(limit.within, now), sums.latest.get(name))


def month(now: datetime) -> str:
    """The id of the stream that holds a moment's bookings; no window reaches over its end."""
    return now.strftime(_WINDOWS["month"])


def reserve(
    sums: Sums, wanted: Sequence[Reserve], now: datetime, *, renew_ms: int
) -> tuple[list[Reservation], list[Booking]]:
    """Answer a page of commands, the first one first: each has all of its shares, or none.

    An action that asks again takes what it lacks, for its key says nothing of how much it is now; it gives none back,
    for the smaller one may be what is done. What it booked longer than `renew_ms` ago it books anew.
    """
    answers, bookings = list[Reservation](), dict[str, Booking]()
    taken = Counter[_Sum]()
    for command in wanted:
        held = bookings.get(command.action) or sums.open.get(command.action)
        lacks = _lacks(command, sums.has(command.action, held), now)
        if not lacks and (held is None or _ms(now) < held.at_ms + renew_ms):
            answers.append(Reservation(granted=True))
            continue
        short = _short(sums, lacks, taken, now)
        answers.append(short or Reservation(granted=True))
        if short is None:
            for _, booked in lacks:
                taken[_sum(booked)] += booked.amount
            bookings[command.action] = _booking(command, held, lacks, now)
    return answers, list(bookings.values())


def _lacks(command: Reserve, has: Mapping[_Sum, int], now: datetime) -> list[_Lack]:
    """What of the shares that an action wants it has not got yet; of a share of nothing, that it is counted."""
    wanted = [(share, _booked(share, now)) for share in command.shares]
    return [
        (share, booked.model_copy(update={"amount": booked.amount - has.get(_sum(booked), 0)}))
        for share, booked in wanted
        if booked.amount > has.get(_sum(booked), -1)
    ]


def _short(sums: Sums, lacks: Sequence[_Lack], taken: Mapping[_Sum, int], now: datetime) -> Reservation | None:
    for share, booked in lacks:
        used = sums.used.get(_sum(booked), 0) + taken.get(_sum(booked), 0)
        if used + booked.amount > share.most:
            return Reservation(granted=False, policy=share.policy, used=used, resets_s=_resets_s(share.within, now))
    return None


def _booking(command: Reserve, held: Booking | None, lacks: Sequence[_Lack], now: datetime) -> Booking:
    """All that an action has booked once it has what it lacks."""
    shares = {_sum(share): share for share in held.shares} if held else {}
    for _, booked in lacks:
        before = shares.get(_sum(booked))
        amount = booked.amount + (before.amount if before else 0)
        shares[_sum(booked)] = booked.model_copy(update={"amount": amount})
    return Booking(action=command.action, category=command.category, at_ms=_ms(now), shares=tuple(shares.values()))


def verdict(state: ActionState, *, booked_ms: int, now_ms: int, vanish_ms: int) -> bool | None:
    """Whether an action's share is used (True) or free again (False); None: nobody can tell yet.

    What was started counts until it has ended; where whoever ran it is gone, or nobody can settle it, it counts for
    good, for it may have been done. What has not begun in time has vanished.
    """
    match state.status:
        case "finished":
            return state.finished is not None and state.finished.outcome == "ok"
        case "unknown":
            return True
        case "started":
            return True if state.started is not None and now_ms >= state.started.lease_ms + vanish_ms else None
        case _:
            return None if now_ms < booked_ms + vanish_ms else False


def settled(verdicts: Iterable[tuple[str, bool | None]]) -> SharesSettled | None:
    """What is written of these; None where nothing is."""
    seen = [(action, found) for action, found in verdicts if found is not None]
    kept = tuple(action for action, found in seen if found)
    released = tuple(action for action, found in seen if not found)
    return SharesSettled(kept=kept, released=released) if seen else None


def _booked(share: Share, now: datetime) -> Booked:
    window = now.strftime(_WINDOWS[share.within])
    return Booked(policy=share.policy, scope=share.scope, window=window, amount=share.amount)


def _resets_s(within: Literal["hour", "day", "month"], now: datetime) -> int:
    match within:
        case "hour":
            end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        case "day":
            end = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        case "month":
            first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            end = (first + timedelta(days=32)).replace(day=1)
    return max(1, int((end - now).total_seconds()))


def _ms(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def _sum(share: Booked) -> _Sum:
    return share.policy, share.scope, share.window
