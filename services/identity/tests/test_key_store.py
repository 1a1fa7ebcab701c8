"""People's keys: one each, made once, destroyed so that nothing of them is left in the file."""

import sqlite3
import stat
from base64 import b64decode
from contextlib import closing
from pathlib import Path

import pytest

from dominie_contracts import Forbidden
from dominie_contracts.keys import AskSubjectKeys, SubjectKey
from dominie_identity.adapters import key_store
from dominie_identity.adapters.key_store import KeyStore
from dominie_kit.personal.sealing import new_key

pytestmark = pytest.mark.anyio
DANA = ("acme", "u-dana")


def traces(folder: Path, secret: str) -> list[str]:
    """The files in which a key stands, as text or as bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    needles = (secret.encode(), b64decode(secret), b64decode(secret).hex().encode())
    return [path.name for path in files if any(needle in path.read_bytes() for needle in needles)]


def test_a_key_is_made_once_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "identity" / "keys.sqlite"
    with closing(KeyStore(path)) as one, closing(KeyStore(path)) as other:
        found = one.of(*DANA)
        assert one.of(*DANA) == other.of(*DANA) == found
        assert len({found.secret, one.of("acme", "u-erin").secret, one.of("other", "u-dana").secret}) == 3
    with closing(KeyStore(path)) as again:
        assert again.of(*DANA) == found
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(b64decode(found.secret)) == 32


def test_a_destroyed_key_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    with closing(KeyStore(path)) as keys:
        others = [keys.of("acme", f"u-{number}") for number in range(200)]
        gone = others[77]
        assert traces(tmp_path, gone.secret) == ["keys.sqlite"]
        keys.bar("acme", gone.subject, 1)
        keys.destroy("acme", [gone.id])
        assert traces(tmp_path, gone.secret) == []
        assert [key for key in others if traces(tmp_path, key.secret) != ["keys.sqlite"]] == [gone]


async def test_who_was_erased_has_no_key_until_registered_anew() -> None:
    with closing(KeyStore()) as keys:
        old = keys.of(*DANA)
        keys.bar(*DANA, 5)
        with pytest.raises(Forbidden, match="erased"):
            keys.of(*DANA)
        keys.destroy("acme", [old.id])
        keys.welcome(*DANA, 6)
        assert keys.of(*DANA).secret != old.secret
        assert not (await keys.keys(AskSubjectKeys(tenant="acme", ids=(old.id,)))).keys


async def test_keys_are_found_by_their_ids_in_their_tenant() -> None:
    with closing(KeyStore()) as keys:
        dana, erin = keys.of(*DANA), keys.of("acme", "u-erin")
        asked = AskSubjectKeys(tenant="acme", subject="u-dana", ids=(erin.id, "f" * 24))
        assert (await keys.keys(asked)).keys == (dana, erin)
        assert not (await keys.keys(AskSubjectKeys(tenant="other", ids=(erin.id,)))).keys


def test_what_is_older_than_what_is_known_neither_bars_nor_unbars() -> None:
    with closing(KeyStore()) as keys:
        keys.bar(*DANA, 5)
        keys.replay(*DANA, 1, erased=False)
        with pytest.raises(Forbidden):
            keys.of(*DANA)
        keys.replay(*DANA, 7, erased=False)
        found = keys.of(*DANA)
        keys.replay(*DANA, 5, erased=True)
        assert keys.of(*DANA) == found


def test_no_key_is_made_between_a_look_and_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.sqlite"
    with closing(KeyStore(path)) as one, closing(KeyStore(path)) as other:
        other._db.execute("PRAGMA busy_timeout = 0")

        def made(person: str) -> SubjectKey:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.ask(*DANA)
            return new_key(person)

        monkeypatch.setattr(key_store, "new_key", made)
        one.of(*DANA)
        assert other.ask(*DANA) and not other.ask(*DANA)
