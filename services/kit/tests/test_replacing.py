"""A rotation on the disk: whatever ends it, each file is whole, and what was decided can be carried through."""

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dominie.keys import KeyPair
from dominie.protected import Protected, protect, read_key_file
from dominie_contracts import Invalid, Unauthenticated
from dominie_contracts.keys import Replacement
from dominie_kit.errors import KeyMissing, KeysUnwritten, RotationBusy
from dominie_kit.house.broker_config import server_config
from dominie_kit.keys.folder import KeyFolder, Roster
from dominie_kit.keys.replacing import OPERATORS, Part, Rotation, Underway
from dominie_kit.keys.rotation import covers

EVERY = (OPERATORS, Part("callout"), Part("callout-user"), Part("warden"), Part("service", "tool"))


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys").create()


def now(keys: KeyFolder) -> Roster:
    """The keys that are there now, as another process reads them."""
    return KeyFolder(keys.path).roster()


def publics(roster: Roster) -> set[str]:
    one = {roster.operator, roster.callout_issuer, roster.callout_user, roster.warden}
    return one | {nkey for pair in roster.services.values() for nkey in pair}


def files(keys: KeyFolder) -> dict[Path, str]:
    return {path: path.read_text() for path in keys.path.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_what_is_begun_is_carried_through_by_whoever_comes_next(keys: KeyFolder) -> None:
    before = now(keys)
    begun = Rotation(keys).begin(EVERY)
    assert publics(now(keys)) == publics(before)
    assert {each.previous for each in begun.replaced} <= publics(before)
    Rotation(keys).settle()
    after = now(keys)
    assert {each.nkey for each in begun.replaced} <= publics(after)
    assert not {each.previous for each in begun.replaced} & publics(after)
    assert keys.identity.signer.public == KeyFolder(keys.path).identity.signer.public
    left = Rotation(keys).find()
    assert left is not None and (left.phase, left.replaced) == ("unrecorded", begun.replaced)
    Rotation(keys).end()
    assert Rotation(keys).find() is None
    assert {path.stat().st_mode & 0o777 for path in keys.path.rglob("*") if path.is_file()} == {0o600}
    assert not list(keys.path.rglob(".*"))


def test_one_that_ended_between_two_files_goes_on_with_the_other(keys: KeyFolder) -> None:
    begun = Rotation(keys).begin(EVERY)
    (keys.path / "rotation" / "operator.seed").replace(keys.path / "operator.seed")
    Rotation(keys).install()
    Rotation(keys).install()
    assert {each.nkey for each in begun.replaced} <= publics(now(keys))


def test_what_was_made_and_not_decided_is_gone(keys: KeyFolder) -> None:
    before = publics(now(keys))
    Rotation(keys).begin(EVERY)
    (keys.path / "rotation.json").unlink()
    assert Rotation(keys).find() is None
    Rotation(keys).settle()
    assert publics(now(keys)) == before
    begun = Rotation(keys).begin((Part("warden"),))
    Rotation(keys).install()
    assert publics(now(keys)) - before == {begun.replaced[0].nkey}


@pytest.mark.parametrize(("phase", "taken"), [("install", True), ("overlap", True), ("alone", False)])
def test_the_broker_takes_the_old_keys_as_long_as_both_are_to_be(keys: KeyFolder, phase: str, taken: bool) -> None:
    rotation = Rotation(keys)
    begun = rotation.begin(EVERY)
    rotation.install()
    rotation.note(Underway.model_validate(begun.model_dump() | {"phase": phase}))
    text = server_config(KeyFolder(keys.path).roster(rotation.retiring()), store=keys.path)
    for each in begun.replaced:
        assert each.nkey in text
        assert (each.previous in text) is (taken and each.use != "callout")


def test_an_old_connection_keeps_its_own_rights_and_no_others(keys: KeyFolder) -> None:
    before = now(keys)
    alone = server_config(before, store=keys.path)
    rotation = Rotation(keys)
    rotation.begin(EVERY)
    rotation.install()
    both = server_config(KeyFolder(keys.path).roster(rotation.retiring()), store=keys.path)
    for nkey in (before.operator, before.warden, *before.services["tool"]):
        (line,) = (line for line in alone.splitlines() if nkey in line and "permissions" in line)
        user = line[line.index(f"nkey: {nkey}") :].strip(" ]}")
        assert user in both


@pytest.mark.parametrize("text", ["", "{}", '{"replaced": []', '{"replaced": [], "phase": "later"}', "\x00\xff"])
def test_a_rotation_that_cannot_be_read_stops_what_would_guess(keys: KeyFolder, text: str) -> None:
    (keys.path / "rotation.json").write_bytes(text.encode("latin-1"))
    for ask in (Rotation(keys).find, Rotation(keys).retiring, Rotation(keys).settle):
        with pytest.raises(KeyMissing, match=r"rotation\.json"):
            ask()


@pytest.mark.parametrize("name", ["operator.seed", "warden.seed", "identity.json", "services/tool.json"])
@pytest.mark.parametrize("hurt", [Path.unlink, lambda path: path.write_text("SUNO")], ids=["gone", "nonsense"])
def test_where_a_present_key_cannot_be_read_nothing_is_begun(
    keys: KeyFolder, name: str, hurt: Callable[[Path], object]
) -> None:
    hurt(keys.path / name)
    before = files(keys)
    with pytest.raises(KeyMissing, match=Path(name).name):
        Rotation(KeyFolder(keys.path)).begin(EVERY)
    assert files(keys) == before


def test_a_protected_key_is_replaced_by_one_that_is(
    keys: KeyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected = protect(KeyPair.generate(), "correct horse battery")
    keys.operator_file.write_text(protected)
    roster = now(keys)
    with pytest.raises(Invalid, match="needs a passphrase"):
        Rotation(keys).begin((OPERATORS,))
    (said := tmp_path / "passphrase").write_text("wrong horse battery")
    said.chmod(0o600)
    monkeypatch.setenv("DOMINIE_PASSPHRASE_FILE", str(said))
    with pytest.raises(Unauthenticated):
        Rotation(keys).begin((OPERATORS,))
    assert keys.operator_file.read_text() == f"{protected}" and Rotation(keys).find() is None
    said.write_text("correct horse battery")
    Rotation(keys).begin((OPERATORS,))
    Rotation(keys).install()
    found = read_key_file(keys.operator_file)
    assert isinstance(found, Protected) and found.public != roster.operator
    assert found.open("correct horse battery", keys.operator_file).public == now(keys).operator


def test_one_rotates_at_a_time(keys: KeyFolder) -> None:
    with Rotation(keys).lock():
        with pytest.raises(RotationBusy), Rotation(keys).lock():
            pass
    with Rotation(keys).lock():
        pass


def test_a_folder_that_takes_nothing_says_so(keys: KeyFolder) -> None:
    shutil.rmtree(keys.path)
    with pytest.raises(KeysUnwritten, match="No such file"), Rotation(keys).lock():
        pass


def test_a_full_disk_changes_no_key(keys: KeyFolder) -> None:
    """As far as a process sees one: no file grows."""
    before = files(keys)
    code = (
        "import sys; from pathlib import Path; from dominie_kit.keys.folder import KeyFolder; "
        "from dominie_kit.keys.replacing import *; from dominie_kit.errors import KeysUnwritten\n"
        "try: Rotation(KeyFolder(Path(sys.argv[1]))).begin((OPERATORS, Part('service', 'tool')))\n"
        "except KeysUnwritten as error: print(error)"
    )

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    found = subprocess.run(
        [sys.executable, "-B", "-c", code, str(keys.path)],
        preexec_fn=full,
        stdout=subprocess.PIPE,
        text=True,
        timeout=50,
    )
    assert "the keys there stay as they are" in found.stdout
    assert files(keys) == before


def test_a_rotation_covers_what_it_replaces() -> None:
    pair = tuple(
        Replacement(use="service", name=name, nkey="U2", previous="U1") for name in ("tool/edge", "tool/inner")
    )
    begun = Underway(replaced=(*pair, Replacement(use="warden", name="identity", nkey="U4", previous="U3")))
    assert covers(begun, (Part("service", "tool"),)) and covers(begun, (Part("service", "tool"), Part("warden")))
    assert not covers(begun, (Part("service", "model"),)) and not covers(begun, (Part("warden"), OPERATORS))
    assert begun.holders == ("identity", "tool")
