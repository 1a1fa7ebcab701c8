"""A text's words as FTS5's own tokenizer parts and stems them, so that an index can hold something else instead."""

import sqlite3
from collections.abc import Callable

Term = Callable[[str, str], str]
"""From a tenant and a word: what the index holds instead of the word; letters and digits alone."""
MAX_WORDS = 64


class Stems:
    """Parts texts into stems (Porter's), without accents and in one case; in memory alone."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.executescript(
            "CREATE VIRTUAL TABLE written USING fts5 (text, tokenize='porter unicode61 remove_diacritics 2');"
            "CREATE VIRTUAL TABLE stems USING fts5vocab ('written', 'instance');"
        )

    def of(self, text: str) -> list[str]:
        """The stems of a text, in order, each as often as it stands there."""
        self._db.execute("INSERT INTO written (rowid, text) VALUES (1, ?)", (text,))
        found = [stem for (stem,) in self._db.execute("SELECT term FROM stems ORDER BY offset")]
        self._db.execute("DELETE FROM written")
        return found

    def close(self) -> None:
        """Forget everything."""
        self._db.close()


def any_of(terms: list[str]) -> str | None:
    """An FTS5 expression that any of these terms fulfils; None where there is none."""
    return " OR ".join(f'"{term}"' for term in list(dict.fromkeys(terms))[:MAX_WORDS]) or None
