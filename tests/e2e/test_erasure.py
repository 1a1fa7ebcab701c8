"""A person is erased in a log of 10,000 events: found in every store before, with the key; in none after."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, closing
from pathlib import Path

import anyio
import pytest

import dominie
from dominie_contracts import Envelope
from dominie_contracts.identity import SubjectKey
from dominie_contracts.personal import open_parts, token_of
from dominie_contracts.registry import EVENTS
from dominie_kit.sealing import PersonKey, Unreadable, place
from dominie_kit.system import System

pytestmark = [pytest.mark.timeout(300), pytest.mark.anyio]
SERVICES = ("identity", "guardrail", "memory", "audit")
PEOPLE = ("dana", "erin", "frank", "grete")
EVENTS_WANTED, AT_ONCE = 10_000, 40
_EVENT = re.compile(rb'\{"specversion":"1\.0"')
DECODER = json.JSONDecoder()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    (tmp_path / "project").mkdir()
    with System(tmp_path / "project", keys=tmp_path / "keys", services=SERVICES) as found:
        yield found


def secret_of(system: System, person: str) -> str:
    """What is distinctive of a person."""
    return f"{person.title()} Whitlock lives at 17 Gooseberry Lane"


async def fill(system: System) -> None:
    """Some 10,000 events, a quarter of them of each person: a remembered text is four."""
    with chdir(system.plan.folder):
        client = dominie.AsyncClient("filling")
    async with client:
        for person in PEOPLE:
            async with client.run(user=person) as run:
                for first in range(0, EVENTS_WANTED // 4 // len(PEOPLE), AT_ONCE):
                    async with anyio.create_task_group() as group:
                        for number in range(first, first + AT_ONCE):
                            group.start_soon(run.remember, f"{secret_of(system, person)}, visit {number}")


def cli(system: System, *arguments: str) -> tuple[int, dict[str, object]]:
    """A command with `--json`."""
    command = [str(Path(sys.executable).with_name("dominie")), *arguments, "--json"]
    done = subprocess.run(command, cwd=system.plan.folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return done.returncode, found


def state(system: System) -> Path:
    return system.plan.folder / ".dominie"


def keys(system: System) -> dict[str, PersonKey]:
    """The keys that are in identity's file now, by person."""
    with closing(sqlite3.connect(state(system) / "identity" / "keys.sqlite")) as db:
        rows = db.execute("SELECT id, subject, secret, tenant FROM keys").fetchall()
    return {
        subject.removeprefix("u-"): PersonKey.of(tenant, SubjectKey(id=id_, subject=subject, secret=secret))
        for id_, subject, secret, tenant in rows
    }


def stores_that_hold(system: System, text: str, key: PersonKey | None) -> set[str]:
    """The stores with a file in which a text can be read: as it is, or with a key."""
    found = set()
    for path in (path for path in state(system).rglob("*") if path.is_file()):
        data = path.read_bytes()
        if text.encode() in data or (key is not None and text in "".join(opened(data, key))):
            found.add(path.relative_to(state(system)).parts[0])
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


async def test_a_person_is_erased_from_every_store(system: System, tmp_path: Path) -> None:
    await fill(system)
    events = cli(system, "audit", "verify")[1]["events"]
    assert isinstance(events, int) and events >= EVENTS_WANTED
    dana, erin = (keys(system)[name] for name in ("dana", "erin"))
    text, others = secret_of(system, "dana"), secret_of(system, "erin")
    assert stores_that_hold(system, text, None) == set()
    assert stores_that_hold(system, text, dana) == {"nats", "memory", "audit"}

    code, erasure = cli(system, "audit", "erase", "dana", "--yes", "--out", str(tmp_path / "receipt"))
    receipt = erasure["receipt"]
    assert isinstance(receipt, dict)
    assert (code, receipt["residue"], receipt["late"]) == (0, [], [])
    assert receipt["held"].keys() == {"nats", "audit"}
    assert receipt["needles"] > 100 and set(receipt["rebuilt"]) == set(SERVICES)

    assert "dana" not in keys(system) and "erin" in keys(system)
    assert stores_that_hold(system, text, None) == set()
    assert stores_that_hold(system, text, dana) == {"nats", "audit"}, "with a key that was kept, the log says it still"
    assert stores_that_hold(system, others, erin) == {"nats", "memory", "audit"}
    code, report = cli(system, "audit", "verify")
    assert (code, report["ok"]) == (0, True)
    key = str(erasure["key"])
    assert cli(system, "audit", "check-receipt", str(tmp_path / "receipt"), "--key", key)[0] == 0
    with chdir(system.plan.folder), dominie.Client("after") as client:
        with pytest.raises(dominie.Forbidden, match="was erased"), client.run(user="dana") as run:
            run.remember("again")
        with client.run(user="erin") as run:
            assert run.recall("Where does Erin live?")


async def test_what_is_left_is_named(system: System) -> None:
    with chdir(system.plan.folder), dominie.Client("leaking") as client, client.run(user="dana") as run:
        run.remember(secret_of(system, "dana"))
    (state(system) / "log" / "leak.txt").write_text(f"debug: {secret_of(system, 'dana')}")
    code, erasure = cli(system, "audit", "erase", "dana", "--yes")
    receipt = erasure["receipt"]
    assert isinstance(receipt, dict)
    assert (code, receipt["residue"]) == (1, ["log/leak.txt"])
