"""The key folder: created once, private, and clear about what is missing."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dominie_contracts.subjects import SERVICES
from dominie_kit.errors import KeyMissing
from dominie_kit.keys.folder import KeyFolder


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys").create()


def test_a_folder_holds_every_key(keys: KeyFolder) -> None:
    assert keys.operator.public.startswith("U")
    assert keys.identity.signer.public == keys.signer
    assert keys.identity.callout_issuer.public.startswith("A")
    assert keys.identity.callout_user.public.startswith("U")
    every = {key for name in SERVICES for key in (keys.service(name).edge.public, keys.service(name).inner.public)}
    assert len(every) == 2 * len(SERVICES)


def test_nobody_else_can_read_it(keys: KeyFolder) -> None:
    keys.person_nkey("u-finance")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in keys.path.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (keys.path, keys.path / "people")} == {0o700}


def test_creating_again_changes_nothing(keys: KeyFolder) -> None:
    before = {path: path.read_text() for path in keys.path.rglob("*.*")}
    KeyFolder(keys.path).create()
    assert {path: path.read_text() for path in keys.path.rglob("*.*")} == before


def test_many_at_once_agree(tmp_path: Path) -> None:
    folders = [KeyFolder(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(KeyFolder.create, folders))
    assert len({folder.operator.public for folder in folders}) == 1
    assert {folder.signer for folder in folders} == {folders[0].identity.signer.public}
    assert not list(tmp_path.rglob(".*"))


def test_a_person_keeps_their_key(keys: KeyFolder) -> None:
    assert keys.person_nkey("u-finance") == keys.person("u-finance").public


def test_the_roster_is_public(keys: KeyFolder) -> None:
    roster = keys.roster()
    assert set(roster.services) == set(SERVICES)
    assert roster.services["tool"] == (keys.service("tool").edge.public, keys.service("tool").inner.public)
    assert not repr(roster).count("'S")


def test_a_service_needs_its_own_file_alone(keys: KeyFolder, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    (alone / "services").mkdir(parents=True)
    for name in ("public.json", "services/tool.json"):
        (alone / name).write_text((keys.path / name).read_text())
    assert KeyFolder(alone).service("tool").edge.public == keys.service("tool").edge.public
    assert KeyFolder(alone).signer == keys.signer


@pytest.mark.parametrize("text", [None, "", "nonsense", "{}", json.dumps({"edge": "SUNO", "inner": "SUNO"})])
def test_a_missing_or_broken_key_says_what_to_do(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "services").mkdir()
    if text is not None:
        (tmp_path / "services/tool.json").write_text(text)
    with pytest.raises(KeyMissing, match=r"tool.json.* run `dominie up`"):
        KeyFolder(tmp_path).service("tool")


def test_the_place_is_outside_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOMINIE_KEYS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    one, other = KeyFolder.of(tmp_path / "one"), KeyFolder.of(tmp_path / "other")
    assert one.path != other.path
    assert one.path.parent == other.path.parent == tmp_path / "state/dominie"
    monkeypatch.setenv("DOMINIE_KEYS", str(tmp_path / "given"))
    assert KeyFolder.of(tmp_path / "one").path == tmp_path / "given"
