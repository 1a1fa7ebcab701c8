"""Amounts of money that a text promises or confirms, in minor units (cents). Pure.

A text is read clause by clause. A clause counts if it speaks of money going to somebody (refund, credit, send, …),
or lists items under one that does, and does not deny it ("could not refund $90", "waits for approval"). Of its
amounts, limits ("over $50") never count, and prices ("your $90 order") only where no other amount stands beside them.
Numbers in words are not read, and one currency is taken for another.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

_NUMBER = r"\d{1,15}(?:[.,'\u00a0\u202f]\d{3})*(?:[.,]\d{1,2})?(?!\d)"
_SCALE = r"(?:\s?(?P<SCALE>k|thousand|million)\b)?"
_SIGN = r"[$€£]"
_CODE = r"(?:USD|EUR|GBP|CHF|CAD|AUD)\b"
_WORD = r"(?:dollars?|euros?|pounds?(?!\s+of)|bucks)\b"
_MONEY = re.compile(
    rf"{_SIGN}\s?(?P<signed>{_NUMBER}){_SCALE.replace('SCALE', 'signed_scale')}"
    rf"|\b{_CODE}\s?(?P<coded>{_NUMBER}){_SCALE.replace('SCALE', 'coded_scale')}"
    rf"|(?<![\w.,])(?P<plain>{_NUMBER}){_SCALE.replace('SCALE', 'plain_scale')}\s?(?:{_SIGN}|{_CODE}|{_WORD})"
    rf"|(?<![\w.,])(?P<cents>{_NUMBER})\s?(?:cents?\b|¢)",
    re.IGNORECASE,
)
_FACTOR = {"k": 1_000, "thousand": 1_000, "million": 1_000_000}

_CLAUSE_END = re.compile(
    r"\n+|(?<=[!?;])\s*|(?<=\.)\s+|(?<!\s),?\s+(?=(?:but|however|although|though|instead)\b)|,\s+(?=(?:and|so|then)\b)",
    re.IGNORECASE,
)
_GIVES = re.compile(
    r"\b(?:re-?fund|reimburs|compensat|remit|rebate|payout|cash ?back|money back|transfer|deposit)\w*"
    r"|\b(?:credit(?:ed|ing|s)?|send(?:ing|s)?|sent|pa(?:y|ys|ying|id|yment)|wir(?:e|ed|ing)|return(?:ed|ing)"
    r"|issu(?:ed|ing)|giv(?:e|en|ing) you|gave you)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:cannot|can not|unable|not able|not possible|no refunds?|never|declin\w+|den(?:y|ied)|refused?|reject\w*"
    r"|(?:could|will|did|do|does|has|have|was|were|is|are|would) not|(?:can|could|wo|did|do|does|has|have|was|were|is"
    r"|are|would)n?['\u2019]?n?t|not (?:yet )?(?:approved|allowed|refunded|issued|sent|credited)|needs?|requires?"
    r"|pending|awaits?|awaiting|wait(?:s|ing)? for|(?:once|if|when|until)\s+(?:\w+\s+){0,3}approv\w*)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\s*(?:do|does|did|shall|should|would|could|can|may|is|are|what|how|why|when|want)\b.*\?\s*$", re.I | re.S
)
_ITEM = re.compile(r"\s*(?:[-*•|]|\d+[.)]\s|amount|total|sum\b|[$€£\d])|[^.:]{1,40}:\s", re.IGNORECASE)
_LIMIT_BEFORE = re.compile(
    r"(?:\b(?:over|above|below|under|than|up to|exceed(?:s|ing)?|limit(?: is| of)?|at most|costs?|worth"
    r"|charged(?: you)?|you(?:['\u2019]ve| have| had)? paid)|\d\s?(?:\w+\s)?(?:out )?of (?:your|the|an?)(?: \w+)?)\s*$",
    re.IGNORECASE,
)
_PRICE_AFTER = re.compile(
    r"\s*(?:order|purchase|invoice|bill|plan|subscription|item|product|price|limit)\b", re.IGNORECASE
)
_WINDOW = 60
_MOST_SUMS = 4096


def promised(text: str) -> tuple[int, ...]:
    """The distinct amounts that a text promises or confirms, in cents, ascending."""
    found: set[int] = set()
    gives = False
    for clause in _CLAUSE_END.split(text):
        if _GIVES.search(clause):
            gives = not _ASKS.match(clause)
        elif not _ITEM.match(clause):
            gives = False
        gives = gives and not _DENIES.search(clause)
        if gives:
            found.update(_given(clause))
    return tuple(sorted(found - {0}))


def unkept(amounts: tuple[int, ...], done: tuple[int, ...]) -> int | None:
    """The largest amount that was promised beyond what was done; None if all of it was.

    An amount is explained if it is the sum of some of what was done. The others together must fit into what the
    explained ones leave.
    """
    sums = _sums(done)
    open_ = [amount for amount in amounts if amount not in sums]
    explained = sum(amount for amount in amounts if amount in sums)
    left = sum(done) - min(sum(done), explained)
    return max(open_) if sum(open_) > left else None


def _given(clause: str) -> Iterator[int]:
    amounts: list[int] = []
    prices: list[int] = []
    for money in _MONEY.finditer(clause):
        if _LIMIT_BEFORE.search(clause[max(0, money.start() - _WINDOW) : money.start()]):
            continue
        after = clause[money.end() : money.end() + _WINDOW]
        (prices if _PRICE_AFTER.match(after) else amounts).append(_cents(money))
    yield from amounts or prices


def _cents(money: re.Match[str]) -> int:
    kind = next(name for name in ("signed", "coded", "plain", "cents") if money[name] is not None)
    scale = 1 if kind == "cents" else 100 * _FACTOR.get((money[f"{kind}_scale"] or "").lower(), 1)
    whole, mark, rest = re.sub(r"['\u00a0\u202f]", "", money[kind]).replace(",", ".").rpartition(".")
    decimal = f"{whole.replace('.', '')}.{rest}" if mark and len(rest) < 3 else f"{whole}{rest}".replace(".", "")
    return int(Decimal(decimal) * scale)


def _sums(done: tuple[int, ...]) -> set[int]:
    sums = {0}
    for amount in done:
        sums |= {amount + other for other in sums}
        if len(sums) > _MOST_SUMS:
            return {*done, sum(done)}
    return sums
