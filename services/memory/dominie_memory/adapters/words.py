"""From a question in words to a full-text query in which nothing but words is left. Pure."""

import re

_WORD = re.compile(r"[^\W_]+")
MAX_WORDS = 64


def any_of(question: str) -> str | None:
    """An FTS5 expression that any word of the question fulfils, each one quoted; None where there is no word.

    Letters and digits alone get through, so no operator, column, prefix or quote of FTS5's syntax does
    (SQLite, "FTS5 Full-text Query Syntax").
    """
    words = dict.fromkeys(word.casefold() for word in _WORD.findall(question))
    return " OR ".join(f'"{word}"' for word in list(words)[:MAX_WORDS]) or None
