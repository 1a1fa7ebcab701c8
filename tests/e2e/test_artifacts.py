"""Values too large for a command: 5 MB go to a worker's tool and come back, and the record has what stands for them."""

import base64
import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, closing
from pathlib import Path

import pytest

import dominie
from dominie_contracts.artifact import CHUNK_BYTES, Reference, size_text
from dominie_contracts.audit import Entries, Trail
from dominie_contracts.keys import SubjectKey
from dominie_contracts.tool import ChunkPut, KeepArtifact, PutChunk
from dominie_kit.house.system import System
from dominie_kit.personal.sealing import PersonKey, Unreadable

pytestmark = pytest.mark.timeout(180)
SERVICES = ("identity", "guardrail", "tool", "audit")
TOOLS = '''
import dominie


@dominie.tool(effect="external", idempotent=True, timeout_s=30)
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()


@dominie.tool(effect="read", timeout_s=30)
def rows(count: int) -> list[dict[str, int]]:
    """A long table."""
    return [{"row": number, "square": number * number} for number in range(count)]
'''
KINDS = ("requested", "finished")
BIG = "".join(f"line {number} of a text about nobody\n" for number in range(150_000))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    (folder / "project").mkdir()
    with System(folder / "project", keys=folder / "keys", services=SERVICES) as found:
        yield found


@pytest.fixture(scope="module")
def project(system: System, dominie_command: str) -> Iterator[Path]:
    """The project's folder, with a worker that serves `shout` and `rows`."""
    folder = system.plan.folder
    (folder / "tools.py").write_text(TOOLS)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [dominie_command, "worker", "tools.py", "--json"], cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert worker.stdout is not None
        assert json.loads(worker.stdout.readline())["worker"] == "w-tools", (folder / "worker.log").read_text()
        yield folder
    finally:
        worker.kill()
        worker.wait(10)
        assert worker.stdout is not None
        worker.stdout.close()


@pytest.fixture
def client(project: Path) -> Iterator[dominie.Client]:
    with chdir(project), dominie.Client("reader") as found:
        yield found


