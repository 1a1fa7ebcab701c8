"""The links in a text, as people are shown them: with a scheme, with `www.`, or a host and a path. Pure."""

import re

from dominie_contracts.typed import plain

ENOUGH = 16
MORE = "*"
"""Said where there are more: it is no host, so no list of hosts has it."""
_HOST = r"(?:[\w-]{1,63}[.。｡]){1,9}[^\W\d_]{2}[\w-]{0,61}"
"""A name with a dot, whose last part begins with letters; the full stops of other scripts part names, too."""
_AFTER = "._。｡"
"""Of the sentence, or of what makes it bold; a full stop at a name's end makes it no other."""
_LINK = re.compile(
    rf"[a-z][a-z0-9+.-]{{0,31}}://(?P<any>[^\s\"'<>()/\\?#]{{1,253}})"
    rf"|(?<![^\W_])www[.。｡](?P<www>[\w.。｡-]{{1,250}})"
    rf"|(?<![\w-])(?P<host>{_HOST})[.。｡]?(?:[/\\]|[?#]\w|:\d)"
    rf"|(?://|\]\(\s{{0,9}}<?|href\s{{0,9}}=\s{{0,9}}[\"']?)(?P<named>{_HOST})",
    re.IGNORECASE,
)
_PORT = re.compile(r":\d*$")


def links(text: str) -> list[str]:
    """The hosts that a text leads to, as it names them, in lower case; a dotted word alone is none. At most 16 are
    said, and `*` where there are more."""
    found: set[str] = set()
    for link in _LINK.finditer(plain(text)):
        _, _, host = next(said for said in link.groups() if said).lower().rpartition("@")
        host = _PORT.sub("", host).rstrip(_AFTER)
        if host not in found and len(found) == ENOUGH:
            return [MORE, *sorted(found)]
        found.add(host)
    return sorted(found)
