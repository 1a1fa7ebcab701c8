"""The live page's HTML. Everything that comes from an event is escaped."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import urlencode

from dominie_contracts.line import Line, RunStatus
from dominie_contracts.summary import duration, money
from dominie_gateway.adapters.timeline import NOWHERE, Group, Home, Row, groups
from dominie_gateway.people.sessions import Session

_ASSETS = files("dominie_gateway.adapters") / "assets"
_PAGE = Template((_ASSETS / "page.html").read_text(encoding="utf-8"))
_DOOR = Template((_ASSETS / "door.html").read_text(encoding="utf-8"))
_SIGN_OUT = '<form class="who" method="post" action="logout">{}<button>Sign out</button></form>'
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
ASSETS = {
    "page.css": ("text/css", (_ASSETS / "page.css").read_bytes()),
    "page.js": ("text/javascript", (_ASSETS / "page.js").read_bytes()),
}
_STATUS: dict[RunStatus, str] = {
    "running": "running",
    "waiting": "waits for a person",
    "finished": "finished",
    "held": "answer held back",
    "failed": "failed",
}
_STATES = {"open": "under way", "waiting": "waiting", "done": "done", "failed": "failed", "note": "note"}


def page(lines: Sequence[Line], *, position: int, session: Session | None = None) -> str:
    """The whole page, with these events; it follows those beyond `position` by itself."""
    found = groups(lines)
    runs = "".join(_run(group) for group in reversed(found) if group.home != NOWHERE)
    house = next((_run(group) for group in found if group.home == NOWHERE), "")
    who = "" if session is None else _SIGN_OUT.format(f"<span>{escape(_name(session.principal))}</span>")
    return _PAGE.substitute(position=position, totals=_totals(found), runs=runs, house=house, who=who)


def door(issuers: Iterable[str], next_: str) -> str:
    """Where people sign in."""
    links = "".join(
        f'<li><a href="login?{escape(urlencode({"issuer": name, "next": next_}))}">Sign in with {escape(name)}</a></li>'
        for name in issuers
    )
    return _DOOR.substitute(body=f"<ul>{links}</ul>")


def sorry(why: str, *, signed_in: bool = False) -> str:
    """Why somebody does not see what they wanted to, and what they can do."""
    way = _SIGN_OUT.format("") if signed_in else '<p><a href="login?ask">Sign in</a></p>'
    return _DOOR.substitute(body=f'<p role="alert">{escape(why)}</p>{way}')


def fragments(lines: Sequence[Line], fresh: Iterable[Line]) -> str:
    """The parts of the page that change with `fresh`, the last of `lines`: totals, runs without rows, rows."""
    found = groups(lines)
    changed = {line.position for line in fresh}
    parts = [_totals(found)]
    for group in found:
        rows = [row for row in group.rows if any(step.position in changed for step in row.steps)]
        if rows:
            parts += [_shell(group, ""), *map(_row, rows)]
    return "".join(parts)


def _totals(found: Sequence[Group]) -> str:
    runs = [group for group in found if group.home != NOWHERE]
    counts = Counter(group.status for group in runs)
    shown = "".join(
        f'<li data-status="{status}"><b>{counts[status]}</b> {words}</li>'
        for status, words in _STATUS.items()
        if counts[status]
    )
    cost = sum(group.cost_usd for group in runs)
    spent = f'<li class="cost"><b>{money(cost)}</b> spent</li>' if cost else ""
    return f'<ul id="totals" class="totals">{shown}{spent}</ul>'


def _run(group: Group) -> str:
    return _shell(group, "".join(map(_row, group.rows)))


def _shell(group: Group, rows: str) -> str:
    id_ = _id("run", group.home)
    if group.home == NOWHERE:
        head = '<h2>The house</h2><p class="meta">people, policies, models and tools</p>'
        return f'<article id="{id_}" class="run house" data-words=""><header>{head}</header><ol>{rows}</ol></article>'
    status, run = group.status, group.home.run or ""
    user = f' <span class="for">for</span> {escape(_name(group.user))}' if group.user else ""
    words = escape(f"{group.agent} {group.user or ''} {run} {group.home.tenant}".lower(), quote=True)
    lasted = f"<span>{duration(group.lasted_ms)}</span>" if group.lasted_ms else ""
    cost = f"<span>{money(group.cost_usd)}</span>" if group.cost_usd else ""
    return (
        f'<article id="{id_}" class="run" data-status="{status}" data-words="{words}" aria-labelledby="{id_}-h">'
        f'<header><h2 id="{id_}-h">{escape(_name(group.agent))}{user}</h2>'
        f'<p class="status">{_STATUS[status]}</p>'
        f'<p class="meta">{_time(group.rows[0].began)}<span title="tenant">{escape(group.home.tenant)}</span>'
        f'<code title="run">{escape(run)}</code>{lasted}{cost}</p>'
        f"</header><ol>{rows}</ol></article>"
    )


def _row(row: Row) -> str:
    decision = row.decision
    badge = f'<span class="badge {decision}">{decision}</span>' if decision else ""
    now = f'<span class="now">{escape(row.now)}</span>' if row.now else ""
    took = duration(row.duration_ms) if row.duration_ms else ""
    cost = money(row.cost_usd) if row.cost_usd is not None else ""
    summary = (
        f'{_time(row.began)}<span class="dot" role="img" aria-label="{_STATES[row.status]}"></span>'
        f'<span class="what"><span class="call">{escape(row.call)}</span>{now}</span>'
        f'<span class="verdict">{badge}</span><span class="took">{took}</span><span class="spent">{cost}</span>'
    )
    steps = "".join(
        f'<li>{_time(step.time, "ms")}<span class="who">{escape(_name(step.agent))}</span>'
        f"<span>{escape(step.text)}</span></li>"
        for step in row.steps
    )
    return (
        f'<li id="{_id("row", row.home, row.id)}" class="row" data-run="{_id("run", row.home)}"'
        f' data-state="{row.status}" data-decision="{decision or ""}">'
        f'<details><summary>{summary}</summary><ol class="steps">{steps}</ol></details></li>'
    )


def _id(kind: str, home: Home, row: str = "") -> str:
    return f"{kind}-{sha256(repr((home.tenant, home.run, row)).encode()).hexdigest()[:12]}"


def _name(principal: str | None) -> str:
    """`a-desk` is `desk` where it is plain what it is."""
    name = principal or ""
    return name[2:] if name[:2] in ("a-", "u-", "w-") else name


def _time(at: datetime, precision: str = "s") -> str:
    shown = f"{at:%H:%M:%S}" + (f".{at.microsecond // 1000:03d}" if precision == "ms" else "")
    return f'<time datetime="{at.isoformat()}" data-to="{precision}">{shown}</time>'
