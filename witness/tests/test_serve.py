"""The witness as a process: started, asked, killed, started again."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from dominie.cosignatures import WitnessKey, check_quorum
from dominie_witness.testing import OURS, Log

DOMINIE = str(Path(sys.executable).with_name("dominie"))
LOG = Log.of(60)
KILLS = 5


@contextmanager
def served(state: Path) -> Iterator[tuple[subprocess.Popen[str], str, WitnessKey]]:
    command = [DOMINIE, "witness", "serve", "--state", str(state), "--log", str(OURS.verifier)]
    process = subprocess.Popen([*command, "--listen", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield process, told["url"], WitnessKey.parse(told["key"])
    finally:
        process.kill()
        process.communicate(timeout=10)


def add(url: str, old: int, size: int) -> httpx.Response:
    return httpx.post(f"{url}/add-checkpoint", content=LOG.body(old, size), timeout=10, trust_env=False)


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    last, keys = 0, set()
    for _ in range(KILLS):
        with served(tmp_path) as (process, url, key):
            keys.add(key)
            assert last == 0 or add(url, 0, 60).text == f"{last}\n"
            for size in range(last + 1, last + 11):
                answer = add(url, last, size)
                assert check_quorum(LOG.note(size) + answer.text, [key], 1)
                last = size
            process.send_signal(signal.SIGKILL)
    assert len(keys) == 1


def test_a_signal_ends_it_well_and_its_key_is_shown(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with served(tmp_path) as (process, url, key):
            assert add(url, 0, 0).status_code == 200
            process.send_signal(number)
            assert process.wait(10) == 0
        shown = subprocess.run(
            [DOMINIE, "witness", "key", "--state", str(tmp_path)], capture_output=True, text=True, timeout=20
        )
        assert (shown.returncode, shown.stdout) == (0, f"{key}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["key"], "there is no witness"),
        (["serve", "--log", "nonsense"], "wrong key"),
        (["serve", "--log", str(OURS.verifier), "--listen", "nowhere"], "is no HOST:PORT"),
        (["serve", "--log", str(OURS.verifier), "--name", "two words"], "wrong key"),
    ],
)
def test_what_it_is_told_wrongly_it_says_in_a_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [DOMINIE, "witness", *arguments, "--state", str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and said in done.stderr and done.stderr.count("\n") == 1
