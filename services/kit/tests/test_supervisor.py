"""`dominie up`, with services that serve nothing: what dies comes back, one signal ends all, nothing is left."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dominie.keys import KeyPair
from dominie.protected import protect
from dominie_kit.errors import NotUp, StartFailed
from dominie_kit.house.plan import Plan
from dominie_kit.house.ports import first_free
from dominie_kit.house.state import StateFolder
from dominie_kit.house.supervisor import BACKOFF_MAX_S, STEADY_S, Backoff
from dominie_kit.house.system import System, command, end, launch, take_down
from dominie_kit.keys.folder import KeyFolder

SERVICES = ("tool", "model")
WAIT_S = 20.0


def environment(**manners: str) -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parent), "DUMMIES": json.dumps(manners)}


def dummies(folder: Path, *services: str, **manners: str) -> System:
    return System(
        folder,
        services=services or SERVICES,
        keys=folder / "keys",
        environment=environment(**manners),
        runner="dummies:main",
        preload="dummies",
        stop_s=1.0,
    )


def family(pid: int) -> list[psutil.Process]:
    """A supervisor and all that it started."""
    supervisor = psutil.Process(pid)
    return [supervisor, *supervisor.children(recursive=True)]


def left_of(processes: list[psutil.Process]) -> list[str]:
    """What still lives after a while; a zombie waits for its new parent only."""
    _, alive = psutil.wait_procs(processes, timeout=20.0)
    return [repr(one) for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with dummies(tmp_path_factory.mktemp("project"), *SERVICES, "audit", audit="parent") as running:
        yield running


def test_clients_find_what_they_need(system: System) -> None:
    client = system.state.client()
    assert client is not None
    assert (client.nats_url, client.tenant, client.developer) == (system.nats_url, "local", "u-dev")
    seed = system.state.path / client.seed_file
    assert KeyPair.load(seed).public.startswith("U")
    assert stat.S_IMODE(seed.stat().st_mode) == 0o600
    assert (system.state.path / ".gitignore").read_text() == "*\n"


def test_services_read_where_they_are(system: System) -> None:
    read = json.loads((system.state.path / "log/tool.log").read_text().splitlines()[0])
    assert read["DOMINIE_NATS_URL"] == system.nats_url
    assert read["DOMINIE_KEYS"] == str(system.keys.path)
    assert read["DOMINIE_STATE"] == str(system.state.path)
    assert float(read["DOMINIE_IDENTITY_RIGHTS_S"]) == 300


def test_a_protected_operators_key_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    keys, said = KeyFolder(tmp_path / "keys").create(), tmp_path / "passphrase"
    keys.operator_file.write_text(protect(keys.operator, "correct horse battery"))
    with pytest.raises(StartFailed, match="DOMINIE_PASSPHRASE_FILE"), dummies(tmp_path):
        pass
    for text, why in (("wrong horse battery", "does not open"), ("", "is empty")):
        said.write_text(text)
        said.chmod(0o600)
        given = {**environment(), "DOMINIE_PASSPHRASE_FILE": str(said)}
        with pytest.raises(StartFailed, match=why):
            launch(dummies(tmp_path).plan, environment=given)
    said.write_text("correct horse battery")
    process, up = launch(dummies(tmp_path).plan, environment=given)
    try:
        read = (tmp_path / ".dominie/log/tool.log").read_text()
        assert "DOMINIE_NATS_URL" in read and "PASSPHRASE" not in read
        gone = up.broker.pid
        os.kill(gone, signal.SIGTERM)
        assert until(lambda: (now := StateFolder(tmp_path).up().broker).ready and now.pid != gone)
    finally:
        end(process)


def test_a_broken_key_keeps_the_broker_away_and_ends_nothing(tmp_path: Path) -> None:
    with dummies(tmp_path) as system:
        whole = (path := system.keys.path / "warden.seed").read_text()
        path.write_text("SUNO")
        gone = system.kill("broker")
        log = system.state.path / "log" / "up.log"
        assert until(lambda: "warden.seed" in log.read_text())
        path.write_text(whole)
        assert system.wait_for_restart("broker", after=gone)


def test_what_dies_comes_back_alone(system: System) -> None:
    other = system.pid_of("model")
    assert system.wait_for_restart("tool", after=system.kill("tool")) != 0
    assert system.state.up().services["tool"].restarts >= 1
    assert system.pid_of("model") == other


def test_what_a_service_started_ends_with_it(system: System) -> None:
    child = psutil.Process(int((system.state.path / "log/audit.log").read_text().split()[1]))
    system.wait_for_restart("audit", after=system.kill("audit"))
    assert left_of([child]) == []


def test_the_broker_comes_back_on_its_port(system: System) -> None:
    url, model = system.nats_url, system.pid_of("model")
    system.wait_for_restart("broker", after=system.kill("broker"))
    assert system.nats_url == url
    assert system.pid_of("model") == model


def test_services_outlive_the_loss_of_their_fork_server(system: System) -> None:
    before = {name: system.pid_of(name) for name in SERVICES}
    (fork_server,) = [one for one in family(system.pid) if one.name() == "dom-fork-server"]
    fork_server.kill()
    for name, pid in before.items():
        system.wait_for_restart(name, after=pid)


def test_a_second_up_is_told_so(system: System) -> None:
    with pytest.raises(StartFailed, match=rf"already runs in .*process {system.pid}.*dominie down"):
        launch(system.plan)
    assert system.pid_of("tool")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_one_signal_ends_all_the_broker_last(tmp_path: Path, number: signal.Signals) -> None:
    ignored = signal.signal(number, signal.SIG_DFL)  # under nohup, a signal is ignored by whoever is started too
    try:
        process, up = launch(dummies(tmp_path).plan.model_copy(update={"until_eof": False}), environment=environment())
    finally:
        signal.signal(number, ignored)
    everything = family(up.pid)
    process.send_signal(number)
    assert process.wait(WAIT_S) == 0
    assert left_of(everything) == []
    assert all("outlived" in (tmp_path / f".dominie/log/{name}.log").read_text() for name in SERVICES)
    with pytest.raises(NotUp):
        StateFolder(tmp_path).up()


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    system = dummies(tmp_path).start()
    everything = family(system.pid)
    assert len(everything) >= 2 + len(SERVICES)
    everything[0].kill()
    assert left_of(everything) == []
    system.stop()


def test_it_ends_when_the_program_that_started_it_is_killed(tmp_path: Path) -> None:
    starter = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_supervisor import dummies
print(dummies(Path({str(tmp_path)!r})).start().pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        everything = family(int(process.stdout.readline()))
        process.kill()
    assert left_of(everything) == []


def test_one_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"model ended with code 1 \(KitError: this one cannot start\)"):
        dummies(tmp_path, model="broken").start()
    assert StateFolder(tmp_path).supervisor() is None


def test_a_preload_that_failed_is_said(tmp_path: Path) -> None:
    system = dummies(tmp_path, "tool")
    system.plan = system.plan.model_copy(update={"preload": "no_such_module"})
    with pytest.raises(StartFailed, match="No module named 'no_such_module'"):
        system.start()


def test_it_goes_on_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    plan = dummies(tmp_path).plan.model_copy(update={"until_eof": False})
    process = subprocess.Popen(
        command(plan), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment()}
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    state = StateFolder(tmp_path)
    assert until(lambda: state.supervisor() == process.pid and (state.path / "up.json").exists())
    assert until(lambda: state.up().ready_s is not None)
    os.kill(pid := state.up().services["tool"].pid, signal.SIGKILL)
    assert until(lambda: state.up().services["tool"].pid not in (0, pid))
    assert take_down(state) == process.pid
    assert process.wait(WAIT_S) == 0


def test_down_ends_it_by_force_if_it_has_to(tmp_path: Path) -> None:
    plan = dummies(tmp_path, "tool", tool="deaf").plan.model_copy(update={"until_eof": False})
    process, up = launch(plan, environment=environment(tool="deaf"))
    everything = family(up.pid)
    assert take_down(StateFolder.find(tmp_path)) == up.pid
    assert process.wait(WAIT_S) == 0
    assert left_of(everything) == []
    with pytest.raises(NotUp, match="dominie up"):
        take_down(StateFolder(tmp_path))


def test_ports_last_from_one_up_to_the_next_if_they_can(tmp_path: Path) -> None:
    with dummies(tmp_path, "gateway") as first:
        urls = first.nats_url, first.gateway_url
    with dummies(tmp_path, "gateway") as second:
        assert (second.nats_url, second.gateway_url) == urls
    with socket.create_server(("127.0.0.1", int(urls[0].rpartition(":")[2]))), dummies(tmp_path, "tool") as third:
        assert third.nats_url != urls[0]


def test_a_restart_waits_longer_each_time_until_one_lives() -> None:
    backoff = Backoff()
    waits = [backoff.after(0.0) for _ in range(8)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, BACKOFF_MAX_S, BACKOFF_MAX_S]
    assert backoff.after(STEADY_S) == 0.1


def test_the_state_of_a_project_is_found_from_within(tmp_path: Path) -> None:
    StateFolder(tmp_path).create()
    (tmp_path / "a/b").mkdir(parents=True)
    assert StateFolder.find(tmp_path / "a/b").project == tmp_path
    assert StateFolder(tmp_path).keys().path == KeyFolder.of(tmp_path).path


def test_a_plan_survives_the_way_to_its_process(tmp_path: Path) -> None:
    plan = Plan(folder=tmp_path, keys=tmp_path / "keys", services=("tool",), rights_s=2.0, policies=tmp_path)
    assert Plan.model_validate_json(command(plan)[-1]) == plan
    assert plan.environment("nats://x:1", None)["DOMINIE_GUARDRAIL_POLICIES"] == str(tmp_path)


def test_a_taken_port_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert first_free(port) != port
    assert first_free(port) == port