def cli(project: Path, command: str, *arguments: str) -> tuple[int, str]:
    """A command's exit code, and what it printed: its object, or all that people see."""
    done = subprocess.run([command, *arguments], cwd=project, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout if "--json" in arguments else done.stdout + done.stderr


def test_five_megabytes_go_to_a_tool_and_come_back(client: dominie.Client) -> None:
    assert len(BIG) > 5_000_000
    with client.run(user="dana") as run:
        assert run.invoke("shout", {"text": BIG}).result == BIG.upper()
        assert run.invoke("rows", {"count": 100_000}).result == [{"row": n, "square": n * n} for n in range(100_000)]


def test_the_record_shows_what_it_was_and_an_auditor_gets_the_bytes(
    client: dominie.Client, project: Path, dominie_command: str
) -> None:
    with client.run(user="dana", id="r-shown") as run:
        run.invoke("shout", {"text": BIG})
    for command in (("trace", "r-shown"), ("replay", "r-shown"), ("audit", "search", "--run", "r-shown")):
        code, said = cli(project, dominie_command, *command)
        assert code == 0 and "about nobody" not in said and len(said) < 5_000
        assert said.count(f"<{size_text(len(BIG))} text/plain") >= 2
    exported = [
        ("export", "--run", "r-shown", "--output", "log.jsonl"),
        ("bundle", "r-shown", "--output", "run.bundle"),
    ]
    for arguments in exported:
        assert cli(project, dominie_command, "audit", *arguments)[0] == 0
        assert (project / arguments[-1]).stat().st_size < 60_000
    trail = json.loads(cli(project, dominie_command, "trace", "r-shown", "--json")[1])["entries"]
    asked, finished = (next(each["data"] for each in trail if each["type"] == f"tool.{kind}.v1") for kind in KINDS)
    for found, value in ((asked["arguments"]["text"], BIG), (finished["result"], BIG.upper())):
        assert (found["size"], found["media_type"]) == (len(value), "text/plain")
        code, said = cli(project, dominie_command, "audit", "artifact", found["$artifact"], "--out", "value")
        assert (code, (project / "value").read_text()) == (0, value), said
        assert "its digest is the one that names it" in said
    held = json.loads(cli(project, dominie_command, "audit", "artifacts", "--json")[1])
    assert held["artifacts"] >= 2 and held["bytes"] > 10_000_000


@pytest.mark.parametrize(("name", "why"), [("0" * 32, "no event of yours"), ("../secrets", "names no artifact")])
def test_an_artifact_that_is_not_on_record_is_not_shown(
    name: str, why: str, project: Path, dominie_command: str
) -> None:
    code, said = cli(project, dominie_command, "audit", "artifact", name, "--out", "nothing")
    assert code == 1 and why in said and not (project / "nothing").exists()


def test_a_call_that_is_made_again_is_the_same_action(project: Path, developer: dominie.Client) -> None:
    actions = set()
    for _ in range(2):
        with chdir(project), dominie.Client("reader") as client, client.run(user="dana", id="r-again") as run:
            actions.add(run.invoke("shout", {"text": BIG}).action)
            with pytest.raises(dominie.Conflict):
                run.invoke("shout", {"text": BIG + "!"}, key=f"{'r-again'}/given")
                run.invoke("shout", {"text": BIG + "?"}, key=f"{'r-again'}/given")
    assert len(actions) == 1
    trail = developer.ask(Trail(run="r-again"), Entries).entries
    assert [entry.type for entry in trail].count("tool.started.v1") == 2


def test_a_function_of_the_agents_own_may_return_megabytes(client: dominie.Client) -> None:
    @dominie.tool(effect="read", kind="local")
    def twice(text: str) -> str:
        return text * 2

    with client.run(user="dana", id="r-local") as run:
        first = run.call_local(twice, {"text": BIG}, key="once")
        assert (first.result, run.call_local(twice, {"text": BIG}, key="once").result) == (BIG * 2, BIG * 2)


@pytest.mark.anyio
async def test_the_tool_service_is_killed_between_chunks_and_before_the_event(system: System, project: Path) -> None:
    parts = [BIG[at : at + CHUNK_BYTES].encode() for at in range(0, 3 * CHUNK_BYTES, CHUNK_BYTES)]
    with chdir(project):
        found = dominie.AsyncClient("reader")
    async with found as client, client.run(user="dana", id="r-killed") as run:
        chunks = list[str]()
        for number, part in enumerate(parts):
            command = PutChunk(data=base64.b64encode(part).decode(), size=3 * CHUNK_BYTES)
            chunks.append((await run._asker.ask(command, ChunkPut, key=f"chunk-{number}")).name)
            system.kill("tool")
        keep = KeepArtifact(chunks=tuple(chunks), media_type="text/plain")
        kept = await run._asker.ask(keep, Reference, key="keep")
        killed = system.kill("tool")
        done = await run.invoke("shout", {"text": kept.stand_in})
    assert done.result == b"".join(parts).decode().upper()
    system.wait_for_restart("tool", after=killed)


def test_the_tool_service_is_killed_on_the_way(system: System, client: dominie.Client) -> None:
    with client.run(user="dana", id="r-way") as run, ThreadPoolExecutor(1) as pool:
        calling = pool.submit(run.invoke, "shout", {"text": BIG})
        killed = system.kill("tool")
        assert calling.result(60).result == BIG.upper()
    system.wait_for_restart("tool", after=killed)


def test_a_person_who_is_erased_takes_their_artifacts_along(
    system: System, client: dominie.Client, project: Path, dominie_command: str
) -> None:
    with client.run(user="grete", id="r-grete") as run:
        run.invoke("shout", {"text": BIG})
    trail = json.loads(cli(project, dominie_command, "trace", "r-grete", "--json")[1])["entries"]
    name = next(each["data"]["result"]["$artifact"] for each in trail if each["type"] == "tool.finished.v1")
    state = project / ".dominie"
    key = key_of(state, "u-grete")
    assert readable(state, None) == set()
    assert readable(state, key) == {"nats"}
    (state / "log" / "leak.txt").write_text(f"debug: {BIG[:40]}")
    code, said = cli(project, dominie_command, "audit", "erase", "grete", "--yes", "--json")
    assert (code, json.loads(said)["receipt"]["residue"]) == (1, ["log/leak.txt"]), said
    (state / "log" / "leak.txt").unlink()
    assert readable(state, None) == set()
    code, said = cli(project, dominie_command, "audit", "artifact", name)
    assert code == 1 and "no event of yours" in said
    until_s = time.monotonic() + 30
    while readable(state, key):
        assert time.monotonic() < until_s, "with a key that was kept, the store of artifacts says it still"
        time.sleep(0.05)
    assert cli(project, dominie_command, "audit", "verify")[0] == 0


def key_of(state: Path, person: str) -> PersonKey:
    """A person's key, from identity's file."""
    with closing(sqlite3.connect(state / "identity" / "keys.sqlite")) as db:
        query = "SELECT id, secret, tenant FROM keys WHERE subject = ?"
        id_, secret, tenant = db.execute(query, (person,)).fetchone()
    return PersonKey.of(tenant, SubjectKey(id=id_, subject=person, secret=secret))


def readable(state: Path, key: PersonKey | None) -> set[str]:
    """The stores with a file in which what grete's tool was told can be read: as it is, or with a key."""
    found = set()
    for path in (path for path in state.rglob("*") if path.is_file()):
        data = path.read_bytes()
        texts = [data] if key is None else list(opened(data, key))
        if any(b"about nobody" in text or b"ABOUT NOBODY" in text for text in texts):
            found.add(path.relative_to(state).parts[0])
    return found


def opened(data: bytes, key: PersonKey) -> Iterator[bytes]:
    """What a key opens of the chunks that stand in a file's bytes: each follows its subject."""
    for match in re.finditer(rb"art\.local\." + key.id.encode() + rb"\.c\.[0-9a-f]{32}", data):
        subject, start = match.group().decode(), match.end()
        try:
            yield key.unseal_bytes(data[start : start + CHUNK_BYTES + 28], subject)
        except Unreadable:
            continue
