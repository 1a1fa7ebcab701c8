"""Keys under a passphrase: what opens them, what does not, and what is left when nothing could be done."""

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
import typer
from keyring.backend import KeyringBackend
from keyring.backends import null
from typer.testing import CliRunner, Result

from dominie import Invalid, Problem, Unauthenticated, passphrases
from dominie.commands import register
from dominie.keys import KeyPair
from dominie.passphrases import load_key, public_key, sealed_like
from dominie.protected import Protected, protect, read_key_file

PASSPHRASE = "correct horse battery"
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No keyring of this machine's, no passphrase from another test."""
    before = keyring.get_keyring()
    keyring.set_keyring(null.Keyring())  # type: ignore[no-untyped-call]  # of the library
    monkeypatch.delenv("DOMINIE_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("DOMINIE_KEYS", raising=False)
    yield
    keyring.set_keyring(before)


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says the passphrase to programs."""
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    path.chmod(0o600)
    monkeypatch.setenv("DOMINIE_PASSPHRASE_FILE", str(path))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A key that this process has never opened."""
    found = tmp_path / "operator.seed"
    found.write_text(protect(KeyPair.generate(), PASSPHRASE))
    return found


class Ring(KeyringBackend):
    """A keyring in memory; it may refuse, or give something else back."""

    priority = 5

    def __init__(self, *, refuses: bool = False, lies: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of the library
        self.kept: dict[tuple[str, str], str] = {}
        self.refuses, self.lies = refuses, lies

    def get_password(self, service: str, username: str) -> str | None:
        return "another" if self.lies else self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.refuses:
            raise RuntimeError("locked")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


def dominie(*arguments: object) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def test_a_passphrase_opens_a_key_and_no_other_does(path: Path, said: Path) -> None:
    public = public_key(path)
    said.write_text("wrong horse battery")
    with pytest.raises(Unauthenticated, match="does not open"):
        load_key(path)
    said.write_text(PASSPHRASE)
    assert load_key(path).public == public
    another = KeyPair.generate()
    path.write_text(sealed_like(path, another))
    found = read_key_file(path)
    assert isinstance(found, Protected) and found.open(PASSPHRASE, path).seed == another.seed
    assert another.seed not in path.read_text()


@pytest.mark.parametrize("field", ["public", "entry", "ops", "memory", "salt", "sealed"])
def test_a_file_that_somebody_changed_opens_nothing(path: Path, said: Path, field: str) -> None:
    held = json.loads(path.read_text())
    other = json.loads(protect(KeyPair.generate(), PASSPHRASE))
    changed = {"entry": "e", "ops": 4, "memory": 2**25}.get(field, other[field])
    path.write_text(json.dumps(held | {field: changed}))
    found = read_key_file(path)
    assert isinstance(found, Protected)
    with pytest.raises(Unauthenticated):
        found.open(PASSPHRASE, path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "nonsense", "{}", "[1]", "SUNO", "\x00\x01"),
        '{"dominie_key": 2}',
        '{"dominie_key":1,"public":"UNO","salt":"","sealed":""}',
    ],
)
def test_what_is_no_key_is_said_and_not_quoted(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(Invalid, match="no key can be read") as refused:
        load_key(path)
    assert "nonsense" not in str(refused.value)


@pytest.mark.parametrize("more", [{"memory": 2**40}, {"ops": 10**9}, {"ops": 0}, {"memory": 1}, {"salt": "!"}])
def test_a_file_that_asks_for_too_much_or_too_little_is_refused_at_once(
    path: Path, said: Path, more: dict[str, object]
) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    with pytest.raises((Invalid, Unauthenticated)):
        load_key(path)


def _others_read(path: Path) -> None:
    path.chmod(0o640)


@pytest.mark.parametrize(
    ("hurt", "why"),
    [
        (Path.unlink, "no passphrase can be read"),
        (_others_read, "others can read"),
        (lambda path: path.write_text("\n"), "is empty"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "no passphrase can be read"),
    ],
    ids=["gone", "others", "empty", "binary"],
)
def test_a_file_of_a_passphrase_that_cannot_be_trusted_is_refused(
    path: Path, said: Path, hurt: Callable[[Path], object], why: str
) -> None:
    hurt(said)
    with pytest.raises(Invalid, match=why):
        load_key(path)


def test_where_nobody_can_be_asked_that_is_said(path: Path) -> None:
    with pytest.raises(Invalid, match="set DOMINIE_PASSPHRASE_FILE"):
        load_key(path)


@pytest.mark.parametrize("kept", ["passphrase", "keyring"])
def test_a_key_is_protected_and_plain_again(project: Path, said: Path, kept: str) -> None:
    path = project.parent / "keys" / "people" / "u-finance.seed"
    seed, old_s = path.read_text(), 1_700_000_000
    os.utime(path, (old_s, old_s))
    ring = Ring()
    if kept == "keyring":
        keyring.set_keyring(ring)
    first = dominie("protect", "finance", "--json")
    assert json.loads(first.stdout) == {"key": str(path), "nkey": KeyPair(seed).public, "kept": kept}, first.output
    assert seed not in path.read_text() and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_mtime == old_s and [each.name for each in path.parent.iterdir()] == [path.name]
    held = read_key_file(path)
    assert isinstance(held, Protected) and len(ring.kept) == (kept == "keyring")
    secret = next(iter(ring.kept.values()), PASSPHRASE)
    assert held.open(secret, path).seed == seed
    assert dominie("unprotect", "finance").exit_code == 0
    assert path.read_text().strip() == seed and ring.kept == {}


@pytest.mark.parametrize("ring", [Ring(refuses=True), Ring(lies=True)], ids=["refuses", "lies"])
def test_a_keyring_that_keeps_nothing_protects_nothing(project: Path, ring: Ring) -> None:
    path = project.parent / "keys" / "people" / "u-finance.seed"
    before = path.read_text()
    keyring.set_keyring(ring)
    assert isinstance(dominie("protect", "finance").exception, Problem)
    assert path.read_text() == before and len(list(path.parent.iterdir())) == 1


def test_a_key_whose_keyring_is_gone_is_not_opened(tmp_path: Path) -> None:
    keyring.set_keyring(ring := Ring())
    entry, secret = passphrases.keep(ring)
    (path := tmp_path / "key").write_text(protect(KeyPair.generate(), secret, entry=entry))
    keyring.set_keyring(Ring())
    with pytest.raises(Unauthenticated, match="in a keyring that this program does not have"):
        load_key(path)
    keyring.set_keyring(ring)
    assert load_key(path).public == public_key(path)


@pytest.mark.parametrize("name", ["nobody", "../operator", "u-nobody"])
def test_a_key_that_is_not_there_is_not_protected(project: Path, said: Path, name: str) -> None:
    assert isinstance(dominie("protect", name).exception, Problem)
    assert not list((project.parent / "keys").glob("*.seed"))


def test_a_short_passphrase_protects_nothing(project: Path, said: Path) -> None:
    said.write_text("short")
    path = project.parent / "keys" / "people" / "u-finance.seed"
    before = path.read_text()
    assert "at least 8" in str(dominie("protect", "finance").exception)
    assert path.read_text() == before


def typed(folder: Path, *arguments: str, answers: tuple[str, ...]) -> tuple[int, str]:
    """What a person at a terminal sees who types these answers, and how it ends."""
    terminal, theirs = pty.openpty()
    program = [sys.executable, "-c", "from dominie.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    child = subprocess.Popen(
        program, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen, left, deadline = b"", list(answers), time.monotonic() + WAIT_S
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # it has closed the terminal
                break
            if left and seen.count(b": ") > len(answers) - len(left):  # it asks once echo is off
                os.write(terminal, f"{left.pop(0)}\n".encode())
    finally:
        if time.monotonic() >= deadline:
            child.kill()
        os.close(terminal)
    return child.wait(WAIT_S), seen.decode()


def test_a_person_types_it_twice_and_nobody_sees_it(project: Path) -> None:
    path = project.parent / "keys" / "people" / "u-finance.seed"
    seed = path.read_text()
    code, seen = typed(project, "keys", "protect", "finance", answers=(PASSPHRASE, "something else"))
    assert code == 1 and "not the same" in seen and path.read_text() == seed
    code, seen = typed(project, "keys", "protect", "finance", answers=(PASSPHRASE, PASSPHRASE))
    assert code == 0 and "under your passphrase" in seen and PASSPHRASE not in seen
    code, seen = typed(project, "keys", "unprotect", "finance", answers=("wrong horse battery",))
    assert code == 1 and "does not open" in seen and seed not in path.read_text()
    code, seen = typed(project, "keys", "unprotect", "finance", answers=(PASSPHRASE,))
    assert code == 0 and path.read_text().strip() == seed
