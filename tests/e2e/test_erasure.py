"""A person is erased in a log of 10,000 events: found in every store before, with the key; in none after."""

import gzip
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, closing
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

import dominie
from dominie_contracts import Envelope
from dominie_contracts.envelope import unpack_position
from dominie_contracts.keys import SubjectKey
from dominie_contracts.personal import open_parts, token_of
from dominie_contracts.registry import EVENTS
from dominie_kit.house.system import System
from dominie_kit.personal.sealing import PersonKey, Unreadable, place

pytestmark = [pytest.mark.timeout(300), pytest.mark.anyio]
SERVICES = ("identity", "guardrail", "memory", "audit")
PEOPLE = ("dana", "erin", "frank", "grete")
EVENTS_WANTED, AT_ONCE = 10_000, 40
_EVENT = re.compile(rb'\{"specversion":"1\.0"')
DECODER = json.JSONDecoder()
STORES = {"nats", "archive", "identity", "memory", "memory journal", "audit", "audit journal"}
LOG = {"nats", "archive", "audit", "audit journal"}
"""Where the events themselves are, which nobody changes."""


@dataclass(frozen=True)
class Key:
    """A person's key, and how it is stored."""

    of: PersonKey
    secret: bytes


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Outside of the project."""
    return tmp_path / "archive"


@pytest.fixture
def system(tmp_path: Path, archive: Path) -> Iterator[System]:
    (tmp_path / "project").mkdir()
    with house(tmp_path, *SERVICES) as found:
        yield found


def house(tmp_path: Path, *services: str) -> System:
    """The same house each time, with these services."""
    environment = {"DOMINIE_ARCHIVE": str(tmp_path / "archive")}
    return System(tmp_path / "project", keys=tmp_path / "keys", services=services, environment=environment)


def secret_of(system: System, person: str) -> str:
    """What is distinctive of a person."""
    return f"{person.title()} Whitlock lives at 17 Gooseberry Lane"


async def fill(system: System, events: int) -> None:
    """So many events, a quarter of them of each person: a remembered text is four.

    The first person has the last ones too: a journal keeps what was written last for sure.
    """
    with chdir(system.plan.folder):
        client = dominie.AsyncClient("filling")
    async with client:
        for person in PEOPLE:
            await remember(client, person, secret_of(system, person), events // 4 // len(PEOPLE))
        await remember(client, PEOPLE[0], secret_of(system, PEOPLE[0]), AT_ONCE)


async def remember(client: dominie.AsyncClient, person: str, text: str, count: int) -> None:
    async with client.run(user=person) as run:
        for first in range(0, count, AT_ONCE):
            async with anyio.create_task_group() as group:
                for number in range(first, min(count, first + AT_ONCE)):
                    group.start_soon(run.remember, f"{text}, visit {number}")


def command(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as somebody types it."""
    line = [str(Path(sys.executable).with_name("dominie")), *arguments]
    done = subprocess.run(line, cwd=system.plan.folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done


def cli(system: System, *arguments: str) -> tuple[int, dict[str, object]]:
    """A command with `--json`."""
    done = command(system, *arguments, "--json")
    found: dict[str, object] = json.loads(done.stdout)
    return done.returncode, found


def state(system: System) -> Path:
    return system.plan.folder / ".dominie"


def keys(system: System) -> dict[str, Key]:
    """The keys that are in identity's file now, by person."""
    with closing(sqlite3.connect(state(system) / "identity" / "keys.sqlite")) as db:
        rows = db.execute("SELECT id, subject, secret, tenant FROM keys").fetchall()
    return {
        subject.removeprefix("u-"): Key(
            PersonKey.of(tenant, SubjectKey(id=id_, subject=subject, secret=secret)), secret.encode()
        )
        for id_, subject, secret, tenant in rows
    }


def stores_that_hold(system: System, archive: Path, text: str, key: Key | None) -> set[str]:
    """The stores with a file in which a text can be read, as it is or with a key; or in which the key stands."""
    found = set()
    for path in (path for root in (state(system), archive) for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        store = "archive" if path.is_relative_to(archive) else path.relative_to(state(system)).parts[0]
        if text.encode() in data or (key is not None and (key.secret in data or text in "".join(opened(data, key.of)))):
            found.add(f"{store} journal" if path.name.endswith("-wal") else store)
    return found


def opened(data: bytes, key: PersonKey) -> Iterator[str]:
    """What a key opens in the events that stand in a file's bytes."""
    for match in _EVENT.finditer(data):
        try:
            raw, _ = DECODER.raw_decode(data[match.start() : match.start() + 8000].decode(errors="replace"))
            envelope = Envelope.model_validate(raw)
        except ValueError:
            continue

        def unseal(path: str, value: object, envelope: Envelope = envelope) -> str:
            try:
                where = place(envelope.stream, envelope.type, path)
                return json.dumps(key.unseal(token_of(value) or "", where))  # type: ignore[arg-type]  # JSON
            except Unreadable:
                return ""

        yield json.dumps(open_parts(EVENTS[envelope.type], envelope.data, unseal)) if envelope.type in EVENTS else ""


def prove(system: System, tmp_path: Path, positions: Sequence[int]) -> list[Path]:
    """Files with a proof of each event."""
    files = [tmp_path / f"{position}.proof" for position in positions]
    for position, file in zip(positions, files, strict=True):
        assert command(system, "audit", "prove", str(position), "--out", str(file)).returncode == 0
    return files


async def test_a_person_is_erased_from_every_store(system: System, archive: Path, tmp_path: Path) -> None:
    await fill(system, EVENTS_WANTED // 2)
    assert cli(system, "audit", "archive", "--now")[0] == 0
    await fill(system, EVENTS_WANTED // 2)
    events = cli(system, "audit", "verify")[1]["events"]
    assert isinstance(events, int) and events >= EVENTS_WANTED
    dana, erin = (keys(system)[name] for name in ("dana", "erin"))
    text, others = secret_of(system, "dana"), secret_of(system, "erin")
    proofs = prove(system, tmp_path, first_and_last(system, "dana"))
    assert stores_that_hold(system, archive, text, None) == set()
    assert stores_that_hold(system, archive, text, dana) == STORES

    code, erasure = cli(system, "audit", "erase", "dana", "--yes", "--out", str(tmp_path / "receipt"))
    receipt = erasure["receipt"]
    assert isinstance(receipt, dict)
    assert (code, receipt["residue"], receipt["unread"], receipt["late"]) == (0, [], [], [])
    assert receipt["held"].keys() == {"nats", "audit", "archive"}
    assert receipt["stores"].keys() >= {"nats", "identity", "memory", "audit", "archive", "log"}
    assert receipt["needles"] > 100 and set(receipt["rebuilt"]) == set(SERVICES)

    assert "dana" not in keys(system) and "erin" in keys(system)
    assert stores_that_hold(system, archive, text, keys(system).get("dana")) == set()
    assert stores_that_hold(system, archive, text, dana) <= LOG, "with a key that was kept, the log alone says it still"
    assert stores_that_hold(system, archive, others, erin) >= STORES - {"memory journal", "audit journal"}
    code, report = cli(system, "audit", "verify")
    assert (code, report["ok"]) == (0, True)
    key = str(erasure["key"])
    assert [cli(system, "audit", "check-proof", str(proof), "--key", key)[0] for proof in proofs] == [0, 0]
    assert cli(system, "audit", "check-receipt", str(tmp_path / "receipt"), "--key", key)[0] == 0
    with chdir(system.plan.folder), dominie.Client("after") as client:
        with pytest.raises(dominie.Forbidden, match="was erased"), client.run(user="dana") as run:
            run.remember("again")
        with client.run(user="erin") as run:
            assert run.recall("Where does Erin live?")


def first_and_last(system: System, person: str) -> list[int]:
    """The positions of a person's first memory, which is archived, and of the last one, which is not."""
    found = []
    for order in ("--earliest", "--newest-first"):
        arguments = ("audit", "search", "--user", person, "--type", "memory.finished.v1", order, "--limit", "1")
        entries = cli(system, *arguments)[1]["entries"]
        assert isinstance(entries, list)
        found.append(entries[0]["position"])
    assert unpack_position(found[0])[0] < unpack_position(found[1])[0]
    return found


def test_who_is_away_is_late_though_audit_has_never_heard_of_them(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with house(tmp_path, *SERVICES) as system, chdir(system.plan.folder):
        with dominie.Client("before") as client, client.run(user="dana") as run:
            run.remember(secret_of(system, "dana"))
    for services, late in ((("identity", "audit"), ["guardrail", "memory"]), (SERVICES, [])):
        with house(tmp_path, *services) as system:
            done = command(system, "audit", "erase", "dana", "--yes", "--json")
        receipt = json.loads(done.stdout)["receipt"]
        assert (done.returncode, receipt["late"], receipt["residue"]) == (int(bool(late)), late, [])
        assert ("building everything anew …" in done.stderr) >= bool(late)


async def test_what_is_left_is_named(system: System) -> None:
    with chdir(system.plan.folder), dominie.Client("leaking") as client, client.run(user="dana") as run:
        run.remember(secret_of(system, "dana"))
    (state(system) / "log" / "leak.txt").write_text(f"debug: {secret_of(system, 'dana')}")
    code, erasure = cli(system, "audit", "erase", "dana", "--yes")
    receipt = erasure["receipt"]
    assert isinstance(receipt, dict)
    assert (code, receipt["residue"]) == (1, ["log/leak.txt"])
